// Reading what inference servers answer: nothing is believed, whatever its shape. Internal to the dialects. Pure.
#ifndef SWERVE_POLICY_SERVER_JSON_H_
#define SWERVE_POLICY_SERVER_JSON_H_

#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/strip.h"
#include "base/status.h"

namespace swerve {

using ServerJson = nlohmann::json;

// DATA_LOSS unless it is a JSON object.
inline absl::StatusOr<ServerJson> ParseServerObject(absl::string_view body) {
  ServerJson json = ServerJson::parse(body, nullptr, false);
  if (!json.is_object()) return absl::DataLossError("the answer is not a JSON object");
  return json;
}

// Null where it is not there, or `object` is none.
inline const ServerJson& MemberOf(const ServerJson& object, const char* key) {
  static const ServerJson none;
  if (!object.is_object()) return none;
  const auto at = object.find(key);
  return at == object.end() ? none : *at;
}

inline std::string TextOf(const ServerJson& v) { return v.is_string() ? v.get<std::string>() : std::string(); }

inline std::optional<int64_t> WholeOf(const ServerJson& v) {
  if (v.is_number_unsigned() && v.get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) return std::nullopt;
  return v.is_number_integer() ? std::optional<int64_t>(v.get<int64_t>()) : std::nullopt;
}

// Nothing where it is not a token's id.
inline std::optional<int32_t> IdOf(const ServerJson& v) {
  const std::optional<int64_t> id = WholeOf(v);
  return id && *id >= 0 && *id <= std::numeric_limits<int32_t>::max() ? std::optional<int32_t>(static_cast<int32_t>(*id)) : std::nullopt;
}

// "token_id:123".
inline std::optional<int32_t> IdOfName(absl::string_view name) {
  int32_t id = -1;
  return absl::ConsumePrefix(&name, "token_id:") && absl::SimpleAtoi(name, &id) && id >= 0 ? std::optional<int32_t>(id) : std::nullopt;
}

inline std::optional<std::vector<int32_t>> IdsOf(const ServerJson& v) {
  if (!v.is_array()) return std::nullopt;
  std::vector<int32_t> ids;
  for (const ServerJson& each : v) {
    const std::optional<int32_t> id = IdOf(each);
    if (!id) return std::nullopt;
    ids.push_back(*id);
  }
  return ids;
}

// Seeds as servers take them: not negative, 63 bits.
inline int64_t ServerSeed(uint64_t seed) { return static_cast<int64_t>(seed & std::numeric_limits<int64_t>::max()); }

}  // namespace swerve

#endif  // SWERVE_POLICY_SERVER_JSON_H_
