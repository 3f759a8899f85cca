// Calls: refusals, deadlines, several groups at once, callers who leave, the end.
#include "reward_service/service.h"

#include <grpcpp/generic/generic_stub.h>

#include <thread>

#include "absl/time/clock.h"
#include "reward_service/metrics.h"
#include "swerve/v1/status.pb.h"
#include "tests/reward_service/service_fixture.h"

namespace swerve {
namespace {

using ::testing::HasSubstr;

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
  const prometheus::Counter& refused = RewardMetrics::Groups("RESOURCE_EXHAUSTED");
  const double before = refused.Value();
  std::thread caller([&] {
    grpc::ClientContext context;
    EXPECT_OK(FromGrpc(batch_stub_->ScoreGroups(&context, request, &reply)));
  });
  while (refused.Value() < before + 3) std::this_thread::yield();
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

}  // namespace
}  // namespace swerve
