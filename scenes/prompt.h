// Everything the policy reads and should write, as text: few words, lower-case ASCII, rounded numbers, so that a model of
// a million parameters can master it. Distances are whole metres, speeds have one decimal, poses are pose3_text
// ("[12.3,-0.4,0.05]"). Pure functions, thread-safe. Frames: ego frame at t = 0 (x forward, y left).
//
//   base      command move forward. speed 8.3 accel -0.5. past [-12.1,0.3,0.02],[-8.2,0.1,0.01],[-4.2,0.0,0.01]. drive.
//   think     lead vehicle 18 m ahead speed 3.2 braking. merge none. crossing pedestrian 12 m left moving right.
//             plan decelerate, keep.
//   response  <think>…</think><answer>[4.0,0.0,0.00],…×8</answer>
//   feedback  <base>\nprevious answer: <response>\nfeedback: <text>\nanswer again.
#ifndef SWERVE_SCENES_PROMPT_H_
#define SWERVE_SCENES_PROMPT_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "scenes/objects.h"
#include "swerve/v1/scene.pb.h"

namespace swerve {

// q of the method: command, speed, acceleration and the last poses (oldest first); the picture travels beside it.
// `ask`: how the answer is to be written (policy/codec.h: Ask), after a space; empty for pose3_text.
std::string BasePromptText(const v1::Scene& scene, absl::string_view ask = "");

// q_fb: base prompt, the response verbatim, the teacher's text.
std::string FeedbackPromptText(const std::string& base_prompt, const std::string& response_text,
                               const std::string& feedback_text);
std::string FeedbackPromptText(const v1::Scene& scene, const std::string& response_text,
                               const std::string& feedback_text);

// The think section that a good driver who drives `plan` would write: lead, merge, interaction, meta-action. ≤ 45 words.
std::string ThinkText(const v1::Scene& scene, absl::Span<const v1::Pose> plan);

// "[x,y,h],[x,y,h]…": x and y with 1 decimal, heading with 2, no "-0.0".
std::string AnswerText(absl::Span<const v1::Pose> poses);
std::string ResponseText(const std::string& think, absl::Span<const v1::Pose> poses);
// The same with an answer that a codec wrote.
std::string ResponseText(const std::string& think, const std::string& answer);
// Think and answer of the scene's own GT.
std::string GtResponseText(const v1::Scene& scene);
std::string CommandText(v1::NavigationCommand command);  // "move forward", "turn left", "turn right"

// What a think section claims, as far as it can be read; used to tell a policy where its reasoning was wrong.
struct ThinkClaims {
  struct Claim {
    std::string type;  // "vehicle", …; empty: claimed none
    double distance = 0;
    std::optional<double> speed;
    std::string words;  // the sentence
  };
  std::optional<Claim> lead;         // absent: no such sentence
  std::optional<Claim> merge;
  std::optional<Claim> interaction;  // crossing, oncoming or static
  std::optional<MetaAction> plan;
};
// Accepts a whole response or a bare think text. Never fails: unreadable parts are absent.
ThinkClaims ReadThink(absl::string_view text);

// Stage one of supervised training: drivable area, lead, merging and crossing users, the ego's action, and the six
// nearest road users in the picture with their places.
struct QuestionAnswer {
  std::string question;
  std::string answer;
};
std::vector<QuestionAnswer> SceneQuestions(const v1::Scene& scene);

}  // namespace swerve

#endif  // SWERVE_SCENES_PROMPT_H_
