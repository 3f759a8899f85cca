#include "teacher_gateway/teachers_file.h"

#include <google/protobuf/descriptor.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <limits>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/strip.h"
#include "base/config.h"
#include "base/http_client.h"

namespace swerve {
namespace {

using google::protobuf::FieldDescriptor;

constexpr double kNoLimit = std::numeric_limits<double>::infinity();

struct Range {
  const char* field;
  double low, high;
  bool low_excluded = false;
};
constexpr Range kRanges[] = {
    {"weight", 0, 1e6},
    {"report_noise", 0, 1000},
    {"temperature", 0, 10},
    {"max_tokens", 1, 65536},
    {"image_size", 0, 2048},
    {"concurrency", 1, 256},
    {"requests_per_minute", 0, kNoLimit},
    {"tokens_per_minute", 0, kNoLimit},
    {"deadline_seconds", 0, 3600, true},
    {"max_retries", 0, 100},
    {"hedge_seconds", 0, 3600},
    {"breaker_failures", 0, 1 << 20},
    {"breaker_seconds", 0, 86400},
    {"price_in", 0, kNoLimit},
    {"price_out", 0, kNoLimit},
    {"budget_tokens", 0, kNoLimit},
    {"budget_money", 0, kNoLimit},
    {"budget_tokens_per_hour", 0, kNoLimit},
    {"budget_money_per_hour", 0, kNoLimit},
};

bool Among(absl::string_view value, std::initializer_list<const char*> names) {
  return std::any_of(names.begin(), names.end(), [&](const char* name) { return value == name; });
}

bool IsName(absl::string_view name) {
  return !name.empty() && name.size() <= 64 && std::all_of(name.begin(), name.end(), [](char c) {
    return absl::ascii_isalnum(c) || c == '-' || c == '_' || c == '.';
  });
}

bool IsVariable(absl::string_view name) {
  return !absl::ascii_isdigit(name[0]) &&
         std::all_of(name.begin(), name.end(), [](char c) { return absl::ascii_isalnum(c) || c == '_'; });
}

// Line of every field of every teacher. The text has been parsed once already.
std::vector<std::map<std::string, int>> LinesOf(const std::string& yaml) {
  std::vector<std::map<std::string, int>> lines;
  const YAML::Node root = YAML::Load(yaml);
  const YAML::Node teachers = root.IsMap() ? root["teachers"] : YAML::Node();
  for (size_t i = 0; teachers.IsSequence() && i < teachers.size(); ++i) {
    std::map<std::string, int>& at = lines.emplace_back();
    at[""] = teachers[i].Mark().line + 1;
    if (!teachers[i].IsMap()) continue;
    for (const auto& entry : teachers[i]) at[entry.first.Scalar()] = entry.first.Mark().line + 1;
  }
  return lines;
}

}  // namespace

bool IsEmbeddedFallback(absl::string_view name) { return Among(name, {"oracle", "rule", "none"}); }

std::string TeachersYaml(const v1::TeachersFile& file) { return SetFieldsToYaml(file); }

absl::Status TeachersSource::Refuse(int teacher, absl::string_view field, absl::string_view why) const {
  std::string at = name_;
  if (teacher >= 0 && teacher < static_cast<int>(lines_.size())) {
    const auto& lines = lines_[teacher];
    auto line = lines.find(std::string(field));
    if (line == lines.end()) line = lines.find("");
    if (line != lines.end()) absl::StrAppend(&at, ":", line->second);
  }
  if (teacher >= 0) {
    const std::string& name = file_.teachers(teacher).name();
    absl::StrAppend(&at, ": teacher ", IsName(name) ? absl::StrCat("\"", name, "\"") : absl::StrCat("number ", teacher + 1));
  }
  if (!field.empty()) absl::StrAppend(&at, ": field '", field, "'");
  return absl::InvalidArgumentError(absl::StrCat(at, " ", why));
}

std::string TeachersSource::Beside(const std::string& path) const {
  const size_t slash = name_.rfind('/');
  if (path.empty() || path[0] == '/' || slash == std::string::npos) return path;
  return absl::StrCat(name_.substr(0, slash + 1), path);
}

absl::Status TeachersSource::CheckName(int index) const {
  const v1::TeacherSpec& spec = file_.teachers(index);
  if (!IsName(spec.name())) {
    return Refuse(index, "name", "must be 1 to 64 letters, digits, '-', '_' or '.'");
  }
  for (int i = 0; i < index; ++i) {
    if (file_.teachers(i).name() == spec.name()) return Refuse(index, "name", "is taken by an earlier teacher");
  }
  if (!Among(spec.kind(), {"openai", "oracle", "rule", "ground_truth", "none"})) {
    return Refuse(index, "kind", "must be one of: openai, oracle, rule, ground_truth, none");
  }
  if (Among(spec.name(), {"oracle", "rule", "ground_truth", "none"}) && spec.name() != spec.kind()) {
    return Refuse(index, "name", absl::StrCat("is a kind of its own; a teacher of kind ", spec.kind(),
                                              " needs another name"));
  }
  return absl::OkStatus();
}

absl::Status TeachersSource::CheckRanges(int index) const {
  const v1::TeacherSpec& spec = file_.teachers(index);
  for (const Range& range : kRanges) {
    const FieldDescriptor* field = spec.GetDescriptor()->FindFieldByName(range.field);
    const double value = field->cpp_type() == FieldDescriptor::CPPTYPE_DOUBLE
                             ? spec.GetReflection()->GetDouble(spec, field)
                             : spec.GetReflection()->GetInt32(spec, field);
    if ((range.low_excluded ? value > range.low : value >= range.low) && value <= range.high) continue;
    std::string allowed = absl::StrCat("is ", value, " but must be ", range.low_excluded ? "more than " : "at least ",
                                       range.low);
    if (range.high != kNoLimit) absl::StrAppend(&allowed, " and at most ", range.high);
    return Refuse(index, range.field, allowed);
  }
  return absl::OkStatus();
}

absl::Status TeachersSource::CheckFallback(int index) const {
  const v1::TeacherSpec& spec = file_.teachers(index);
  if (spec.shadow() && spec.weight() > 1) {
    return Refuse(index, "weight", "of a shadow is the share of groups it sees: at most 1");
  }
  if (spec.shadow() && spec.fallback_size() > 0) return Refuse(index, "fallback", "is of no use to a shadow");
  for (const std::string& name : spec.fallback()) {
    if (name == spec.name()) return Refuse(index, "fallback", "names the teacher itself");
    for (const v1::TeacherSpec& other : file_.teachers()) {
      if (other.name() == name && other.shadow()) return Refuse(index, "fallback", "names a shadow, which must train nothing");
    }
    const bool known = IsEmbeddedFallback(name) ||
                       std::any_of(file_.teachers().begin(), file_.teachers().end(),
                                   [&](const v1::TeacherSpec& other) { return other.name() == name; });
    if (!known) {
      return Refuse(index, "fallback", absl::StrCat("names ", IsName(name) ? name : "something",
                                                    ", which is no teacher of this file and not oracle, rule or none"));
    }
  }
  return absl::OkStatus();
}

// Nothing here repeats a value: somebody may have put the key where its name belongs.
absl::Status TeachersSource::CheckEndpoint(int index) const {
  const v1::TeacherSpec& spec = file_.teachers(index);
  if (spec.kind() != "openai") {
    return spec.has_url() || spec.has_model() ? Refuse(index, spec.has_url() ? "url" : "model", "is for kind openai alone")
                                              : absl::OkStatus();
  }
  const bool https = absl::StartsWith(spec.url(), "https://");
  if (!https && !absl::StartsWith(spec.url(), "http://")) {
    return Refuse(index, "url", "must be the endpoint's address up to /v1, for example http://127.0.0.1:8000/v1");
  }
  for (const char c : spec.url()) {
    if (c <= ' ' || c > '~') return Refuse(index, "url", "holds white space or characters that no address may hold");
    if (c == '@' || c == '?' || c == '#') {
      return Refuse(index, "url", "must not hold '@', '?' or '#'; a key belongs in key_env or key_file");
    }
  }
  if (spec.model().empty()) return Refuse(index, "model", "is missing; give the name that the endpoint serves it by");
  if (!Among(spec.structured_output(), {"json_schema", "json_object", "none"})) {
    return Refuse(index, "structured_output", "must be one of: json_schema, json_object, none");
  }
  if (!spec.key_env().empty() && !IsVariable(spec.key_env())) {
    return Refuse(index, "key_env", "must be the name of an environment variable, not the key");
  }
  const bool has_key = !spec.key_env().empty() || !spec.key_file().empty();
  if (!spec.key_env().empty() && !spec.key_file().empty()) {
    return Refuse(index, "key_file", "and 'key_env' are both set; give one");
  }
  if (has_key && !https && !IsLoopbackUrl(spec.url()) && !spec.key_over_http()) {
    return Refuse(index, "url", "would carry the key unencrypted; use https, or allow it with key_over_http: true");
  }
  for (const auto& [field, budget] : {std::pair<const char*, double>{"budget_money", spec.budget_money()},
                                      {"budget_money_per_hour", spec.budget_money_per_hour()}}) {
    if (budget > 0 && spec.price_in() <= 0 && spec.price_out() <= 0) {
      return Refuse(index, field, "needs price_in and price_out, or it could never be reached");
    }
  }
  return absl::OkStatus();
}

absl::Status TeachersSource::Check() const {
  double sum = 0;
  for (int i = 0; i < file_.teachers_size(); ++i) {
    SWERVE_RETURN_IF_ERROR(CheckName(i));
    SWERVE_RETURN_IF_ERROR(CheckRanges(i));
    SWERVE_RETURN_IF_ERROR(CheckFallback(i));
    SWERVE_RETURN_IF_ERROR(CheckEndpoint(i));
    if (!file_.teachers(i).draining() && !file_.teachers(i).shadow()) sum += file_.teachers(i).weight();
  }
  if (file_.teachers().empty()) return Refuse(-1, "teachers", "is empty; name at least one, for example kind: none");
  if (sum <= 0) return Refuse(-1, "teachers", "leave no teacher for the groups: all weigh 0, drain or are shadows");
  return absl::OkStatus();
}

absl::StatusOr<TeachersSource> TeachersSource::Parse(const std::string& yaml, const std::string& name) {
  TeachersSource source;
  source.name_ = name;
  SWERVE_RETURN_IF_ERROR(ReadYamlMessage(yaml, name, &source.file_));
  source.lines_ = LinesOf(yaml);
  SWERVE_RETURN_IF_ERROR(source.Check());
  return source;
}

absl::StatusOr<TeachersSource> TeachersSource::Of(const v1::TeachersFile& file, const std::string& name) {
  TeachersSource source;
  source.name_ = name;
  source.file_ = file;
  SWERVE_RETURN_IF_ERROR(source.Check());
  return source;
}

}  // namespace swerve
