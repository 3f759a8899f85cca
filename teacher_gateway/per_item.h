// What the embedded teachers share: the checks on every item, the fixed praise for a correct response, and the
// stamps on every report. Pure functions.
#ifndef SWERVE_TEACHER_GATEWAY_PER_ITEM_H_
#define SWERVE_TEACHER_GATEWAY_PER_ITEM_H_

#include <functional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "swerve/v1/feedback.pb.h"
#include "swerve/v1/scene.pb.h"

namespace swerve {

// The whole text for a response with r_traj >= s (spec: algorithm §3.3, "rule feedback").
inline constexpr char kPraise[] = "right. the plan is safe and makes good progress. keep it.";

// Fills the report on the wrong response number `index`.
using WriteReport = std::function<void(const v1::DiagnoseItem& item, int index, v1::Feedback* feedback)>;

// Runs `write` on each item that failed (r_traj < s), praises the others, and gives a typed outcome to items and scenes
// that cannot be judged. Stamps every report with the teacher's name, version and `templates`' hash.
v1::DiagnoseReply DiagnoseEach(const v1::DiagnoseRequest& request, const v1::Scene& scene, absl::string_view teacher,
                               absl::string_view templates, const WriteReport& write);

// Name, version and hash of the wording, so that an episode tells which text trained the policy.
void Stamp(absl::string_view teacher, absl::string_view templates, v1::Feedback* feedback);

// Poses of a message as a contiguous vector (protobuf's repeated messages are not contiguous).
std::vector<v1::Pose> PosesOf(const google::protobuf::RepeatedPtrField<v1::Pose>& poses);

// True when the scene has the 8 ground-truth poses, all finite. A NEGATIVE scene has none: what was recorded is to be
// avoided.
bool HasGroundTruth(const v1::Scene& scene);

}  // namespace swerve

#endif  // SWERVE_TEACHER_GATEWAY_PER_ITEM_H_
