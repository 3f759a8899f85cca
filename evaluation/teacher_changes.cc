#include "evaluation/teacher_changes.h"

#include <nlohmann/json.hpp>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/files.h"

namespace swerve {
namespace {

using Json = nlohmann::json;

// Throws nlohmann's exceptions on a line that is not the gateway's.
std::string TextOf(const Json& json) {
  std::vector<std::string> teachers;
  for (const Json& t : json.at("teachers")) {
    teachers.push_back(absl::StrFormat("%s %.0f %%%s", t.at("name").get<std::string>(), 100 * t.at("share").get<double>(),
                                       t.value("shadow", false) ? " (shadow)" : ""));
  }
  return absl::StrFormat("teachers: set %d (%s): %s", json.at("set").get<uint64_t>(), json.at("cause").get<std::string>(),
                         absl::StrJoin(teachers, ", "));
}

}  // namespace

absl::StatusOr<TeacherChanges> ReadTeacherChanges(const std::string& run_dir, uint64_t seen) {
  TeacherChanges out;
  auto content = ReadFile(run_dir + "/teacher_changes.jsonl");
  if (absl::IsNotFound(content.status())) return out;
  if (!content.ok()) return content.status();
  for (absl::string_view rest = *content; !rest.empty();) {
    const size_t end = rest.find('\n');
    if (end == absl::string_view::npos) break;
    const absl::string_view line = rest.substr(0, end);
    rest.remove_prefix(end + 1);
    if (out.lines++ < seen) continue;
    try {
      out.texts.push_back(TextOf(Json::parse(line.begin(), line.end())));
    } catch (const Json::exception&) {
      continue;
    }
  }
  return out;
}

}  // namespace swerve
