// Fields of a JSON object, checked as they are read. Internal to policy/.
#ifndef SWERVE_POLICY_CONFIG_READER_H_
#define SWERVE_POLICY_CONFIG_READER_H_

#include <cmath>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace swerve {

// Remembers the first thing wrong. A field that is null is absent. The object must outlive the reader.
class ConfigReader {
 public:
  using Json = nlohmann::json;
  ConfigReader(const Json& json, std::string where) : json_(json), where_(std::move(where)) {}

  bool Has(const char* key) const { return json_.is_object() && json_.contains(key) && !json_[key].is_null(); }
  int Int(const char* key, int64_t lo, int64_t hi, std::optional<int> fallback = std::nullopt) {
    if (!Has(key)) {
      if (!fallback) Fail(key, "is missing");
      return fallback.value_or(static_cast<int>(lo));
    }
    return InRange(key, json_[key], lo, hi);
  }
  double Number(const char* key, double fallback) {
    if (!Has(key)) return fallback;
    if (!json_[key].is_number() || !std::isfinite(json_[key].get<double>())) return Fail(key, "is not a number"), fallback;
    return json_[key].get<double>();
  }
  bool Bool(const char* key, bool fallback) {
    if (!Has(key)) return fallback;
    if (!json_[key].is_boolean()) return Fail(key, "is not true or false"), fallback;
    return json_[key].get<bool>();
  }
  // A square's side: a number, or a pair of equal numbers.
  int Side(const char* key, int hi, std::optional<int> fallback = std::nullopt) {
    if (!Has(key) || !json_[key].is_array()) return Int(key, 1, hi, fallback);
    const Json& a = json_[key];
    if (a.size() != 2 || !a[0].is_number() || a[0] != a[1]) return Fail(key, "is not square"), 1;
    return InRange(key, a[0], 1, hi);
  }
  std::vector<int> Ints(const char* key, int64_t lo, int64_t hi, std::vector<int> fallback) {
    if (!Has(key)) return fallback;
    const Json& a = json_[key];
    if (!a.is_array() || a.size() > 4096) return Fail(key, "is not a list of whole numbers"), fallback;
    std::vector<int> out;
    for (const Json& v : a) out.push_back(InRange(key, v, lo, hi));
    return out;
  }
  // A field whose only supported value is `want`.
  void Only(const char* key, const Json& want) {
    if (Has(key) && json_[key] != want) Fail(key, absl::StrCat("= ", Shown(json_[key]), " is not supported (only ", want.dump(), ")"));
  }
  void Fail(absl::string_view key, absl::string_view what) {
    if (status.ok()) status = absl::InvalidArgumentError(absl::StrCat(where_, ": ", key, " ", what));
  }
  // For messages. What is nested is not printed: printing recurses, and the input may be hostile.
  static std::string Shown(const Json& value) {
    if (value.is_structured()) return absl::StrCat("an ", value.type_name());
    return value.dump(-1, ' ', true, Json::error_handler_t::replace).substr(0, 80);
  }

  absl::Status status;

 private:
  int InRange(const char* key, const Json& value, int64_t lo, int64_t hi) {
    const bool fits = value.is_number_integer() && (!value.is_number_unsigned() || value.get<uint64_t>() <= static_cast<uint64_t>(INT64_MAX));
    if (!fits) return Fail(key, "is not a whole number"), static_cast<int>(lo);
    const int64_t v = value.get<int64_t>();
    if (v < lo || v > hi) return Fail(key, absl::StrCat("= ", v, " is outside ", lo, "…", hi)), static_cast<int>(lo);
    return static_cast<int>(v);
  }
  const Json& json_;
  const std::string where_;
};

}  // namespace swerve

#endif  // SWERVE_POLICY_CONFIG_READER_H_
