// A few named threads that run short tasks which wait for services, so that others need not. Thread-safe; owned
// by whoever made it; the destructor finishes what was submitted and joins.
#ifndef SWERVE_BASE_TASK_POOL_H_
#define SWERVE_BASE_TASK_POOL_H_

#include <pthread.h>

#include <functional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/bounded_queue.h"

namespace swerve {

class TaskPool {
 public:
  // `name` has at most 15 characters (pthread_setname_np).
  TaskPool(int threads, size_t capacity, const std::string& name) : queue_(capacity) {
    for (int i = 0; i < threads; ++i) {
      threads_.emplace_back([this] {
        while (auto task = queue_.Pop()) (*task)();
      });
      pthread_setname_np(threads_.back().native_handle(), name.c_str());
    }
  }
  ~TaskPool() {
    queue_.Close();
    for (std::thread& t : threads_) t.join();
  }
  TaskPool(const TaskPool&) = delete;
  TaskPool& operator=(const TaskPool&) = delete;

  // Blocks while `capacity` tasks wait.
  void Submit(std::function<void()> task) { queue_.Push(std::move(task)); }

 private:
  BoundedQueue<std::function<void()>> queue_;
  std::vector<std::thread> threads_;
};

}  // namespace swerve

#endif  // SWERVE_BASE_TASK_POOL_H_
