// Lets threads that call at the same time share one piece of work, as a group commit does: a caller that finds a free
// lane serves itself and all who queue; the others wait for it. No thread of its own.
#ifndef SWERVE_BUFFERS_COMBINER_H_
#define SWERVE_BUFFERS_COMBINER_H_

#include <algorithm>
#include <deque>
#include <functional>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"

namespace swerve {

// Thread-safe. Item has a size_t `bytes`, what it adds to a batch.
template <typename Item>
class Combiner {
 public:
  struct Limits {
    int lanes = 1;         // batches served at once
    size_t items = 256;    // of a batch
    size_t bytes = 8 << 20;  // of a batch of more than one item
  };
  // Serves a batch: called by one of the threads whose items it has, without a lock held, and for each lane by one
  // thread at a time (so that what belongs to a lane needs no mutex).
  using Serve = std::function<void(int lane, const std::vector<Item*>& batch)>;

  Combiner(Limits limits, Serve serve) : limits_(limits), serve_(std::move(serve)) {
    for (int lane = limits_.lanes; lane-- > 0;) idle_.push_back(lane);
  }

  // Blocks until `item` was served. Items are served in the order of the calls, batches of several lanes side by side.
  // A caller that is alone always gets lane 0.
  void Run(Item* item) {
    Waiter me;
    me.item = item;
    if (!Enter(&me)) {
      me.woken.WaitForNotification();
      if (me.lane < 0) return;  // served
    }
    const std::vector<Waiter*> batch = TakeBatch(&me);
    std::vector<Item*> items;
    for (const Waiter* waiter : batch) items.push_back(waiter->item);
    serve_(me.lane, items);
    // The lane first, so that it stands still as briefly as can be.
    if (Waiter* next = Leave(me.lane); next != nullptr) next->woken.Notify();
    for (Waiter* waiter : batch) {
      if (waiter != &me) waiter->woken.Notify();
    }
  }

  // Callers that wait for a batch of theirs to begin.
  size_t queued() {
    absl::MutexLock lock(&mu_);
    return queue_.size();
  }

 private:
  struct Waiter {
    Item* item = nullptr;
    int lane = -1;  // that it is to serve; written before woken
    absl::Notification woken;
  };

  bool Enter(Waiter* waiter) {
    absl::MutexLock lock(&mu_);
    if (idle_.empty()) {
      queue_.push_back(waiter);
      return false;
    }
    waiter->lane = idle_.back();
    idle_.pop_back();
    return true;
  }

  std::vector<Waiter*> TakeBatch(Waiter* first) {
    absl::MutexLock lock(&mu_);
    std::vector<Waiter*> batch = {first};
    size_t bytes = first->item->bytes;
    while (!queue_.empty() && batch.size() < limits_.items && bytes + queue_.front()->item->bytes <= limits_.bytes) {
      bytes += queue_.front()->item->bytes;
      batch.push_back(queue_.front());
      queue_.pop_front();
    }
    return batch;
  }

  // Who serves the lane next; null when nobody waits.
  Waiter* Leave(int lane) {
    absl::MutexLock lock(&mu_);
    if (queue_.empty()) {
      idle_.push_back(lane);
      std::sort(idle_.rbegin(), idle_.rend());
      return nullptr;
    }
    Waiter* next = queue_.front();
    queue_.pop_front();
    next->lane = lane;
    return next;
  }

  const Limits limits_;
  const Serve serve_;
  absl::Mutex mu_;
  std::vector<int> idle_ ABSL_GUARDED_BY(mu_);      // lanes, the lowest last; empty while anyone queues
  std::deque<Waiter*> queue_ ABSL_GUARDED_BY(mu_);
};

}  // namespace swerve

#endif  // SWERVE_BUFFERS_COMBINER_H_
