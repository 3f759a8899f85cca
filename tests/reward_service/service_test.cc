#include "reward_service/service.h"

#include <grpcpp/generic/generic_stub.h>

#include <thread>

#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "base/status_matchers.h"
#include "pdm/score_v2.h"
#include "reward_service/metrics.h"
#include "reward_service/retry_hint.h"
#include "swerve/v1/status.pb.h"
#include "tests/pdm/golden_files.h"

namespace swerve {
namespace {

using ::testing::HasSubstr;

class RewardServiceTest : public ::testing::Test {
 protected:
  RewardServiceTest() : scene_(std::make_shared<v1::Scene>(testing::PublicScenes().scenes[0])) {
    *scene_->mutable_gt() = scene_->human();
    lookup_ = [this](const std::string& id) -> absl::StatusOr<std::shared_ptr<const v1::Scene>> {
      ++lookups_;
      if (id != "known") return absl::NotFoundError(absl::StrCat("no scene '", id, "'"));
      return std::shared_ptr<const v1::Scene>(scene_);
    };
  }
  ~RewardServiceTest() override {
    server_.reset();
    service_.reset();
    pool_.reset();
  }
  void Start(const ScoringOptions& options = {}) {
    pool_ = std::make_unique<ScoringPool>(options, lookup_);
    service_ = std::make_unique<RewardService>(pool_.get());
    GrpcServer::Options server;
    server.max_message_bytes = 256 << 10;
    server_ = GrpcServer::Start(server, service_->registrations()).value();
    const auto channel = grpc::CreateChannel(server_->address(), grpc::InsecureChannelCredentials());
    stub_ = v1::RewardService::NewStub(channel);
    batch_stub_ = v1::RewardBatchService::NewStub(channel);
  }
  v1::ScoreGroupRequest Request(const std::string& id = "known", int candidates = 8) {
    v1::ScoreGroupRequest request;
    request.set_scene_id(id);
    for (int i = 0; i < candidates; ++i) {
      v1::ScoreCandidate* c = request.add_candidates();
      *c->mutable_poses() = scene_->gt();
      c->set_parse(v1::EXACT);
    }
    return request;
  }
  // Holds the first lookup until release_ is notified; `entered_` says that it has begun.
  void HoldLookups() {
    lookup_ = [this, inner = lookup_](const std::string& id) {
      if (!entered_.HasBeenNotified()) entered_.Notify();
      release_.WaitForNotification();
      return inner(id);
    };
  }
  absl::Status Call(const v1::ScoreGroupRequest& request) {
    grpc::ClientContext context;
    return FromGrpc(stub_->ScoreGroup(&context, request, &reply_));
  }

  std::shared_ptr<v1::Scene> scene_;
  std::atomic<int> lookups_{0};
  SceneLookup lookup_;
  std::unique_ptr<ScoringPool> pool_;
  std::unique_ptr<RewardService> service_;
  std::unique_ptr<GrpcServer> server_;
  std::unique_ptr<v1::RewardService::Stub> stub_;
  std::unique_ptr<v1::RewardBatchService::Stub> batch_stub_;
  v1::ScoreGroupReply reply_;
  absl::Notification entered_, release_;
};

// Every sub-score of v2 to the last bit of the library's, by request and as configured; one cache holds both editions.
TEST_F(RewardServiceTest, ScoresByTheRulesOfV2) {
  const v1::Scene* with_previous = nullptr;
  for (const v1::Scene& s : testing::PublicScenes().scenes) {
    if (s.has_prev() && s.has_resolved_v2() && s.candidates_size() > 2) with_previous = &s;
  }
  ASSERT_NE(with_previous, nullptr);
  *scene_ = *with_previous;
  v1::ScoreGroupRequest request;
  request.set_scene_id("known");
  request.mutable_weights()->set_traj(1);
  for (const v1::Candidate& candidate : scene_->candidates()) {
    v1::ScoreCandidate* c = request.add_candidates();
    *c->mutable_poses() = candidate.poses();
    *c->mutable_prev_poses() = candidate.prev_poses();
  }
  const auto prepared = pdm::PreparedScene::Create(*scene_, pdm::Rules::kV2).value();
  const auto expect_v2 = [&] {
    ASSERT_EQ(reply_.rewards_size(), scene_->candidates_size());
    int with_ec = 0;
    for (int i = 0; i < reply_.rewards_size(); ++i) {
      const v1::Reward& got = reply_.rewards(i);
      const v1::Candidate& c = scene_->candidates(i);
      const auto previous = pdm::SimulatePrevious(*scene_, testing::PosesOf(c.prev_poses()));
      const pdm::ScoreV2 want = pdm::ScoreTrajectoryV2(*prepared, testing::PosesOf(c.poses()),
                                                       previous.has_value() ? &*previous : nullptr, true);
      EXPECT_EQ(got.invalid(), want.invalid);
      if (want.invalid != v1::INVALID_REASON_UNSPECIFIED) continue;
      EXPECT_EQ(got.traj(), want.epdms);
      EXPECT_EQ(got.scores().epdms(), want.epdms);
      EXPECT_EQ(got.scores().lk(), want.raw.lk);
      EXPECT_EQ(got.scores().tlc(), want.raw.tlc);
      EXPECT_EQ(got.scores().comfort(), want.raw.hc);
      EXPECT_EQ(got.scores().has_ec(), want.ec.has_value());
      EXPECT_EQ(got.scores().ec(), want.ec.value_or(0));
      EXPECT_EQ(got.facts().SerializeAsString(), want.facts.SerializeAsString());
      EXPECT_EQ(got.facts().has_lane(), want.raw.lk == 0);
      with_ec += got.scores().has_ec();
    }
    EXPECT_GT(with_ec, 0);
  };
  Start();
  ASSERT_OK(Call(request));  // as configured: v1
  EXPECT_FALSE(reply_.rewards(0).scores().has_epdms());
  EXPECT_EQ(reply_.rewards(0).traj(), reply_.rewards(0).scores().pdms());
  for (int i = 0; i < 2; ++i) {
    request.set_pdm_rules(v1::V2);
    ASSERT_OK(Call(request));
    expect_v2();
  }
  EXPECT_EQ(lookups_, 2);  // once per edition
  request.set_pdm_rules(static_cast<v1::PdmRules>(9));
  EXPECT_THAT(Call(request), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("pdm_rules: 9")));
  scene_->clear_resolved_v2();
  request.set_pdm_rules(v1::V2);
  request.clear_source();
  *request.mutable_scene() = *scene_;
  EXPECT_THAT(Call(request), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("resolved_v2")));
}

TEST_F(RewardServiceTest, ARunMayBeConfiguredForV2) {
  ScoringOptions options;
  options.pdm_rules = pdm::Rules::kV2;
  Start(options);
  ASSERT_OK(Call(Request()));
  EXPECT_TRUE(reply_.rewards(0).scores().has_epdms());
  EXPECT_EQ(reply_.rewards(0).traj(), reply_.rewards(0).scores().epdms());
}

TEST_F(RewardServiceTest, ScoresAGroupAndPreparesASceneOnce) {
  Start();
  ASSERT_OK(Call(Request()));
  ASSERT_EQ(reply_.rewards_size(), 8);
  EXPECT_GT(reply_.rewards(7).traj(), 0.9);
  ASSERT_OK(Call(Request()));
  EXPECT_EQ(lookups_, 1);
}

TEST_F(RewardServiceTest, InlineScene) {
  Start();
  v1::ScoreGroupRequest request = Request();
  *request.mutable_scene() = *scene_;
  ASSERT_OK(Call(request));
  EXPECT_GT(reply_.rewards(0).traj(), 0.9);
  request.mutable_scene()->clear_ego();
  EXPECT_THAT(Call(request), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("ego")));
}

TEST_F(RewardServiceTest, RefusalsAreTyped) {
  ScoringOptions options;
  options.max_candidates = 8;
  Start(options);
  EXPECT_THAT(Call(Request("other")), StatusIs(absl::StatusCode::kNotFound, HasSubstr("other")));
  v1::ScoreGroupRequest request = Request();
  request.clear_source();
  EXPECT_THAT(Call(request), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("source")));
  request = Request();
  request.add_candidates();
  EXPECT_THAT(Call(request), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("at most 8")));
  request = Request();
  request.mutable_candidates(0)->set_text(std::string(1 << 20, 'x'));
  EXPECT_THAT(Call(request), StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("")));
}

TEST_F(RewardServiceTest, RulesOfTheRequestElseOfTheConfiguration) {
  scene_->set_label(v1::NEGATIVE);
  ScoringOptions options;
  v1::RewardRules rules;
  rules.add_functions("spanvla");
  options.default_functions = RewardFunctions::Make(rules).value();
  Start(options);
  v1::ScoreGroupRequest request = Request("known", 20);  // more than one thread takes at once
  ASSERT_OK(Call(request));
  for (const v1::Reward& reward : reply_.rewards()) {
    ASSERT_EQ(reward.terms_size(), 2);
    EXPECT_EQ(reward.terms(0).name(), "negative");
    EXPECT_EQ(reward.terms(0).value(), -0.5);  // what was recorded
    EXPECT_EQ(reward.goal(), 0);
    EXPECT_DOUBLE_EQ(reward.total(), reward.traj() + reward.fmt() - 0.5);
  }
  request.mutable_rules();  // none
  ASSERT_OK(Call(request));
  EXPECT_EQ(reply_.rewards(0).terms_size(), 0);
  EXPECT_EQ(reply_.rewards(0).goal(), 1);
  request.mutable_rules()->add_functions("adaptive");
  EXPECT_THAT(Call(request),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("known: spanvla, adaptive_think")));
  scene_ = std::make_shared<v1::Scene>(*scene_);
  scene_->clear_gt();
  request = Request();
  *request.mutable_scene() = *scene_;
  request.mutable_weights()->set_traj(1);
  EXPECT_THAT(Call(request), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("NEGATIVE")));
}

// Refinements get what their mode earned in the group they came from.
TEST_F(RewardServiceTest, RefinementsAreJudgedByTheirPeers) {
  ScoringOptions options;
  options.max_candidates = 4;
  Start(options);
  v1::ScoreGroupRequest request = Request("known", 2);
  request.mutable_candidates(0)->set_text("<think>a</think><answer>x</answer>");
  request.mutable_candidates(1)->set_text("<think></think><answer>x</answer>");
  request.mutable_rules()->add_functions("adaptive_think");
  for (const double traj : {0.95, 0.5}) {
    v1::GroupPeer* peer = request.add_peers();
    peer->set_text(request.candidates(traj > 0.9 ? 0 : 1).text());
    peer->set_traj(traj);
  }
  ASSERT_OK(Call(request));
  ASSERT_EQ(reply_.rewards_size(), 2);
  EXPECT_EQ(reply_.rewards(0).terms(0).value(), 1);
  EXPECT_EQ(reply_.rewards(1).terms(0).value(), 0);
  request.clear_peers();  // the candidates themselves: equally good, and then without reasoning is better
  ASSERT_OK(Call(request));
  EXPECT_EQ(reply_.rewards(0).terms(0).value(), 0);
  EXPECT_EQ(reply_.rewards(1).terms(0).value(), 1);
  for (int i = 0; i < 3; ++i) request.add_peers();
  EXPECT_THAT(Call(request), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("at most 4")));
}

TEST_F(RewardServiceTest, DeadlineHoldsDuringTheWork) {
  std::atomic<int64_t> seconds{1000};
  ScoringOptions options;
  options.deadline = absl::Seconds(5);
  options.now = [&] { return absl::FromUnixSeconds(seconds); };
  SceneLookup inner = lookup_;
  lookup_ = [&, inner](const std::string& id) {
    seconds += 6;  // the disk is slow
    return inner(id);
  };
  Start(options);
  EXPECT_THAT(Call(Request()), StatusIs(absl::StatusCode::kDeadlineExceeded, HasSubstr("deadline")));
  EXPECT_EQ(reply_.rewards_size(), 0);
  ASSERT_OK(Call(Request()));  // cached now
}

TEST_F(RewardServiceTest, FullQueueRefusesAndTheRestIsAnswered) {
  ScoringOptions options;
  options.max_queue = 1;
  absl::Notification entered, release;
  SceneLookup inner = lookup_;
  lookup_ = [&, inner](const std::string& id) {
    if (!entered.HasBeenNotified()) entered.Notify();
    release.WaitForNotification();
    return inner(id);
  };
  Start(options);
  std::atomic<int> ok{0};
  auto call = [&] {
    grpc::ClientContext context;
    v1::ScoreGroupReply reply;
    if (stub_->ScoreGroup(&context, Request(), &reply).ok()) ++ok;
  };
  std::thread first(call);
  entered.WaitForNotification();  // the only scoring thread is busy
  // One more fits the queue; of two calls exactly one is refused, whichever comes second.
  std::atomic<int> refused{0};
  absl::Notification one_refused;
  auto try_call = [&] {
    grpc::ClientContext context;
    v1::ScoreGroupReply reply;
    grpc::Status s = stub_->ScoreGroup(&context, Request(), &reply);
    if (s.ok()) ++ok;
    if (s.error_code() != grpc::RESOURCE_EXHAUSTED) return;
    // When to come back stands in the details and in the metadata, and is the same.
    v1::RpcStatus details;
    v1::RetryInfo info;
    EXPECT_TRUE(details.ParseFromString(s.error_details()));
    ASSERT_EQ(details.details_size(), 1);
    EXPECT_EQ(details.details(0).type_url(), "type.googleapis.com/google.rpc.RetryInfo");
    EXPECT_TRUE(info.ParseFromString(details.details(0).value()));
    const auto pushback = context.GetServerTrailingMetadata().find("grpc-retry-pushback-ms");
    ASSERT_NE(pushback, context.GetServerTrailingMetadata().end());
    const int64_t ms = info.retry_delay().seconds() * 1000 + info.retry_delay().nanos() / 1000000;
    EXPECT_EQ(std::to_string(ms), std::string(pushback->second.data(), pushback->second.size()));
    EXPECT_GE(ms, 50);
    EXPECT_LE(ms, 10000);
    if (refused++ == 0) one_refused.Notify();
  };
  std::thread second(try_call), third(try_call);
  one_refused.WaitForNotification();
  release.Notify();
  first.join();
  second.join();
  third.join();
  EXPECT_EQ(ok, 2);
  EXPECT_EQ(refused, 1);
}

TEST_F(RewardServiceTest, GroupsOfOneCallAreAnsweredAsIfAskedAlone) {
  ScoringOptions options;
  options.threads = 2;
  Start(options);
  v1::ScoreGroupsRequest request;
  for (int i = 0; i < 12; ++i) {
    *request.add_groups() = Request(i == 4 ? "other" : "known", 4 + 8 * i);
    request.mutable_groups(i)->mutable_candidates(0)->mutable_poses(7)->set_x(i);
  }
  request.mutable_groups(7)->clear_source();
  grpc::ClientContext context;
  v1::ScoreGroupsReply reply;
  ASSERT_OK(FromGrpc(batch_stub_->ScoreGroups(&context, request, &reply)));
  ASSERT_EQ(reply.answers_size(), 12);
  for (int i = 0; i < 12; ++i) {
    SCOPED_TRACE(i);
    const absl::Status alone = Call(request.groups(i));
    const v1::GroupAnswer& answer = reply.answers(i);
    EXPECT_EQ(answer.error().code(), alone.raw_code());
    EXPECT_EQ(answer.error().message(), alone.message());
    EXPECT_EQ(answer.reply().SerializeAsString(), alone.ok() ? reply_.SerializeAsString() : "");
    EXPECT_EQ(answer.has_error(), i == 4 || i == 7);
  }
  grpc::ClientContext again;
  ASSERT_OK(FromGrpc(batch_stub_->ScoreGroups(&again, {}, &reply)));
  EXPECT_EQ(reply.answers_size(), 0);
}

TEST_F(RewardServiceTest, GroupsThatDoNotFitTheQueueComeBackAlone) {
  ScoringOptions options;
  options.max_queue = 2;
  HoldLookups();
  Start(options);
  std::thread busy([&] { EXPECT_OK(Call(Request())); });
  entered_.WaitForNotification();
  v1::ScoreGroupsRequest request;
  for (int i = 0; i < 5; ++i) *request.add_groups() = Request();
  v1::ScoreGroupsReply reply;
  std::thread caller([&] {
    grpc::ClientContext context;
    EXPECT_OK(FromGrpc(batch_stub_->ScoreGroups(&context, request, &reply)));
  });
  while (RewardMetrics::Get().queue.Value() < 2) std::this_thread::yield();
  release_.Notify();
  caller.join();
  busy.join();
  ASSERT_EQ(reply.answers_size(), 5);
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(reply.answers(i).has_reply(), i < 2);
    if (i < 2) continue;
    EXPECT_EQ(reply.answers(i).error().code(), static_cast<int>(absl::StatusCode::kResourceExhausted));
    ASSERT_EQ(reply.answers(i).error().details_size(), 1);
    EXPECT_EQ(reply.answers(i).error().details(0).type_url(), "type.googleapis.com/google.rpc.RetryInfo");
  }
}

TEST_F(RewardServiceTest, ServesOnAnotherPortWhereThePreferredOneIsTaken) {
  Start();
  ScoringPool pool({}, lookup_);
  RewardService service(&pool);
  GrpcServer::Options options;
  options.preferred_port = server_->port();
  SWERVE_ASSERT_OK_AND_ASSIGN(auto server, GrpcServer::Start(options, service.registrations()));
  EXPECT_NE(server->port(), server_->port());
  stub_ = v1::RewardService::NewStub(grpc::CreateChannel(server->address(), grpc::InsecureChannelCredentials()));
  EXPECT_OK(Call(Request()));
}

TEST_F(RewardServiceTest, BytesThatAreNoRequestAreNamedAndTheNextCallIsServed) {
  Start();
  grpc::GenericStub stub(grpc::CreateChannel(server_->address(), grpc::InsecureChannelCredentials()));
  grpc::ClientContext context;
  const grpc::Slice slice("\xff\xff\xff");
  const grpc::ByteBuffer bytes(&slice, 1);
  grpc::ByteBuffer answer;
  grpc::Status status;
  absl::Notification done;
  stub.UnaryCall(&context, "/swerve.v1.RewardService/ScoreGroup", {}, &bytes, &answer, [&](const grpc::Status& s) {
    status = s;
    done.Notify();
  });
  done.WaitForNotification();
  EXPECT_EQ(status.error_code(), grpc::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("3 bytes are no swerve.v1.ScoreGroupRequest"));
  EXPECT_OK(Call(Request()));
}

// Nobody is there to read what arrives but the thread that attends.
TEST_F(RewardServiceTest, CallersWhoLeaveAreNoticedWhileAllThreadsAreBusy) {
  ScoringOptions options;
  options.max_queue = 1;
  HoldLookups();
  Start(options);
  std::thread busy([&] { EXPECT_OK(Call(Request())); });
  entered_.WaitForNotification();
  for (int i = 0; i < 20; ++i) {  // each takes the only place in the queue, unless those before have left it
    grpc::ClientContext context;
    context.set_deadline(absl::ToChronoTime(absl::Now() + absl::Milliseconds(30)));
    v1::ScoreGroupReply reply;
    EXPECT_EQ(stub_->ScoreGroup(&context, Request(), &reply).error_code(), grpc::DEADLINE_EXCEEDED);
  }
  release_.Notify();
  busy.join();
}

TEST_F(RewardServiceTest, CallsInFlightAreEndedBeforeItEnds) {
  HoldLookups();
  Start();
  absl::Status status;
  std::thread caller([&] { status = Call(Request()); });
  entered_.WaitForNotification();
  std::thread end([this] { server_->Shutdown(absl::ZeroDuration()); });
  caller.join();  // cancelled, though its group is still being scored
  release_.Notify();
  end.join();
  EXPECT_FALSE(status.ok());
}

// The pool itself: what a transport cannot show.
class ScoringPoolTest : public RewardServiceTest {
 protected:
  void MakePool(const ScoringOptions& options) { pool_ = std::make_unique<ScoringPool>(options, lookup_); }
  struct Answer {
    absl::Notification done;
    v1::ScoreGroupReply reply;
    absl::Status status;
  };
  void Submit(const v1::ScoreGroupRequest& request, Answer* answer, std::function<bool()> cancelled = nullptr) {
    pool_->Submit({&request, &answer->reply, static_cast<int64_t>(request.ByteSizeLong()), absl::InfiniteDuration(),
                   std::move(cancelled), [answer](const absl::Status& status) {
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
    woken_ = false;
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
