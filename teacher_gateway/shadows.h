// Gives shadow teachers copies of what the others were asked, on threads of their own. A shadow that is too slow misses
// groups (counted); it never makes anybody wait.
#ifndef SWERVE_TEACHER_GATEWAY_SHADOWS_H_
#define SWERVE_TEACHER_GATEWAY_SHADOWS_H_

#include <atomic>
#include <map>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "base/task_pool.h"
#include "teacher_gateway/teacher_set.h"

namespace swerve {

// Thread-safe. The destructor forgets what waits, and waits for reports under way: at most a teacher's deadline_seconds.
class Shadows {
 public:
  static constexpr int kGroupsOfOne = 2;  // waiting or under way, per teacher
  static constexpr int kThreads = 8;

  Shadows() = default;
  ~Shadows();
  Shadows(const Shadows&) = delete;
  Shadows& operator=(const Shadows&) = delete;

  // Copies request and scene when a shadow of `set` is to see the group and has room. Never blocks.
  void Offer(const std::shared_ptr<const TeacherSet>& set, const v1::DiagnoseRequest& request, const v1::Scene& scene)
      ABSL_LOCKS_EXCLUDED(mu_);

 private:
  bool Enter(const std::string& teacher) ABSL_LOCKS_EXCLUDED(mu_);
  void Leave(const std::string& teacher) ABSL_LOCKS_EXCLUDED(mu_);

  std::atomic<bool> closing_{false};
  absl::Mutex mu_;
  std::map<std::string, int> held_ ABSL_GUARDED_BY(mu_);
  int all_ ABSL_GUARDED_BY(mu_) = 0;
  std::unique_ptr<TaskPool> pool_ ABSL_GUARDED_BY(mu_);  // made for the first copy
};

}  // namespace swerve

#endif  // SWERVE_TEACHER_GATEWAY_SHADOWS_H_
