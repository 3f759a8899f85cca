#include "pdm/score_v2.h"

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
  const v1::EgoState& ego = scene.prev().ego();
  double interval = (static_cast<double>(scene.ego().time_us()) - static_cast<double>(ego.time_us())) * 1e-6;
  if (!(interval > 0 && interval < 0.55)) return std::nullopt;
  std::optional<States> states = SimulateTrajectory(LocalEgo(ego), ego.time_us(), prev_poses);
  if (!states.has_value()) return std::nullopt;
  return PreviousPlan{*states, static_cast<int>(std::nearbyint(interval / 0.1))};
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

ScoreV2 ScoreTrajectoryV2(const PreparedScene& scene, absl::Span<const Pose2> poses, const PreviousPlan* previous) {
  ScoreV2 out;
  States states;
  out.invalid = SimulateCandidate(scene, poses, &states);
  if (out.invalid != v1::INVALID_REASON_UNSPECIFIED) return out;
  Trace trace;
  Metrics m = Evaluate(scene.map(), scene.observation(), states, scene.options(), &trace);
  std::optional<double> ec;
  if (previous != nullptr) ec = ExtendedComfort(states, previous->states, previous->offset) ? 1.0 : 0.0;
  out = AssembleV2(scene.reference(), m, scene.human().has_value() ? &*scene.human() : nullptr, ec);
  out.trace = std::move(trace);
  return out;
}

}  // namespace swerve::pdm
