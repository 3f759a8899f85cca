#include "evaluation/eval_json.h"

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "base/files.h"

namespace swerve {
namespace {

using Json = nlohmann::json;
using OrderedJson = nlohmann::ordered_json;

// The summary's plain numbers, by key; one list for writing and reading.
template <typename Summary, typename F>
void ForEachNumber(Summary& s, F f) {
  f("total_failure_ratio", s.total_failure_ratio);
  f("nc", s.nc);
  f("dac", s.dac);
  f("ttc", s.ttc);
  f("comfort", s.comfort);
  f("ep", s.ep);
  f("format_ok", s.format_ok);
  f("planning_accuracy", s.planning_accuracy);
}

OrderedJson SummaryToJson(const EvalSummary& s) {
  OrderedJson json;
  json["scenes"] = s.scenes;
  json["pdms"] = s.pdms;
  json["pdms_ci95"] = {s.pdms_ci95[0], s.pdms_ci95[1]};
  ForEachNumber(s, [&](const char* key, double value) { json[key] = value; });
  return json;
}

absl::Status Number(const Json& json, const std::string& where, const std::string& key, double* out) {
  const auto it = json.find(key);
  if (it == json.end() || !it->is_number()) {
    return absl::InvalidArgumentError(absl::StrCat(where, ".", key, " is missing or not a number"));
  }
  *out = it->get<double>();
  return absl::OkStatus();
}

absl::StatusOr<EvalSummary> SummaryFromJson(const Json& json, const std::string& where) {
  if (!json.is_object()) return absl::InvalidArgumentError(absl::StrCat(where, " is not an object"));
  EvalSummary s;
  double scenes = 0;
  SWERVE_RETURN_IF_ERROR(Number(json, where, "scenes", &scenes));
  s.scenes = static_cast<int>(scenes);
  SWERVE_RETURN_IF_ERROR(Number(json, where, "pdms", &s.pdms));
  const Json ci = json.value("pdms_ci95", Json());
  if (!ci.is_array() || ci.size() != 2 || !ci[0].is_number() || !ci[1].is_number()) {
    return absl::InvalidArgumentError(absl::StrCat(where, ".pdms_ci95 is not [low, high]"));
  }
  s.pdms_ci95 = {ci[0].get<double>(), ci[1].get<double>()};
  absl::Status status;
  ForEachNumber(s, [&](const char* key, double& value) { status.Update(Number(json, where, key, &value)); });
  if (!status.ok()) return status;
  return s;
}

std::string Row(const std::string& name, const EvalSummary& s) {
  return absl::StrFormat("%-28s %6d   %.3f [%.3f, %.3f]  %9.1f %%   %.3f %.3f %.3f %.3f %.3f   %5.1f %%   %5.1f %%\n", name,
                         s.scenes, s.pdms, s.pdms_ci95[0], s.pdms_ci95[1], 100 * s.total_failure_ratio, s.nc, s.dac,
                         s.ttc, s.comfort, s.ep, 100 * s.format_ok, 100 * s.planning_accuracy);
}

absl::StatusOr<EvalAnswer> AnswerFromJson(const Json& json) {
  EvalAnswer a;
  if (!json.is_object()) return absl::InvalidArgumentError("not an object");
  const auto scene = json.find("scene");
  const auto text = json.find("text");
  if (scene == json.end() || !scene->is_string() || text == json.end() || !text->is_string()) {
    return absl::InvalidArgumentError("no \"scene\" or no \"text\"");
  }
  a.scene_id = scene->get<std::string>();
  a.response.set_text(text->get<std::string>());
  if (const auto it = json.find("family"); it != json.end() && it->is_string()) a.family = it->get<std::string>();
  double sample = 0;
  SWERVE_RETURN_IF_ERROR(Number(json, "answer", "sample", &sample));
  a.sample = static_cast<int>(sample);
  if (const auto it = json.find("poses"); it != json.end() && it->is_array()) {
    for (const Json& p : *it) {
      if (!p.is_array() || p.size() != 3 || !p[0].is_number() || !p[1].is_number() || !p[2].is_number()) {
        return absl::InvalidArgumentError("a pose is not [x, y, heading]");
      }
      v1::Pose* pose = a.response.add_poses();
      pose->set_x(p[0].get<double>());
      pose->set_y(p[1].get<double>());
      pose->set_heading(p[2].get<double>());
    }
  }
  const auto rewards = json.find("rewards");
  if (rewards == json.end() || !rewards->is_object()) return absl::InvalidArgumentError("no \"rewards\"");
  double value = 0;
  SWERVE_RETURN_IF_ERROR(Number(*rewards, "rewards", "traj", &value));
  a.reward.set_traj(value);
  SWERVE_RETURN_IF_ERROR(Number(*rewards, "rewards", "total", &value));
  a.reward.set_total(value);
  for (const auto& [key, set] : {std::pair{"nc", &v1::SubScores::set_nc}, {"dac", &v1::SubScores::set_dac},
                                 {"ttc", &v1::SubScores::set_ttc}, {"ep", &v1::SubScores::set_ep},
                                 {"comfort", &v1::SubScores::set_comfort}, {"pdms", &v1::SubScores::set_pdms}}) {
    SWERVE_RETURN_IF_ERROR(Number(*rewards, "rewards", key, &value));
    (a.reward.mutable_scores()->*set)(value);
  }
  return a;
}

}  // namespace

std::string EvalToJson(const EvalResult& result, int indent) {
  OrderedJson json;
  json["overall"] = SummaryToJson(result.overall);
  json["families"] = OrderedJson::object();
  for (const auto& [family, summary] : result.families) json["families"][family] = SummaryToJson(summary);
  return json.dump(indent, ' ', false, Json::error_handler_t::replace);
}

absl::StatusOr<EvalResult> EvalFromJson(absl::string_view text) {
  const Json json = Json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return absl::InvalidArgumentError("not a JSON object");
  EvalResult result;
  SWERVE_ASSIGN_OR_RETURN(result.overall, SummaryFromJson(json.value("overall", Json()), "overall"));
  const Json families = json.value("families", Json::object());
  if (!families.is_object()) return absl::InvalidArgumentError("families is not an object");
  for (const auto& [family, summary] : families.items()) {
    SWERVE_ASSIGN_OR_RETURN(result.families[family], SummaryFromJson(summary, "families." + family));
  }
  return result;
}

std::string AnswerToJson(const EvalAnswer& a) {
  OrderedJson json;
  json["scene"] = a.scene_id;
  json["family"] = a.family;
  json["sample"] = a.sample;
  json["temperature"] = a.temperature;
  json["seed"] = a.response.seed();
  json["text"] = a.response.text();
  json["parse"] = v1::ParseStatus_Name(a.response.parse());
  json["poses"] = OrderedJson::array();
  for (const v1::Pose& p : a.response.poses()) json["poses"].push_back({p.x(), p.y(), p.heading()});
  const v1::SubScores& s = a.reward.scores();
  json["rewards"] = {{"traj", a.reward.traj()}, {"fmt", a.reward.fmt()}, {"goal", a.reward.goal()},
                     {"total", a.reward.total()}, {"nc", s.nc()}, {"dac", s.dac()}, {"ddc", s.ddc()},
                     {"ttc", s.ttc()}, {"comfort", s.comfort()}, {"ep", s.ep()}, {"pdms", s.pdms()}};
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

absl::StatusOr<std::vector<EvalAnswer>> ReadAnswers(const std::string& path) {
  SWERVE_ASSIGN_OR_RETURN(const std::string content, ReadFile(path));
  std::vector<EvalAnswer> answers;
  int number = 0;
  for (absl::string_view line : absl::StrSplit(content, '\n')) {
    ++number;
    if (line.empty()) continue;
    auto answer = AnswerFromJson(Json::parse(line.begin(), line.end(), nullptr, /*allow_exceptions=*/false));
    if (!answer.ok()) return Annotate(answer.status(), absl::StrCat(path, " line ", number));
    answers.push_back(*std::move(answer));
  }
  return answers;
}

std::string EvalTable(const EvalResult& result) {
  std::string out = absl::StrFormat("%-28s %6s   %-21s  %11s   %-29s   %7s   %7s\n", "family", "scenes", "PDMS [95 % CI]",
                                    "all failed", "NC    DAC   TTC   C     EP", "format", "plan");
  for (const auto& [family, summary] : result.families) out += Row(family, summary);
  return out + Row("all", result.overall);
}

}  // namespace swerve
