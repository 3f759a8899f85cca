#include "teacher_gateway/shadows.h"

#include <utility>
#include <vector>

namespace swerve {
namespace {

constexpr int kGroupsOfAll = 64;

struct Copy {
  std::shared_ptr<const TeacherSet> set;
  v1::DiagnoseRequest request;
  v1::Scene scene;
};

}  // namespace

Shadows::~Shadows() {
  closing_ = true;
  std::unique_ptr<TaskPool> pool;
  {
    absl::MutexLock lock(&mu_);
    pool = std::move(pool_);
  }
  pool.reset();
}

bool Shadows::Enter(const std::string& teacher) {
  absl::MutexLock lock(&mu_);
  int& held = held_[teacher];
  if (held >= kGroupsOfOne || all_ >= kGroupsOfAll) return false;
  ++held;
  ++all_;
  if (pool_ == nullptr) pool_ = std::make_unique<TaskPool>(kThreads, kGroupsOfAll, "teacher-shadow");
  return true;
}

void Shadows::Leave(const std::string& teacher) {
  absl::MutexLock lock(&mu_);
  --held_[teacher];
  --all_;
}

void Shadows::Offer(const std::shared_ptr<const TeacherSet>& set, const v1::DiagnoseRequest& request,
                    const v1::Scene& scene) {
  std::shared_ptr<const Copy> copy;
  for (const TeacherSet::Member* shadow : set->ShadowsOf(scene.id(), request.group())) {
    if (!Enter(shadow->spec.name())) {
      shadow->metrics->ShadowGroups("missed").Increment();
      continue;
    }
    shadow->metrics->ShadowGroups("asked").Increment();
    if (copy == nullptr) copy = std::make_shared<const Copy>(Copy{set, request, scene});
    absl::MutexLock lock(&mu_);
    // There is room: the queue is as long as all_ may become.
    pool_->Submit([this, copy, shadow] {
      if (!closing_) copy->set->AskShadow(*shadow, copy->request, copy->scene);
      Leave(shadow->spec.name());
    });
  }
}

}  // namespace swerve
