#include "teacher_gateway/per_item.h"

#include <cmath>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/random.h"

namespace swerve {
namespace {

constexpr char kVersion[] = "1";

void Fail(v1::Outcome outcome, const std::string& detail, v1::DiagnoseResult* result) {
  result->set_outcome(outcome);
  result->set_detail(detail);
}

}  // namespace

void Stamp(absl::string_view teacher, absl::string_view templates, v1::Feedback* feedback) {
  feedback->set_teacher(std::string(teacher));
  feedback->set_teacher_version(kVersion);
  const uint64_t hash = HashName(std::string_view(templates.data(), templates.size())) ^ HashName(kPraise);
  feedback->set_template_hash(absl::StrFormat("%016x", hash));
}

std::vector<v1::Pose> PosesOf(const google::protobuf::RepeatedPtrField<v1::Pose>& poses) {
  return {poses.begin(), poses.end()};
}

bool HasGroundTruth(const v1::Scene& scene) {
  if (scene.gt_size() != 8 || scene.label() == v1::NEGATIVE) return false;
  for (const v1::Pose& p : scene.gt()) {
    if (!std::isfinite(p.x()) || !std::isfinite(p.y()) || !std::isfinite(p.heading())) return false;
  }
  return true;
}

v1::DiagnoseReply DiagnoseEach(const v1::DiagnoseRequest& request, const v1::Scene& scene, absl::string_view teacher,
                               absl::string_view templates, const WriteReport& write) {
  v1::DiagnoseReply reply;
  const bool has_gt = HasGroundTruth(scene);
  for (int i = 0; i < request.items_size(); ++i) {
    const v1::DiagnoseItem& item = request.items(i);
    v1::DiagnoseResult* result = reply.add_results();
    if (!item.has_reward()) {
      Fail(v1::SCHEMA_INVALID, absl::StrCat("item ", i, " has no reward; score the response first"), result);
      continue;
    }
    if (item.reward().traj() >= request.success_threshold()) {
      result->set_outcome(v1::OK);
      v1::Feedback* feedback = result->mutable_feedback();
      feedback->set_positive(true);
      feedback->set_prompt_text(kPraise);
      Stamp(teacher, templates, feedback);
      continue;
    }
    if (scene.label() == v1::NEGATIVE) {
      Fail(v1::REFUSED, absl::StrCat("scene ", scene.id(), " is labelled NEGATIVE: its recording is to be avoided, not taught"),
           result);
      continue;
    }
    if (!has_gt) {
      Fail(v1::INTERNAL,
           absl::StrCat("scene ", scene.id(), " has ", scene.gt_size(), " ground-truth poses; a report needs 8 finite"),
           result);
      continue;
    }
    result->set_outcome(v1::OK);
    write(item, i, result->mutable_feedback());
    Stamp(teacher, templates, result->mutable_feedback());
  }
  return reply;
}

}  // namespace swerve
