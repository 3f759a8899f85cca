#include "base/config.h"

#include <google/protobuf/descriptor.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/files.h"
#include "base/redis_url.h"

namespace swerve {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

std::string JoinPath(const std::string& parent, const std::string& name) {
  return parent.empty() ? name : absl::StrCat(parent, ".", name);
}

size_t EditDistance(const std::string& a, const std::string& b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t above = row[j];
      row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      diagonal = above;
    }
  }
  return row[b.size()];
}

void CollectPaths(const Descriptor* type, const std::string& parent, std::vector<std::string>* out) {
  for (int i = 0; i < type->field_count(); ++i) {
    const FieldDescriptor* field = type->field(i);
    const std::string path = JoinPath(parent, field->name());
    if (field->message_type() != nullptr) {
      CollectPaths(field->message_type(), path, out);
    } else {
      out->push_back(path);
    }
  }
}

// The known path closest to an unknown one: by the whole path or, for a field written in the wrong section, by its
// last part alone.
std::string NearestPath(const Descriptor* root, const std::string& unknown) {
  std::vector<std::string> known;
  CollectPaths(root, "", &known);
  for (int i = 0; i < root->field_count(); ++i) {
    if (root->field(i)->message_type() != nullptr) known.push_back(root->field(i)->name());
  }
  const std::string leaf = unknown.substr(unknown.rfind('.') + 1);
  std::string best;
  size_t best_distance = std::numeric_limits<size_t>::max();
  for (const std::string& path : known) {
    const size_t whole = 2 * EditDistance(unknown, path);
    const size_t part = 2 * EditDistance(leaf, path.substr(path.rfind('.') + 1)) + 1;
    if (std::min(whole, part) < best_distance) {
      best_distance = std::min(whole, part);
      best = path;
    }
  }
  return best;
}

// Where a value came from, for messages.
struct Source {
  std::string name;
  bool lines = true;
  const Descriptor* root = v1::RunConfig::descriptor();
  std::string At(const YAML::Node& node) const {
    return lines && node.Mark().line >= 0 ? absl::StrCat(name, ":", node.Mark().line + 1) : name;
  }
};

absl::Status Unknown(const Source& source, const YAML::Node& node, const std::string& path) {
  return absl::InvalidArgumentError(absl::StrCat(source.At(node), ": unknown field '", path, "'; did you mean '",
                                                 NearestPath(source.root, path), "'?"));
}

absl::Status WrongType(const Source& source, const YAML::Node& node, const std::string& path,
                       absl::string_view expected) {
  const std::string got = node.IsScalar() ? absl::StrCat("'", node.Scalar(), "'")
                          : node.IsMap()  ? std::string("a mapping")
                          : node.IsNull() ? std::string("nothing")
                                          : std::string("a list");
  return absl::InvalidArgumentError(
      absl::StrCat(source.At(node), ": field '", path, "' must be ", expected, ", not ", got));
}

// One scalar into a singular field, or appended to a repeated one.
absl::Status SetScalar(const Source& source, const YAML::Node& node, const std::string& path,
                       const FieldDescriptor* field, Message* message) {
  const Reflection* reflection = message->GetReflection();
  const bool repeated = field->is_repeated();
  const bool scalar = node.IsScalar();
  const std::string text = scalar ? node.Scalar() : "";
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_BOOL: {
      if (text != "true" && text != "false") return WrongType(source, node, path, "true or false");
      const bool value = text == "true";
      repeated ? reflection->AddBool(message, field, value) : reflection->SetBool(message, field, value);
      return absl::OkStatus();
    }
    case FieldDescriptor::CPPTYPE_INT32: {
      int32_t value = 0;
      if (!scalar || !absl::SimpleAtoi(text, &value)) return WrongType(source, node, path, "an integer");
      repeated ? reflection->AddInt32(message, field, value) : reflection->SetInt32(message, field, value);
      return absl::OkStatus();
    }
    case FieldDescriptor::CPPTYPE_UINT64: {
      uint64_t value = 0;
      if (!scalar || !absl::SimpleAtoi(text, &value)) {
        return WrongType(source, node, path, "an integer of 0 or more");
      }
      repeated ? reflection->AddUInt64(message, field, value) : reflection->SetUInt64(message, field, value);
      return absl::OkStatus();
    }
    case FieldDescriptor::CPPTYPE_DOUBLE: {
      double value = 0;
      if (!scalar || !absl::SimpleAtod(text, &value) || !std::isfinite(value)) {
        return WrongType(source, node, path, "a finite number");
      }
      repeated ? reflection->AddDouble(message, field, value) : reflection->SetDouble(message, field, value);
      return absl::OkStatus();
    }
    case FieldDescriptor::CPPTYPE_STRING:
      if (!scalar) return WrongType(source, node, path, "text");
      repeated ? reflection->AddString(message, field, text) : reflection->SetString(message, field, text);
      return absl::OkStatus();
    default:
      return absl::InternalError(absl::StrCat("config.proto: field '", path, "' has a type that YAML cannot set"));
  }
}

absl::Status SetField(const Source& source, const YAML::Node& node, const std::string& path,
                      const FieldDescriptor* field, Message* message);

// A section with a field `url` may be given as the URL alone: buffers=redis://…
absl::Status SetMessage(const Source& source, const YAML::Node& node, const std::string& path, Message* message) {
  if (node.IsNull()) return absl::OkStatus();
  const FieldDescriptor* url = message->GetDescriptor()->FindFieldByName("url");
  if (node.IsScalar() && url != nullptr) return SetScalar(source, node, JoinPath(path, "url"), url, message);
  if (!node.IsMap()) {
    return WrongType(source, node, path.empty() ? "(the whole file)" : path, "a mapping of field names to values");
  }
  std::set<std::string> seen;
  for (const auto& entry : node) {
    if (!entry.first.IsScalar()) return WrongType(source, entry.first, path, "a mapping with plain names");
    const std::string name = entry.first.Scalar();
    const std::string child = JoinPath(path, name);
    const FieldDescriptor* field = message->GetDescriptor()->FindFieldByName(name);
    if (field == nullptr) return Unknown(source, entry.first, child);
    if (!seen.insert(name).second) {
      return absl::InvalidArgumentError(absl::StrCat(source.At(entry.first), ": field '", child, "' is given twice"));
    }
    SWERVE_RETURN_IF_ERROR(SetField(source, entry.second, child, field, message));
  }
  return absl::OkStatus();
}

absl::Status SetField(const Source& source, const YAML::Node& node, const std::string& path,
                      const FieldDescriptor* field, Message* message) {
  const Reflection* reflection = message->GetReflection();
  if (field->message_type() != nullptr && field->is_repeated()) {
    reflection->ClearField(message, field);
    if (node.IsNull()) return absl::OkStatus();
    if (!node.IsSequence()) return WrongType(source, node, path, "a list of mappings");
    for (size_t i = 0; i < node.size(); ++i) {
      const std::string child = absl::StrCat(path, "[", i, "]");
      if (!node[i].IsMap()) return WrongType(source, node[i], child, "a mapping of field names to values");
      SWERVE_RETURN_IF_ERROR(SetMessage(source, node[i], child, reflection->AddMessage(message, field)));
    }
    return absl::OkStatus();
  }
  if (field->message_type() != nullptr) {
    return SetMessage(source, node, path, reflection->MutableMessage(message, field));
  }
  if (node.IsNull()) {
    if (field->has_default_value() || field->is_repeated()) {
      return WrongType(source, node, path, field->is_repeated() ? "a list" : "given a value");
    }
    reflection->ClearField(message, field);
    return absl::OkStatus();
  }
  if (!field->is_repeated()) return SetScalar(source, node, path, field, message);
  reflection->ClearField(message, field);
  if (node.IsScalar()) return SetScalar(source, node, path, field, message);  // a list of one
  if (!node.IsSequence()) return WrongType(source, node, path, "a list");
  for (const auto& item : node) SWERVE_RETURN_IF_ERROR(SetScalar(source, item, path, field, message));
  return absl::OkStatus();
}

absl::StatusOr<YAML::Node> ParseYaml(const std::string& text, const std::string& name) {
  try {
    return YAML::Load(text);
  } catch (const YAML::Exception& e) {
    return absl::InvalidArgumentError(absl::StrCat(name, ":", e.mark.line + 1, ": not YAML: ", e.msg));
  }
}

absl::Status ApplyOverride(const std::string& text, v1::RunConfig* config) {
  const size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("--set ", WithoutPasswords(text), ": expected key=value, for example learner.steps=20"));
  }
  const std::string path = text.substr(0, equals);
  const Source source{absl::StrCat("--set ", path), /*lines=*/false};  // the value may hold a password
  SWERVE_ASSIGN_OR_RETURN(const YAML::Node node, ParseYaml(text.substr(equals + 1), source.name));
  Message* message = config;
  std::string walked;
  const std::vector<std::string> names = absl::StrSplit(path, '.');
  for (size_t i = 0; i < names.size(); ++i) {
    walked = JoinPath(walked, names[i]);
    const FieldDescriptor* field = message->GetDescriptor()->FindFieldByName(names[i]);
    if (field == nullptr) return Unknown(source, node, path);
    if (i + 1 == names.size()) {
      // `--set scenes.curated=` sets the empty text; YAML reads the missing value as null.
      if (node.IsNull() && field->cpp_type() == FieldDescriptor::CPPTYPE_STRING && !field->is_repeated()) {
        message->GetReflection()->SetString(message, field, "");
        return absl::OkStatus();
      }
      return SetField(source, node, walked, field, message);
    }
    if (field->message_type() == nullptr) return Unknown(source, node, path);
    message = message->GetReflection()->MutableMessage(message, field);
  }
  return absl::OkStatus();
}

std::string Shortest(double value) {
  char buffer[40];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, value).ptr;
  return std::string(buffer, end);
}

// A Redis URL is written without its password.
std::string SafeText(const std::string& text) {
  if (!IsRedisUrl(text)) return text;
  const absl::StatusOr<RedisUrl> url = ParseRedisUrl(text);
  return url.ok() ? (url->password.empty() ? text : url->ToString()) : WithoutPasswords(text);
}

std::string ScalarText(const Message& message, const FieldDescriptor* field, int index) {
  const Reflection* r = message.GetReflection();
  const bool repeated = index >= 0;
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_BOOL:
      return (repeated ? r->GetRepeatedBool(message, field, index) : r->GetBool(message, field)) ? "true" : "false";
    case FieldDescriptor::CPPTYPE_INT32:
      return absl::StrCat(repeated ? r->GetRepeatedInt32(message, field, index) : r->GetInt32(message, field));
    case FieldDescriptor::CPPTYPE_UINT64:
      return absl::StrCat(repeated ? r->GetRepeatedUInt64(message, field, index) : r->GetUInt64(message, field));
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return Shortest(repeated ? r->GetRepeatedDouble(message, field, index) : r->GetDouble(message, field));
    default:
      return SafeText(repeated ? r->GetRepeatedString(message, field, index) : r->GetString(message, field));
  }
}

bool IsSet(const Message& message, const FieldDescriptor* field) {
  const Reflection* r = message.GetReflection();
  return field->is_repeated() ? r->FieldSize(message, field) > 0 : r->HasField(message, field);
}

void EmitMessage(const Message& message, YAML::Emitter* out, bool only_set = false) {
  *out << YAML::BeginMap;
  const Descriptor* type = message.GetDescriptor();
  const Reflection* reflection = message.GetReflection();
  for (int i = 0; i < type->field_count(); ++i) {
    const FieldDescriptor* field = type->field(i);
    if (only_set && !IsSet(message, field)) continue;
    *out << YAML::Key << field->name() << YAML::Value;
    if (field->message_type() != nullptr && field->is_repeated()) {
      *out << YAML::BeginSeq;
      for (int k = 0; k < reflection->FieldSize(message, field); ++k) {
        EmitMessage(reflection->GetRepeatedMessage(message, field, k), out, only_set);
      }
      *out << YAML::EndSeq;
    } else if (field->message_type() != nullptr) {
      EmitMessage(reflection->GetMessage(message, field), out, only_set);
    } else if (field->is_repeated()) {
      *out << YAML::Flow << YAML::BeginSeq;
      for (int k = 0; k < reflection->FieldSize(message, field); ++k) *out << ScalarText(message, field, k);
      *out << YAML::EndSeq;
    } else if (!field->has_default_value() && !reflection->HasField(message, field)) {
      *out << YAML::Null;
    } else {
      *out << ScalarText(message, field, -1);
    }
  }
  *out << YAML::EndMap;
}

}  // namespace

namespace {

absl::StatusOr<v1::RunConfig> Parse(const std::string& yaml, const std::string& name,
                                    const std::vector<std::string>& overrides) {
  v1::RunConfig config;
  SWERVE_ASSIGN_OR_RETURN(const YAML::Node root, ParseYaml(yaml, name));
  SWERVE_RETURN_IF_ERROR(SetMessage(Source{name}, root, "", &config));
  for (const std::string& text : overrides) SWERVE_RETURN_IF_ERROR(ApplyOverride(text, &config));
  v1::RewardConfig* reward = config.mutable_reward();
  if (reward->reward_weights_size() == 0) {
    for (int i = 0; i < 3; ++i) reward->add_reward_weights(1.0);
  }
  SWERVE_RETURN_IF_ERROR(ValidateRunConfig(config));
  return config;
}

}  // namespace

absl::StatusOr<v1::RunConfig> ParseRunConfig(const std::string& yaml, const std::string& name,
                                             const std::vector<std::string>& overrides) {
  absl::StatusOr<v1::RunConfig> config = Parse(yaml, name, overrides);
  if (config.ok()) return config;
  return absl::Status(config.status().code(), WithoutPasswords(config.status().message()));
}

absl::StatusOr<v1::RunConfig> LoadRunConfig(const std::string& file, const std::vector<std::string>& overrides) {
  std::string text;
  if (!file.empty()) {
    SWERVE_ASSIGN_OR_RETURN(text, ReadFile(file));
  }
  return ParseRunConfig(text, file, overrides);
}

absl::Status ReadYamlMessage(const std::string& yaml, const std::string& name, Message* message) {
  SWERVE_ASSIGN_OR_RETURN(const YAML::Node root, ParseYaml(yaml, name));
  return SetMessage(Source{name, /*lines=*/true, message->GetDescriptor()}, root, "", message);
}

std::string SetFieldsToYaml(const Message& message) {
  YAML::Emitter out;
  EmitMessage(message, &out, /*only_set=*/true);
  return absl::StrCat(out.c_str(), "\n");
}

std::string ToYaml(const v1::RunConfig& config) {
  YAML::Emitter out;
  EmitMessage(config, &out);
  return absl::StrCat(out.c_str(), "\n");
}

std::vector<std::string> ConfigPaths() {
  std::vector<std::string> paths;
  CollectPaths(v1::RunConfig::descriptor(), "", &paths);
  return paths;
}

}  // namespace swerve
