// The pool itself: what a transport cannot show.
#include "reward_service/scoring_pool.h"

#include <thread>

#include "reward_service/metrics.h"
#include "reward_service/retry_hint.h"
#include "tests/reward_service/service_fixture.h"

namespace swerve {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class ScoringPoolTest : public RewardServiceTest {
 protected:
  void MakePool(const ScoringOptions& options) { pool_ = std::make_unique<ScoringPool>(options, lookup_); }
  struct Answer {
    absl::Notification done;
    v1::ScoreGroupReply reply;
    absl::Status status;
  };
  void Submit(const v1::ScoreGroupRequest& request, Answer* answer, std::function<bool()> cancelled = nullptr) {
    pool_->Submit({.request = &request,
                   .reply = &answer->reply,
                   .bytes = static_cast<int64_t>(request.ByteSizeLong()),
                   .cancelled = std::move(cancelled),
                   .done = [answer](const absl::Status& status) {
                     answer->status = status;
                     answer->done.Notify();
                   }});
  }
};

TEST_F(ScoringPoolTest, ThreadsShareALargeGroupAndTheScoresAreTheSame) {
  v1::ScoreGroupRequest request = Request("known", 200);
  for (int i = 0; i < 200; ++i) request.mutable_candidates(i)->mutable_poses(7)->set_x(10 + 0.1 * i);
  std::string one, four;
  for (auto [threads, bytes] : {std::pair{1, &one}, std::pair{4, &four}}) {
    ScoringOptions options;
    options.threads = threads;
    MakePool(options);
    SWERVE_ASSERT_OK_AND_ASSIGN(const v1::ScoreGroupReply reply, pool_->Score(request));
    ASSERT_EQ(reply.rewards_size(), 200);
    *bytes = reply.SerializeAsString();
  }
  EXPECT_EQ(one, four);
  SWERVE_ASSERT_OK_AND_ASSIGN(const v1::ScoreGroupReply none, pool_->Score(Request("known", 0)));
  EXPECT_EQ(none.rewards_size(), 0);
}

TEST_F(ScoringPoolTest, DeadlinePassesInsideAGroup) {
  // The clock moves by one second whenever it is looked at: the group can never be finished.
  std::atomic<int64_t> seconds{1000};
  ScoringOptions options;
  options.threads = 2;
  options.deadline = absl::Seconds(100);
  options.now = [&] { return absl::FromUnixSeconds(++seconds); };
  MakePool(options);
  const double before = RewardMetrics::Get().candidates.Value();
  EXPECT_THAT(pool_->Score(Request("known", 4000)),
              StatusIs(absl::StatusCode::kDeadlineExceeded, HasSubstr("deadline")));
  EXPECT_LT(seconds, 1300) << "the work went on after the deadline";
  EXPECT_EQ(RewardMetrics::Get().candidates.Value(), before);
}

TEST_F(ScoringPoolTest, ACallerWhoHasGoneCostsNoMoreWork) {
  MakePool({});
  std::atomic<int> asked{0};
  Answer answer;
  const v1::ScoreGroupRequest request = Request("known", 1000);
  Submit(request, &answer, [&] { return ++asked > 100; });
  answer.done.WaitForNotification();
  EXPECT_THAT(answer.status, StatusIs(absl::StatusCode::kCancelled, HasSubstr("gone")));
  EXPECT_LT(asked, 110);
}

TEST_F(ScoringPoolTest, TheQueueIsBoundedByBytesToo) {
  HoldLookups();
  ScoringOptions options;
  options.max_queue_bytes = 1000;
  MakePool(options);
  v1::ScoreGroupRequest busy = Request(), big = Request(), small = Request();
  big.mutable_candidates(0)->set_text(std::string(5000, 'x'));
  Answer a, b, c;
  Submit(busy, &a);
  entered_.WaitForNotification();
  Submit(big, &b);  // larger than the bound, but it waits alone
  Submit(small, &c);
  ASSERT_TRUE(c.done.HasBeenNotified());
  EXPECT_THAT(c.status, StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("queue full")));
  EXPECT_TRUE(RetryAfter(c.status).has_value());
  release_.Notify();
  a.done.WaitForNotification();
  b.done.WaitForNotification();
  EXPECT_OK(a.status);
  EXPECT_OK(b.status);
}

TEST_F(ScoringPoolTest, CallersWhoHaveGoneMakeRoomInAFullQueue) {
  HoldLookups();
  ScoringOptions options;
  options.max_queue = 1;
  MakePool(options);
  const v1::ScoreGroupRequest request = Request();
  Answer a, b, c;
  std::atomic<bool> gone{false};
  Submit(request, &a);
  entered_.WaitForNotification();
  Submit(request, &b, [&] { return gone.load(); });
  gone = true;
  Submit(request, &c);
  ASSERT_TRUE(b.done.HasBeenNotified());
  EXPECT_THAT(b.status, StatusIs(absl::StatusCode::kCancelled, HasSubstr("gone")));
  release_.Notify();
  c.done.WaitForNotification();
  EXPECT_OK(c.status);
  a.done.WaitForNotification();
}

TEST_F(ScoringPoolTest, WhatWaitsIsAnsweredWhenItEnds) {
  HoldLookups();
  MakePool({});
  const v1::ScoreGroupRequest request = Request();
  Answer a, b;
  Submit(request, &a);
  entered_.WaitForNotification();
  Submit(request, &b);
  std::thread end([this] { pool_.reset(); });
  release_.Notify();
  end.join();
  ASSERT_TRUE(a.done.HasBeenNotified());
  ASSERT_TRUE(b.done.HasBeenNotified());
}

// A source whose Poll, on the attending thread, lets the busy thread become idle, submits a group, and then meets the call
// that was to wake that thread.
class GreedySource : public CallSource {
 public:
  void Poll() override {
    absl::MutexLock lock(&mu_);
    if (polled_) return;
    polled_ = true;
    mu_.Unlock();
    poll();
    mu_.Lock();
    woken_ = ended_;  // the test may be over by now
  }
  void Wait() override {
    absl::MutexLock lock(&mu_);
    ++waiting_;
    mu_.Await(absl::Condition(&woken_));
    woken_ = ended_;
    --waiting_;
  }
  void Wake() override {
    absl::MutexLock lock(&mu_);
    woken_ = true;
  }
  void End() {
    absl::MutexLock lock(&mu_);
    woken_ = ended_ = true;
  }
  void AwaitIdleThread() {
    absl::MutexLock lock(&mu_);
    mu_.Await(absl::Condition(+[](int* n) { return *n > 0; }, &waiting_));
  }
  std::function<void()> poll;

 private:
  absl::Mutex mu_;
  bool polled_ = false, woken_ = false, ended_ = false;
  int waiting_ = 0;
};

TEST_F(ScoringPoolTest, AWakingCallThatTheAttendantMeetsIsNotLost) {
  HoldLookups();
  MakePool({});
  const v1::ScoreGroupRequest request = Request();
  Answer busy, next;
  GreedySource source;
  source.poll = [&] {
    release_.Notify();
    source.AwaitIdleThread();
    Submit(request, &next);
  };
  pool_->Serve(&source);
  source.AwaitIdleThread();
  Submit(request, &busy);
  busy.done.WaitForNotification();
  next.done.WaitForNotification();
  EXPECT_OK(next.status);
  pool_->Leave([&] { source.End(); });
}

// A source whose first Wait submits groups; tells after how many answers the scoring thread looked in.
class CountingSource : public CallSource {
 public:
  CountingSource(std::function<void()> submit, const std::atomic<int>* answered) : submit_(std::move(submit)), answered_(*answered) {}
  void Poll() override {  // the attendant may look in too
    absl::MutexLock lock(&mu_);
    if (std::this_thread::get_id() == thread_) looks_.push_back(answered_);
  }
  void Wait() override {
    absl::MutexLock lock(&mu_);
    if (thread_ == std::thread::id()) {
      thread_ = std::this_thread::get_id();
      mu_.Unlock();
      submit_();
      mu_.Lock();
      return;
    }
    idle_ = true;
    mu_.Await(absl::Condition(&ended_));
  }
  void Wake() override {}
  // Blocks until there is nothing left to score.
  std::vector<int> Looks() {
    absl::MutexLock lock(&mu_);
    mu_.Await(absl::Condition(&idle_));
    return looks_;
  }
  void End() {
    absl::MutexLock lock(&mu_);
    ended_ = true;
  }

 private:
  const std::function<void()> submit_;
  const std::atomic<int>& answered_;
  absl::Mutex mu_;
  std::thread::id thread_;
  std::vector<int> looks_;
  bool idle_ = false, ended_ = false;
};

TEST_F(ScoringPoolTest, CallersAreLookedForWhenFewGroupsAreLeftAndAfterFourMilliseconds) {
  constexpr int kGroups = 20;
  const v1::ScoreGroupRequest request = Request();
  const auto looks = [&](absl::Duration group) {  // that long each
    std::atomic<int64_t> nanos{0};
    std::atomic<int> answered{0};
    std::vector<v1::ScoreGroupReply> replies(kGroups);
    ScoringOptions options;
    options.now = [&nanos] { return absl::FromUnixNanos(nanos); };
    MakePool(options);
    CountingSource source(
        [&] {
          for (v1::ScoreGroupReply& reply : replies) {
            pool_->Submit({.request = &request, .reply = &reply, .done = [&](const absl::Status& status) {
                             EXPECT_OK(status);
                             nanos += absl::ToInt64Nanoseconds(group);
                             ++answered;
                           }});
          }
        },
        &answered);
    pool_->Serve(&source);
    const std::vector<int> out = source.Looks();
    pool_->Leave([&] { source.End(); });
    return out;
  };
  // A fifth of the twenty, then the last; never within a quarter of a millisecond; by the clock, from the last look.
  EXPECT_THAT(looks(absl::Microseconds(100)), ElementsAre(16, 20));
  EXPECT_THAT(looks(absl::Microseconds(10)), ElementsAre());
  EXPECT_THAT(looks(absl::Milliseconds(2)), ElementsAre(4, 8, 12, 16, 20));
}

TEST_F(ScoringPoolTest, EveryStageIsMeasured) {
  MakePool({});
  const auto count = [](prometheus::Histogram& h) { return h.Collect().histogram.sample_count; };
  RewardMetrics& m = RewardMetrics::Get();
  const auto queue = count(m.queue_seconds), prepare = count(m.prepare_seconds), score = count(m.score_seconds);
  ASSERT_OK(pool_->Score(Request()));
  EXPECT_EQ(count(m.queue_seconds), queue + 1);
  EXPECT_EQ(count(m.prepare_seconds), prepare + 1);
  EXPECT_EQ(count(m.score_seconds), score + 1);
}

}  // namespace
}  // namespace swerve
