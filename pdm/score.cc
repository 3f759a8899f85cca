#include "pdm/score.h"

namespace swerve::pdm {

absl::StatusOr<std::shared_ptr<const PreparedScene>> Prepare(const v1::Scene& scene) {
  return PreparedScene::Create(scene, Rules::kV1);
}

v1::InvalidReason SimulateCandidate(const PreparedScene& scene, absl::Span<const Pose2> poses, States* states) {
  if (poses.size() != kPoses) return v1::WRONG_SHAPE;
  for (const Pose2& p : poses) {
    if (!std::isfinite(p.x) || !std::isfinite(p.y) || !std::isfinite(p.heading)) return v1::NOT_FINITE;
  }
  TenHertz reference;
  if (!CandidateReference(scene.ego(), scene.grid(), poses, &reference)) return v1::DIVERGED;
  return Simulate(scene.ego(), reference, states) ? v1::INVALID_REASON_UNSPECIFIED : v1::DIVERGED;
}

Score ScoreTrajectory(const PreparedScene& scene, absl::Span<const Pose2> poses, bool want_facts) {
  Score out;
  States states;
  out.invalid = SimulateCandidate(scene, poses, &states);
  if (out.invalid != v1::INVALID_REASON_UNSPECIFIED) return out;
  Trace trace;
  Metrics m = Evaluate(scene.map(), scene.observation(), states, scene.options(), want_facts ? &trace : nullptr);
  const Metrics& r = scene.reference();
  const Rules rules = scene.rules();
  double ep = NormalisedProgress(rules, r.progress, r.Multiplier(rules), m.progress, m.Multiplier(rules));
  out.scores.set_nc(m.nc);
  out.scores.set_dac(m.dac);
  out.scores.set_ddc(m.ddc);
  out.scores.set_ep(ep);
  out.scores.set_ttc(m.ttc);
  out.scores.set_comfort(m.comfort);
  out.scores.set_pdms(TotalScore(rules, m, ep));
  if (want_facts) out.facts = MakeFacts(scene, states, m, trace);
  return out;
}

}  // namespace swerve::pdm
