#include "pdm/score_v2.h"

#include <utility>

#include "pdm/score.h"

namespace swerve::pdm {
namespace {

double Multiplier(const SubScoresV2& s) { return s.nc * s.dac * s.ddc * s.tlc; }
double Weighted(const SubScoresV2& s) { return 5 * s.ep + 5 * s.ttc + 2 * s.lk + 2 * s.hc; }
double WithoutEc(const SubScoresV2& s) { return Multiplier(s) * Weighted(s) / 14; }

// §19.2: where the human has exactly 0, the agent is not blamed. The human's EP and HC are 1 always.
SubScoresV2 Filter(SubScoresV2 s, const Metrics& human) {
  if (human.nc == 0) s.nc = 1;
  if (human.dac == 0) s.dac = 1;
  if (human.ddc == 0) s.ddc = 1;
  if (human.tlc == 0) s.tlc = 1;
  if (human.ttc == 0) s.ttc = 1;
  if (human.lk == 0) s.lk = 1;
  return s;
}

}  // namespace

double Epdms(const SubScoresV2& s, double ec) { return Multiplier(s) * (Weighted(s) + 2 * ec) / 16; }

std::optional<PreviousPlan> SimulatePrevious(const v1::Scene& scene, absl::Span<const Pose2> prev_poses) {
  if (!scene.has_prev()) return std::nullopt;
  return SimulatePrevious(scene.prev().ego(), scene.ego().time_us(), prev_poses);
}

std::optional<PreviousPlan> SimulatePrevious(const v1::EgoState& ego, int64_t time_us,
                                             absl::Span<const Pose2> prev_poses) {
  double interval = (static_cast<double>(time_us) - static_cast<double>(ego.time_us())) * 1e-6;
  if (!(interval > 0 && interval < 0.55)) return std::nullopt;
  std::optional<States> states = SimulateTrajectory(LocalEgo(ego), ego.time_us(), prev_poses);
  if (!states.has_value()) return std::nullopt;
  return PreviousPlan(*states, static_cast<int>(std::nearbyint(interval / 0.1)));
}

ScoreV2 AssembleV2(const Metrics& r, const Metrics& m, const Metrics* human, std::optional<double> ec) {
  ScoreV2 out;
  constexpr Rules kRules = Rules::kV2;
  double ep = NormalisedProgress(kRules, r.progress, r.Multiplier(kRules), m.progress, m.Multiplier(kRules));
  out.metrics = m;
  out.reference = r;
  out.raw = {m.nc, m.dac, m.ddc, m.tlc, ep, m.ttc, m.lk, m.comfort};
  out.filtered = human != nullptr ? Filter(out.raw, *human) : out.raw;
  out.pdm_score = WithoutEc(out.raw);
  out.epdms_raw = out.epdms_raw_no_ec = WithoutEc(out.raw);
  out.epdms = out.epdms_no_ec = WithoutEc(out.filtered);
  SetExtendedComfort(ec, &out);
  return out;
}

void SetExtendedComfort(std::optional<double> ec, ScoreV2* score) {
  score->ec = ec;
  if (!ec.has_value()) return;
  score->epdms_raw = Epdms(score->raw, *ec);
  score->epdms = Epdms(score->filtered, *ec);
}

void FillSubScores(const ScoreV2& score, v1::SubScores* out) {
  const SubScoresV2& s = score.raw;
  out->set_nc(s.nc);
  out->set_dac(s.dac);
  out->set_ddc(s.ddc);
  out->set_ep(s.ep);
  out->set_ttc(s.ttc);
  out->set_comfort(s.hc);
  out->set_pdms(score.pdm_score);
  out->set_tlc(s.tlc);
  out->set_lk(s.lk);
  if (score.ec.has_value()) out->set_ec(*score.ec);
  out->set_epdms(score.epdms);
  const auto forgive = [&](const char* name, double before, double after) {
    if (before != after) out->add_forgiven(name);
  };
  const SubScoresV2& filtered = score.filtered;
  forgive("nc", s.nc, filtered.nc);
  forgive("dac", s.dac, filtered.dac);
  forgive("ddc", s.ddc, filtered.ddc);
  forgive("tlc", s.tlc, filtered.tlc);
  forgive("ttc", s.ttc, filtered.ttc);
  forgive("lk", s.lk, filtered.lk);
}

ScoreV2 ScoreTrajectoryV2(const PreparedScene& scene, absl::Span<const Pose2> poses, const PreviousPlan* previous,
                          bool want_facts) {
  return std::move(ScoreTrajectoriesV2(scene, {&poses, 1}, {&previous, 1}, want_facts)[0]);
}

namespace {

// `facts(k, score)`: of plan k, called where they are wanted.
template <class Facts>
std::vector<ScoreV2> ScoreAll(const PreparedScene& scene, absl::Span<const absl::Span<const Pose2>> plans,
                              absl::Span<const PreviousPlan* const> previous, Facts facts) {
  std::vector<ScoreV2> out;
  out.reserve(plans.size());
  const Metrics* human = scene.human().has_value() ? &*scene.human() : nullptr;
  EvaluateCandidates(scene, plans, /*want_trace=*/true, [&](const EvaluatedCandidate& c) {
    if (c.invalid != v1::INVALID_REASON_UNSPECIFIED) {
      out.emplace_back().invalid = c.invalid;
      return;
    }
    std::optional<double> ec;
    const PreviousPlan* before = previous.empty() ? nullptr : previous[c.index];
    if (before != nullptr) {
      const ExtendedFeatures now(c.simulated->states, c.lane, 0, kSamples - before->offset);
      ec = now.Comfortable(before->features) ? 1.0 : 0.0;
    }
    out.push_back(AssembleV2(scene.reference(), *c.metrics, human, ec));
    if (v1::FailureFacts* const to = facts(c.index, out.back())) MakeFacts(scene, *c.motion, *c.metrics, *c.trace, to);
    out.back().trace = std::move(*c.trace);
  });
  return out;
}

}  // namespace

std::vector<ScoreV2> ScoreTrajectoriesV2(const PreparedScene& scene, absl::Span<const absl::Span<const Pose2>> plans,
                                         absl::Span<const PreviousPlan* const> previous, bool want_facts) {
  return ScoreAll(scene, plans, previous, [&](size_t, ScoreV2& score) { return want_facts ? &score.facts : nullptr; });
}

std::vector<ScoreV2> ScoreTrajectoriesV2(const PreparedScene& scene, absl::Span<const absl::Span<const Pose2>> plans,
                                         absl::Span<const PreviousPlan* const> previous,
                                         absl::FunctionRef<v1::FailureFacts*(size_t)> facts_of) {
  return ScoreAll(scene, plans, previous, [&](size_t k, ScoreV2&) { return facts_of(k); });
}

}  // namespace swerve::pdm
