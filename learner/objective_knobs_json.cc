// Knob overrides of a case's `config`.
#include <cmath>

#include "absl/strings/str_join.h"
#include "learner/objective_json.h"

namespace swerve {
namespace {

using nlohmann::json;

absl::Status Wrong(const std::string& name, const json& value, absl::string_view allowed) {
  return absl::InvalidArgumentError(absl::StrCat("config.", name, ": is ", value.dump(), "; allowed: ", allowed));
}

absl::Status Real(const std::string& name, const json& value, double* out) {
  if (!value.is_number() || !(value.get<double>() >= 0) || !std::isfinite(value.get<double>())) {
    return Wrong(name, value, "a number ≥ 0");
  }
  *out = value.get<double>();
  return absl::OkStatus();
}

absl::Status OptionalReal(const std::string& name, const json& value, bool positive, std::optional<double>* out) {
  if (value.is_null()) {
    out->reset();
    return absl::OkStatus();
  }
  if (!value.is_number() || !std::isfinite(value.get<double>()) || value.get<double>() < 0 ||
      (positive && value.get<double>() == 0)) {
    return Wrong(name, value, positive ? "a number > 0, or null to switch it off" : "a number ≥ 0, or null to switch it off");
  }
  *out = value.get<double>();
  return absl::OkStatus();
}

absl::Status Choice(const std::string& name, const json& value, const char* first, const char* second, bool* is_first) {
  if (!value.is_string() || (value != first && value != second)) {
    return Wrong(name, value, absl::StrCat("\"", first, "\" or \"", second, "\""));
  }
  *is_first = value == first;
  return absl::OkStatus();
}

absl::Status ApplyKnob(const std::string& name, const json& value, Knobs* k) {
  bool first = false;
  if (name == "scale_rewards") return Choice(name, value, "group", "none", &k->scale_by_std);
  if (name == "advantage_eps") return Real(name, value, &k->advantage_eps);
  if (name == "epsilon") return OptionalReal(name, value, false, &k->epsilon);
  if (name == "epsilon_high") return OptionalReal(name, value, false, &k->epsilon_high);
  if (name == "clip_ratio_c") return OptionalReal(name, value, true, &k->clip_ratio_c);
  if (name == "delta") return OptionalReal(name, value, true, &k->delta);
  if (name == "beta") return Real(name, value, &k->beta);
  if (name == "gamma") return OptionalReal(name, value, true, &k->gamma);
  if (name == "min_span") return Real(name, value, &k->min_span);
  if (name == "s") {
    if (!value.is_number() || !std::isfinite(value.get<double>())) return Wrong(name, value, "a number");
    k->s = value.get<double>();
    return absl::OkStatus();
  }
  if (name == "k") {
    if (!value.is_number_integer() || value.get<double>() < 0 || value.get<double>() > 1e6) {
      return Wrong(name, value, "an integer ≥ 0");
    }
    k->k = value.get<int>();
    return absl::OkStatus();
  }
  if (name == "fill") {
    SWERVE_RETURN_IF_ERROR(Choice(name, value, "best_original", "none", &first));
    k->fill = first ? Fill::kBestOriginal : Fill::kNone;
    return absl::OkStatus();
  }
  if (name == "gate") {
    SWERVE_RETURN_IF_ERROR(Choice(name, value, "outcome", "none", &first));
    k->gate = first ? Gate::kOutcome : Gate::kNone;
    return absl::OkStatus();
  }
  // reward_weights
  if (!value.is_array() || value.size() != 3) return Wrong(name, value, "[traj, fmt, goal], three numbers");
  for (size_t i = 0; i < 3; ++i) {
    if (!value[i].is_number() || !std::isfinite(value[i].get<double>())) {
      return Wrong(absl::StrCat(name, "[", i, "]"), value[i], "a number");
    }
    k->reward_weights[i] = value[i].get<double>();
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ApplyKnobs(const Profile& profile, const json& config, Knobs* knobs) {
  if (!config.is_object()) {
    return absl::InvalidArgumentError(absl::StrCat("config: is ", config.dump(), "; allowed: an object of knobs"));
  }
  for (const auto& [name, value] : config.items()) {
    if (!profile.has_knob(name)) {
      return absl::InvalidArgumentError(absl::StrCat("config.", name, ": profile ", profile.name,
                                                     " has no such knob; allowed: ", absl::StrJoin(profile.knobs, ", ")));
    }
    SWERVE_RETURN_IF_ERROR(ApplyKnob(name, value, knobs));
  }
  return absl::OkStatus();
}

}  // namespace swerve
