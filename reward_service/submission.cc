#include "reward_service/submission.h"

#include <limits>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"

namespace swerve {
namespace {

using nlohmann::json;

// Empty when a pose is not three numbers.
std::vector<v1::Pose> PlanOf(const json& poses) {
  if (!poses.is_array()) return {};
  std::vector<v1::Pose> out;
  for (const json& p : poses) {
    if (!p.is_array() || p.size() != 3) return {};
    double values[3];
    for (int i = 0; i < 3; ++i) {
      if (!p[i].is_number() && !p[i].is_null()) return {};
      values[i] = p[i].is_null() ? std::numeric_limits<double>::quiet_NaN() : p[i].get<double>();
    }
    v1::Pose& pose = out.emplace_back();
    pose.set_x(values[0]), pose.set_y(values[1]), pose.set_heading(values[2]);
  }
  return out;
}

}  // namespace

absl::StatusOr<Submission> ParseSubmission(const std::string& text) {
  const json file = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!file.is_object()) return absl::InvalidArgumentError("not a JSON object; make one with tools/navsim_export.py submission");
  if (!file.contains("schema") || file["schema"] != 1) return absl::InvalidArgumentError("\"schema\" must be 1");
  if (!file.contains("submission") || !file["submission"].is_object()) {
    return absl::InvalidArgumentError("\"submission\" must be an object of predictions by token");
  }
  Submission out;
  if (file.contains("name") && file["name"].is_string()) out.name = file["name"].get<std::string>();
  for (const auto& [token, poses] : file["submission"].items()) out.plans[token] = PlanOf(poses);
  if (file.contains("mapping")) out.mapping_json = file["mapping"].dump();
  return out;
}

bool Answer(const Submission& submission, v1::Scene* scene, std::set<std::string>* answered) {
  const std::string& token = scene->token().empty() ? scene->id() : scene->token();
  const auto plan = submission.plans.find(token);
  if (plan == submission.plans.end()) return false;
  answered->insert(token);
  scene->clear_candidates();
  v1::Candidate* candidate = scene->add_candidates();
  candidate->set_name(submission.name);
  for (const v1::Pose& pose : plan->second) *candidate->add_poses() = pose;
  return true;
}

}  // namespace swerve
