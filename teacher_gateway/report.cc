#include "teacher_gateway/report.h"

#include <cmath>
#include <iterator>
#include <nlohmann/json.hpp>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "scenes/prompt.h"
#include "teacher_gateway/correction.h"
#include "teacher_gateway/per_item.h"

namespace swerve {
namespace {

using nlohmann::json;

constexpr const char* kSections[] = {"meta_action", "think_process", "safety", "efficiency"};
constexpr const char* kParts[] = {"lateral", "longitudinal"};

absl::Status Refuse(absl::string_view member, absl::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat("member \"", member, "\" ", why));
}

// One line, single spaces, no control characters; "<x" loses its bracket unless x is a number or a space.
std::string Cleaned(const std::string& text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const unsigned char c = static_cast<unsigned char>(text[i]);
    if (c <= ' ' || c == 127) {
      if (!out.empty() && out.back() != ' ') out += ' ';
      continue;
    }
    if (c == '<' && i + 1 < text.size() && !absl::ascii_isdigit(text[i + 1]) && !absl::ascii_isspace(text[i + 1])) continue;
    out += static_cast<char>(c);
  }
  absl::StripTrailingAsciiWhitespace(&out);
  return out;
}

absl::StatusOr<std::string> Section(const json& object, const char* name) {
  const auto at = object.find(name);
  if (at == object.end()) return Refuse(name, "is missing");
  if (!at->is_string()) return Refuse(name, "must be a text");
  std::string text = Cleaned(at->get<std::string>());
  if (text.empty()) return Refuse(name, "is empty");
  if (text.size() > kMaxSectionChars) {
    return Refuse(name, absl::StrCat("has ", text.size(), " characters; write at most ", kMaxSectionChars));
  }
  return text;
}

template <size_t n>
absl::Status NothingElse(const json& object, const char* const (&names)[n], const char* also) {
  for (const auto& [key, value] : object.items()) {
    bool known = key == also;
    for (const char* name : names) known |= key == name;
    if (!known) return Refuse(Cleaned(key).substr(0, 40), "was not asked for");
  }
  return absl::OkStatus();
}

absl::string_view WithoutFence(absl::string_view text) {
  text = absl::StripAsciiWhitespace(text);
  if (!absl::ConsumePrefix(&text, "```json") && !absl::ConsumePrefix(&text, "```")) return text;
  absl::ConsumeSuffix(&text, "```");
  return absl::StripAsciiWhitespace(text);
}

const char* PartWords(v1::EgoPart part) {
  switch (part) {
    case v1::FRONT: return "front";
    case v1::REAR: return "rear";
    case v1::LEFT: return "left side";
    case v1::RIGHT: return "right side";
    default: return "some part";
  }
}

}  // namespace

const std::string& ReportSchema() {
  static const std::string& schema = *new std::string([] {
    const json text = {{"type", "string"}};
    const json correction = {{"type", "object"},
                             {"properties", {{"lateral", text}, {"longitudinal", text}}},
                             {"required", {"lateral", "longitudinal"}},
                             {"additionalProperties", false}};
    return json({{"type", "object"},
                 {"properties",
                  {{"meta_action", text},
                   {"think_process", text},
                   {"safety", text},
                   {"efficiency", text},
                   {"correction", correction}}},
                 {"required", {"meta_action", "think_process", "safety", "efficiency", "correction"}},
                 {"additionalProperties", false}})
        .dump();
  }());
  return schema;
}

absl::StatusOr<v1::Feedback> ParseReport(const std::string& content, bool positive) {
  const absl::string_view text = WithoutFence(content);
  const json object = json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
  if (object.is_discarded()) return absl::InvalidArgumentError("the answer is not JSON");
  if (!object.is_object()) return absl::InvalidArgumentError("the answer is not a JSON object");
  v1::Feedback f;
  std::string* const places[] = {f.mutable_meta_action(), f.mutable_think_process(), f.mutable_safety(),
                                 f.mutable_efficiency()};
  for (size_t i = 0; i < std::size(kSections); ++i) {
    SWERVE_ASSIGN_OR_RETURN(*places[i], Section(object, kSections[i]));
  }
  SWERVE_RETURN_IF_ERROR(NothingElse(object, kSections, "correction"));
  if (!object.contains("correction")) return Refuse("correction", "is missing");
  const json& correction = object["correction"];
  if (!correction.is_object()) return Refuse("correction", "must be an object with lateral and longitudinal");
  SWERVE_ASSIGN_OR_RETURN(*f.mutable_lateral_correction(), Section(correction, kParts[0]));
  SWERVE_ASSIGN_OR_RETURN(*f.mutable_longitudinal_correction(), Section(correction, kParts[1]));
  SWERVE_RETURN_IF_ERROR(NothingElse(correction, kParts, ""));
  f.set_positive(positive);
  // The embedded oracle's frame: a policy that learnt to read one reads the other.
  f.set_prompt_text(absl::StrCat(positive ? "right." : "wrong.", " action: ", f.meta_action(),
                                 " think: ", f.think_process(), " safety: ", f.safety(),
                                 " efficiency: ", f.efficiency(), " fix: ", f.longitudinal_correction(), " ",
                                 f.lateral_correction()));
  return f;
}

std::string ScoresText(const v1::Reward& reward) {
  if (!reward.has_scores()) return "none: the answer could not be scored";
  const v1::SubScores& s = reward.scores();
  std::string out = absl::StrFormat("NC %.2g, DAC %.2g, DDC %.2g, EP %.2g, TTC %.2g, comfort %.2g, ", s.nc(), s.dac(),
                                    s.ddc(), s.ep(), s.ttc(), s.comfort());
  if (s.has_epdms()) {
    absl::StrAppendFormat(&out, "traffic lights %.2g, lane keeping %.2g, EPDMS %.2g", s.tlc(), s.lk(), s.epdms());
  } else {
    absl::StrAppendFormat(&out, "PDMS %.2g", s.pdms());
  }
  return out;
}

std::string FactsText(const v1::Reward& reward) {
  std::string out;
  if (reward.invalid() == v1::UNPARSED || reward.invalid() == v1::WRONG_SHAPE) {
    out += "- no eight poses could be read from the answer\n";
  } else if (reward.invalid() != v1::INVALID_REASON_UNSPECIFIED) {
    out += "- the poses cannot be driven\n";
  }
  const v1::FailureFacts& facts = reward.facts();
  for (const v1::CollisionFact& c : facts.collisions()) {
    absl::StrAppendFormat(&out, "- its %s hits a %s at %.1f s, %.1f m ahead and %.1f m to the %s, closing at %.1f m/s%s\n",
                          PartWords(c.ego_part()), TypeName(c.type()), c.time_s(), c.x(), std::abs(c.y()),
                          c.y() < 0 ? "right" : "left", c.closing_speed(), c.at_fault() ? "; at fault" : "; not at fault");
  }
  if (facts.has_off_road()) {
    absl::StrAppendFormat(&out, "- leaves the drivable area on the %s at %.1f s, by up to %.1f m\n",
                          facts.off_road().side() == v1::LEFT ? "left" : "right", facts.off_road().time_s(),
                          facts.off_road().overshoot());
  }
  if (facts.has_ttc()) {
    absl::StrAppendFormat(&out, "- at %.1f s it would hit a %s within %.1f s\n", facts.ttc().time_s(),
                          TypeName(facts.ttc().type()), facts.ttc().lookahead_s());
  }
  if (reward.has_scores() && reward.scores().ddc() < 1) out += "- drives against the direction of traffic\n";
  if (facts.has_red_light()) {
    absl::StrAppendFormat(&out, "- runs a red light at %.1f s, %.1f m ahead\n", facts.red_light().time_s(),
                          facts.red_light().x());
  }
  if (facts.has_lane()) {
    absl::StrAppendFormat(&out, "- does not keep its lane: up to %.1f m beside the centre line, too long at %.1f s\n",
                          facts.lane().offset(), facts.lane().time_s());
  }
  if (facts.has_progress()) {
    absl::StrAppendFormat(&out, "- progress along the route: %.1f m, a reference driver %.1f m\n",
                          facts.progress().candidate(), facts.progress().reference());
  }
  for (const v1::ComfortFact& c : facts.comfort()) {
    absl::StrAppendFormat(&out, "- %s of %.2f breaks its limit of %.2f at %.1f s\n", c.limit(), c.value(), c.bound(),
                          c.time_s());
  }
  if (out.empty()) return "- nothing failed";
  out.pop_back();
  return out;
}

TemplateValues ValuesOf(const v1::Scene& scene, const v1::DiagnoseItem& item, double success_threshold) {
  const std::vector<v1::Pose> truth = PosesOf(scene.gt());
  const Correction correction = CorrectionOf(truth);
  TemplateValues values;
  values.command = CommandText(scene.command());
  values.base_prompt = BasePromptText(scene);
  values.response = item.response().text();
  values.gt_trajectory = AnswerText(truth);
  values.gt_summary = absl::StrCat(LongitudinalText(correction), " ", LateralText(correction));
  values.scores = ScoresText(item.reward());
  values.facts = FactsText(item.reward());
  values.threshold = absl::StrFormat("%.2g", success_threshold);
  return values;
}

}  // namespace swerve
