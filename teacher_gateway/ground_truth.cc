#include "teacher_gateway/ground_truth.h"

#include "scenes/prompt.h"
#include "teacher_gateway/per_item.h"

namespace swerve {

v1::DiagnoseReply GroundTruthTeacher::Diagnose(const v1::DiagnoseRequest& request, const v1::Scene& scene) const {
  std::string text;
  if (HasGroundTruth(scene)) {
    const std::vector<v1::Pose> plan = PosesOf(scene.gt());
    text = ResponseText(ThinkText(scene, plan), plan);
  }
  v1::DiagnoseReply reply = DiagnoseEach(request, scene, name(), "wrong. a good answer: {response}",
                                         [&](const v1::DiagnoseItem&, int, v1::Feedback* feedback) {
                                           *feedback->mutable_injected() = scene.gt();
                                           feedback->set_injected_text(text);
                                           feedback->set_prompt_text(absl::StrCat("wrong. a good answer: ", text));
                                         });
  // Nothing but the ground truth enters the group: no praise that would be answered by a sampled refinement.
  for (v1::DiagnoseResult& result : *reply.mutable_results()) {
    if (result.feedback().positive()) result.clear_feedback();
  }
  return reply;
}

}  // namespace swerve
