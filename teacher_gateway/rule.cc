#include "teacher_gateway/rule.h"

#include "scenes/prompt.h"
#include "teacher_gateway/per_item.h"

namespace swerve {

v1::DiagnoseReply RuleTeacher::Diagnose(const v1::DiagnoseRequest& request, const v1::Scene& scene) const {
  std::string text;
  std::string action;
  if (HasGroundTruth(scene)) {
    const MetaAction meta = MetaActionOf(scene, PosesOf(scene.gt()));
    action = absl::StrCat("should be ", meta.longitudinal, ", ", meta.lateral, ".");
    text = absl::StrCat("wrong. action: ", action);
  }
  return DiagnoseEach(request, scene, name(), "wrong. action: should be {lon}, {lat}.",
                      [&](const v1::DiagnoseItem&, int, v1::Feedback* feedback) {
                        feedback->set_meta_action(action);
                        feedback->set_prompt_text(text);
                      });
}

}  // namespace swerve
