// The ablation of the paper that puts the ground truth into the group: every wrong response's "refinement" is the
// ground-truth response itself, injected rather than sampled.
#ifndef SWERVE_TEACHER_GATEWAY_GROUND_TRUTH_H_
#define SWERVE_TEACHER_GATEWAY_GROUND_TRUTH_H_

#include "teacher_gateway/teacher.h"

namespace swerve {

// Fills Feedback.injected (8 poses, ego frame) and injected_text (a full response in the policy's own format).
// A correct response gets OK without feedback.
class GroundTruthTeacher final : public Teacher {
 public:
  v1::DiagnoseReply Diagnose(const v1::DiagnoseRequest& request, const v1::Scene& scene) const override;
  std::string name() const override { return "ground_truth"; }
};

}  // namespace swerve

#endif  // SWERVE_TEACHER_GATEWAY_GROUND_TRUTH_H_
