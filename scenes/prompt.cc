#include "scenes/prompt.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "scenes/raster.h"

namespace swerve {
namespace {

// Fixed decimals without a negative zero.
std::string Fixed(double v, int decimals) {
  double unit = std::pow(10.0, decimals);
  double r = std::round(v * unit) / unit;
  return absl::StrFormat("%.*f", decimals, r == 0 ? 0.0 : r);
}
std::string Metres(double v) { return absl::StrCat(Fixed(v, 0), " m"); }

std::string PoseText(const v1::Pose& p) {
  return absl::StrCat("[", Fixed(p.x(), 1), ",", Fixed(p.y(), 1), ",", Fixed(p.heading(), 2), "]");
}

std::string MotionText(const v1::Scene& scene) {
  return absl::StrCat("command ", CommandText(scene.command()), ". speed ", Fixed(scene.ego().vx(), 1), " accel ",
                      Fixed(scene.ego().ax(), 1), ".");
}

const SceneObject* FirstOf(const std::vector<SceneObject>& objects, absl::string_view role) {
  for (const SceneObject& o : objects)
    if (o.role == role) return &o;
  return nullptr;
}

std::string LeadSentence(const std::vector<SceneObject>& objects) {
  const SceneObject* o = FirstOf(objects, "lead");
  if (!o) return "lead none.";
  return absl::StrCat("lead ", TypeName(o->type), " ", Metres(o->distance), " ahead speed ", Fixed(o->speed, 1), " ",
                      o->motion, ".");
}

std::string MergeSentence(const std::vector<SceneObject>& objects) {
  const SceneObject* o = FirstOf(objects, "merging");
  if (!o) return "merge none.";
  return absl::StrCat("merge ", TypeName(o->type), " ", Metres(o->distance), o->lateral > 0 ? " left" : " right",
                      " speed ", Fixed(o->speed, 1), ".");
}

std::string SideOf(const SceneObject& o) { return o.lateral > 1.0 ? " left" : o.lateral < -1.0 ? " right" : " ahead"; }

std::string InteractionSentence(const std::vector<SceneObject>& objects) {
  if (const SceneObject* o = FirstOf(objects, "crossing"))
    return absl::StrCat("crossing ", TypeName(o->type), " ", Metres(o->distance), SideOf(*o), " ", o->motion, ".");
  if (const SceneObject* o = FirstOf(objects, "oncoming"))
    return absl::StrCat("oncoming ", TypeName(o->type), " ", Metres(o->distance), SideOf(*o), " speed ",
                        Fixed(o->speed, 1), ".");
  if (const SceneObject* o = FirstOf(objects, "static"))
    return absl::StrCat("static ", TypeName(o->type), " ", Metres(o->distance), SideOf(*o), ".");
  return "interaction none.";
}

std::string PlanSentence(const MetaAction& action) {
  return absl::StrCat("plan ", action.longitudinal, ", ", action.lateral, ".");
}

// Where the road users in the picture are, nearest first: whole metres from the rear axle.
std::string AroundSentence(const SceneView& view) {
  constexpr size_t kMost = 6;
  std::vector<std::pair<double, std::string>> seen;
  for (const ViewObject& o : view.objects()) {
    if (!o.now()) continue;
    const double x = o.now()->x, y = o.now()->y;
    if (x > kRasterAhead || x < -kRasterBehind || std::abs(y) > kRasterSide) continue;
    seen.emplace_back(std::hypot(x, y), absl::StrCat(TypeName(o.type), " at ", Metres(x), ", ", Metres(std::abs(y)),
                                                     y > 0 ? " left." : " right."));
  }
  if (seen.empty()) return "around none.";
  std::sort(seen.begin(), seen.end());
  std::string out = "around";
  for (size_t i = 0; i < std::min(kMost, seen.size()); ++i) absl::StrAppend(&out, " ", seen[i].second);
  return out;
}

// Metres of road from the ego's centre in a direction, at most `limit`.
double RoadAlong(const SceneView& view, double dx, double dy, double limit) {
  double d = 0;
  while (d < limit && view.Drivable({kEgoCentre + (d + 0.5) * dx, (d + 0.5) * dy})) d += 0.5;
  return d;
}

ThinkClaims::Claim ReadClaim(absl::string_view sentence, const std::vector<std::string>& words) {
  ThinkClaims::Claim c;
  c.words = std::string(sentence);
  if (words.size() < 2 || words[1] == "none") return c;
  c.type = words[1];
  for (size_t i = 2; i < words.size(); ++i) {
    double v;
    if (!absl::SimpleAtod(words[i], &v) || !std::isfinite(v)) continue;
    if (words[i - 1] == "speed") {
      c.speed = v;
    } else if (i == 2) {
      c.distance = v;
    }
  }
  return c;
}

std::optional<MetaAction> ReadPlan(absl::string_view sentence) {
  std::vector<std::string> parts = absl::StrSplit(absl::StripPrefix(sentence, "plan "), ", ");
  if (parts.size() != 2) return std::nullopt;
  static constexpr const char* kLongitudinal[] = {"accelerate", "decelerate", "maintain", "stop"};
  static constexpr const char* kLateral[] = {"keep", "turn left", "turn right", "change left", "change right"};
  auto known = [](const auto& list, const std::string& w) {
    return std::any_of(std::begin(list), std::end(list), [&](const char* k) { return w == k; });
  };
  if (!known(kLongitudinal, parts[0]) || !known(kLateral, parts[1])) return std::nullopt;
  return MetaAction{parts[0], parts[1]};
}

}  // namespace

std::string CommandText(v1::NavigationCommand command) {
  switch (command) {
    case v1::TURN_LEFT: return "turn left";
    case v1::TURN_RIGHT: return "turn right";
    default: return "move forward";
  }
}

std::string BasePromptText(const v1::Scene& scene, absl::string_view ask) {
  EgoFrame frame(scene.ego().rear_axle());
  std::vector<v1::Pose> past;
  for (const v1::EgoState& e : scene.ego_past()) past.push_back(frame.ToEgo(e.rear_axle()));
  if (past.size() > 3) past.erase(past.begin(), past.end() - 3);
  return absl::StrCat(MotionText(scene), " past ", past.empty() ? "none" : AnswerText(past), ". drive.",
                      ask.empty() ? "" : " ", ask);
}

std::string FeedbackPromptText(const v1::Scene& scene, const std::string& response_text,
                               const std::string& feedback_text) {
  return FeedbackPromptText(BasePromptText(scene), response_text, feedback_text);
}

std::string FeedbackPromptText(const std::string& base_prompt, const std::string& response_text,
                               const std::string& feedback_text) {
  return absl::StrCat(base_prompt, "\nprevious answer: ", response_text, "\nfeedback: ", feedback_text,
                      "\nanswer again.");
}

std::string ThinkText(const v1::Scene& scene, absl::Span<const v1::Pose> plan) {
  std::vector<SceneObject> objects = CriticalObjects(scene);
  return absl::StrCat(LeadSentence(objects), " ", MergeSentence(objects), " ", InteractionSentence(objects), " ",
                      PlanSentence(MetaActionOf(scene, plan)));
}

std::string AnswerText(absl::Span<const v1::Pose> poses) {
  std::string out;
  for (const v1::Pose& p : poses) absl::StrAppend(&out, out.empty() ? "" : ",", PoseText(p));
  return out;
}

std::string ResponseText(const std::string& think, absl::Span<const v1::Pose> poses) {
  return ResponseText(think, AnswerText(poses));
}

std::string ResponseText(const std::string& think, const std::string& answer) {
  return absl::StrCat("<think>", think, "</think><answer>", answer, "</answer>");
}

std::string GtResponseText(const v1::Scene& scene) {
  std::vector<v1::Pose> gt(scene.gt().begin(), scene.gt().end());
  return ResponseText(ThinkText(scene, gt), gt);
}

ThinkClaims ReadThink(absl::string_view text) {
  if (size_t open = text.find("<think>"); open != absl::string_view::npos) text.remove_prefix(open + 7);
  text = text.substr(0, text.find("</think>"));
  ThinkClaims claims;
  for (absl::string_view part : absl::StrSplit(text, absl::MaxSplits(". ", 32))) {
    absl::string_view sentence = absl::StripSuffix(absl::StripAsciiWhitespace(part), ".");
    std::vector<std::string> words = absl::StrSplit(sentence, ' ', absl::SkipEmpty());
    if (words.empty()) continue;
    const std::string& head = words[0];
    if (head == "lead") claims.lead = ReadClaim(sentence, words);
    if (head == "merge") claims.merge = ReadClaim(sentence, words);
    if (head == "crossing" || head == "oncoming" || head == "static" || head == "interaction")
      claims.interaction = ReadClaim(sentence, words);
    if (head == "plan") claims.plan = ReadPlan(sentence);
  }
  return claims;
}

std::vector<QuestionAnswer> SceneQuestions(const v1::Scene& scene) {
  SceneView view(scene);
  std::vector<SceneObject> objects = CriticalObjects(view);
  std::vector<v1::Pose> gt(scene.gt().begin(), scene.gt().end());
  return {
      {"where is the road?", absl::StrCat("road ", Metres(RoadAlong(view, 0, 1, 20)), " left ",
                                          Metres(RoadAlong(view, 0, -1, 20)), " right ",
                                          Metres(RoadAlong(view, 1, 0, 50)), " ahead.")},
      {"what is ahead?", LeadSentence(objects)},
      {"who may merge?", MergeSentence(objects)},
      {"who interacts?", InteractionSentence(objects)},
      {absl::StrCat(MotionText(scene), " what is the plan?"), PlanSentence(MetaActionOf(scene, gt))},
      {"who is around?", AroundSentence(view)},
  };
}

}  // namespace swerve
