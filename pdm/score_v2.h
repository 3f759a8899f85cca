// EPDMS of one frame (spec: PDM score §19), rules v2. Pure and thread-safe.
#ifndef SWERVE_PDM_SCORE_V2_H_
#define SWERVE_PDM_SCORE_V2_H_

#include <optional>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/types/span.h"
#include "pdm/prepared_scene.h"
#include "pdm/types.h"
#include "swerve/v1/reward.pb.h"

namespace swerve::pdm {

// The eight sub-scores; all in [0,1].
struct SubScoresV2 {
  double nc = 0, dac = 0, ddc = 0, tlc = 0, ep = 0, ttc = 0, lk = 0, hc = 0;
};

// §19.3: after the filter, with extended comfort.
double Epdms(const SubScoresV2& scores, double ec);

struct ScoreV2 {
  v1::InvalidReason invalid = v1::INVALID_REASON_UNSPECIFIED;  // set: nothing else is
  SubScoresV2 raw;
  SubScoresV2 filtered;      // after the human penalty filter
  std::optional<double> ec;  // empty without a previous frame
  double pdm_score = 0;      // §19.1: unfiltered, without EC
  double epdms = 0;          // filtered; with EC where there is one
  double epdms_no_ec = 0, epdms_raw = 0, epdms_raw_no_ec = 0;
  Metrics metrics, reference;  // before progress is normalised
  Trace trace;
  v1::FailureFacts facts;  // where asked for
};

// The plan of the previous frame, simulated, for EC.
struct PreviousPlan {
  // `offset`: how many samples of 0.1 s earlier it starts (1 … 5).
  PreviousPlan(const States& simulated, int earlier)
      : states(simulated), offset(earlier), features(simulated, earlier, kSamples - earlier) {}

  States states;
  int offset;
  ExtendedFeatures features;
};
// Empty when the scene has no previous frame, when its plan is invalid, or when it does not lie within (0, 0.55) s
// before the present one.
std::optional<PreviousPlan> SimulatePrevious(const v1::Scene& scene, absl::Span<const Pose2> prev_poses);
// The same of a previous frame's ego and the present's time.
std::optional<PreviousPlan> SimulatePrevious(const v1::EgoState& ego, int64_t time_us,
                                             absl::Span<const Pose2> prev_poses);

// As a message, which must be empty: what the trajectory did itself, epdms after the filter. Of a valid score.
void FillSubScores(const ScoreV2& score, v1::SubScores* out);

// Scores from metrics. `human`: of the human's trajectory, null where there is no filter; `ec`: empty without a
// previous frame.
ScoreV2 AssembleV2(const Metrics& reference, const Metrics& candidate, const Metrics* human, std::optional<double> ec);
// Sets ec and the totals that contain it, if it has a value.
void SetExtendedComfort(std::optional<double> ec, ScoreV2* score);

// `scene` must have been prepared with Rules::kV2. `previous` may be null. Never fails, never throws.
ScoreV2 ScoreTrajectoryV2(const PreparedScene& scene, absl::Span<const Pose2> poses,
                          const PreviousPlan* previous = nullptr, bool want_facts = false);

// The same for many, in order and several times as fast. `previous`: one per plan (null for those without), or empty.
// What else is in `plans` does not change a bit of any score.
std::vector<ScoreV2> ScoreTrajectoriesV2(const PreparedScene& scene, absl::Span<const absl::Span<const Pose2>> plans,
                                         absl::Span<const PreviousPlan* const> previous = {}, bool want_facts = false);

// The same, with the facts where facts_of(k) says for plan k, which is asked only where there are any. Messages in an arena
// would have to copy them otherwise.
std::vector<ScoreV2> ScoreTrajectoriesV2(const PreparedScene& scene, absl::Span<const absl::Span<const Pose2>> plans,
                                         absl::Span<const PreviousPlan* const> previous,
                                         absl::FunctionRef<v1::FailureFacts*(size_t)> facts_of);

}  // namespace swerve::pdm

#endif  // SWERVE_PDM_SCORE_V2_H_
