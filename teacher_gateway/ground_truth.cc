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
  return DiagnoseEach(request, scene, name(), "wrong. a good answer: {response}",
                      [&](const v1::DiagnoseItem&, int, v1::Feedback* feedback) {
                        *feedback->mutable_injected() = scene.gt();
                        feedback->set_injected_text(text);
                        feedback->set_prompt_text(absl::StrCat("wrong. a good answer: ", text));
                      });
}

}  // namespace swerve
