// Threads that work on one computation together, step by step: for models whose matrices do not fit a core's caches, where
// each thread of its own would read them all.
#ifndef SWERVE_POLICY_TEAM_H_
#define SWERVE_POLICY_TEAM_H_

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include "absl/functional/function_ref.h"

namespace swerve {

// One caller at a time, always from the same thread or with its calls ordered otherwise. The members wait actively for some
// ten microseconds between calls, then asleep.
class Team {
 public:
  // `size` ≥ 1 members, the caller among them.
  explicit Team(int size);
  ~Team();
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  int size() const { return static_cast<int>(others_.size()) + 1; }

  // Calls work(member) on every member, the caller's as member 0, and returns when all have returned. `work` must not throw.
  void Run(absl::FunctionRef<void(int)> work);

 private:
  void Serve(int member);

  std::vector<std::thread> others_;
  const absl::FunctionRef<void(int)>* work_ = nullptr;  // of the round; published by round_
  std::atomic<uint32_t> round_{0}, busy_{0};
  std::atomic<bool> ended_{false};
};

}  // namespace swerve

#endif  // SWERVE_POLICY_TEAM_H_
