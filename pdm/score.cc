#include "pdm/score.h"

#include <algorithm>

namespace swerve::pdm {
namespace {

v1::InvalidReason CheckPoses(absl::Span<const Pose2> poses) {
  if (poses.size() != kPoses) return v1::WRONG_SHAPE;
  for (const Pose2& p : poses) {
    if (!std::isfinite(p.x) || !std::isfinite(p.y) || !std::isfinite(p.heading)) return v1::NOT_FINITE;
  }
  return v1::INVALID_REASON_UNSPECIFIED;
}

}  // namespace

void FillScores(const PreparedScene& scene, const Metrics& m, v1::SubScores* out) {
  const Metrics& r = scene.reference();
  const Rules rules = scene.rules();
  const double ep = NormalisedProgress(rules, r.progress, r.Multiplier(rules), m.progress, m.Multiplier(rules));
  out->set_nc(m.nc);
  out->set_dac(m.dac);
  out->set_ddc(m.ddc);
  out->set_ep(ep);
  out->set_ttc(m.ttc);
  out->set_comfort(m.comfort);
  out->set_pdms(TotalScore(rules, m, ep));
}

absl::StatusOr<std::shared_ptr<const PreparedScene>> Prepare(const v1::Scene& scene) {
  return PreparedScene::Create(scene, Rules::kV1);
}

void SimulateCandidates(const PreparedScene& scene, absl::Span<const absl::Span<const Pose2>> plans,
                        SimulatedCandidates* out) {
  const SimulationStart& start = scene.start();
  LaneKnots knots;
  out->count = static_cast<int>(plans.size());
  for (int l = 0; l < kLanes; ++l) {
    if (l < out->count) {
      out->invalid[l] = CheckPoses(plans[l]);
      if (out->invalid[l] == v1::INVALID_REASON_UNSPECIFIED) {
        if (SetCandidateKnots(start, plans[l], l, &knots)) continue;
        out->invalid[l] = v1::DIVERGED;
      }
    }
    SetParked(start, scene.grid().knots(), l, &knots);
  }
  SimulateKnots(start, scene.grid(), knots, out->count, &out->states);
  for (int l = 0; l < out->count; ++l) {
    if (out->invalid[l] == v1::INVALID_REASON_UNSPECIFIED && Diverged(out->states, l)) out->invalid[l] = v1::DIVERGED;
  }
}

v1::InvalidReason SimulateCandidate(const PreparedScene& scene, absl::Span<const Pose2> poses, States* states) {
  SimulatedCandidates simulated;
  SimulateCandidates(scene, {&poses, 1}, &simulated);
  if (simulated.invalid[0] == v1::INVALID_REASON_UNSPECIFIED) *states = simulated.states.Rows(0);
  return simulated.invalid[0];
}

Score ScoreTrajectory(const PreparedScene& scene, absl::Span<const Pose2> poses, bool want_facts) {
  return std::move(ScoreTrajectories(scene, {&poses, 1}, want_facts)[0]);
}

void EvaluateCandidates(const PreparedScene& scene, absl::Span<const absl::Span<const Pose2>> plans, bool want_trace,
                        absl::FunctionRef<void(const EvaluatedCandidate&)> visit) {
  SimulatedCandidates simulated;
  std::array<ComfortResult, kLanes> comfort;
  Motion motion;
  Metrics metrics;
  Trace trace;
  for (size_t first = 0; first < plans.size(); first += kLanes) {
    SimulateCandidates(scene, plans.subspan(first, kLanes), &simulated);
    CheckComfort(scene.options(), simulated.states, simulated.count, comfort.data());
    for (int l = 0; l < simulated.count; ++l) {
      if (simulated.invalid[l] != v1::INVALID_REASON_UNSPECIFIED) {
        visit({first + l, simulated.invalid[l]});
        continue;
      }
      trace.Clear();
      MakeMotion(simulated.states, l, &motion);
      metrics = EvaluateMotion(scene.map(), scene.observation(), motion, comfort[l], scene.options(),
                               want_trace ? &trace : nullptr);
      visit({first + l, v1::INVALID_REASON_UNSPECIFIED, &simulated, l, &motion, &metrics, want_trace ? &trace : nullptr});
    }
  }
}

std::vector<Score> ScoreTrajectories(const PreparedScene& scene, absl::Span<const absl::Span<const Pose2>> plans,
                                     bool want_facts) {
  std::vector<Score> out;
  out.reserve(plans.size());
  EvaluateCandidates(scene, plans, want_facts, [&](const EvaluatedCandidate& c) {
    Score& score = out.emplace_back();
    score.invalid = c.invalid;
    if (c.invalid != v1::INVALID_REASON_UNSPECIFIED) return;
    FillScores(scene, *c.metrics, &score.scores);
    if (want_facts) MakeFacts(scene, *c.motion, *c.metrics, *c.trace, &score.facts);
  });
  return out;
}

}  // namespace swerve::pdm
