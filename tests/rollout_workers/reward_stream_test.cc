// Rewards over a stream, against a service that answers in its own order, breaks, refuses or says nothing.
#include "rollout_workers/reward_stream.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "absl/synchronization/blocking_counter.h"
#include "base/grpc_server.h"
#include "base/status_matchers.h"
#include "rollout_workers/grpc_clients.h"
#include "swerve/v1/reward.grpc.pb.h"
#include "swerve/v1/reward_batch.grpc.pb.h"

namespace swerve {
namespace {

using ::testing::HasSubstr;

// Answers with the scene's id as a number, the last group of a message first.
class Streams final : public v1::RewardBatchService::Service {
 public:
  grpc::Status ScoreStream(grpc::ServerContext*,
                           grpc::ServerReaderWriter<v1::ScoreGroupsReply, v1::ScoreStreamRequest>* line) override {
    ++streams;
    v1::ScoreStreamRequest message;
    while (line->Read(&message)) {
      ++messages;
      cancelled += message.cancelled_size();
      v1::ScoreGroupsReply reply;
      for (auto group = message.groups().rbegin(); group != message.groups().rend(); ++group) {
        ++groups;
        if (break_at == groups) return grpc::Status(grpc::UNAVAILABLE, "shutting down");
        if (group->group().scene_id() == "silence") continue;
        v1::GroupAnswer* answer = reply.add_answers();
        answer->set_id(group->id());
        if (refuse-- > 0) {
          answer->mutable_error()->set_code(grpc::RESOURCE_EXHAUSTED);
          continue;
        }
        answer->mutable_reply()->add_rewards()->set_total(std::stod(group->group().scene_id()));
      }
      if (reply.answers_size() > 0) line->Write(reply);
    }
    return grpc::Status::OK;
  }
  std::atomic<int> streams{0}, messages{0}, groups{0}, cancelled{0}, break_at{0}, refuse{0};
};

class Calls final : public v1::RewardService::Service {
 public:
  grpc::Status ScoreGroup(grpc::ServerContext*, const v1::ScoreGroupRequest*, v1::ScoreGroupReply* reply) override {
    ++calls;
    reply->add_rewards()->set_total(-1);
    return grpc::Status::OK;
  }
  std::atomic<int> calls{0};
};

class RewardStreamTest : public ::testing::Test {
 protected:
  RewardStreamTest() : run_(absl::StrCat(testing::TempDir(), "/reward-stream-", getpid())) {
    EXPECT_OK(run_.Create());
    server_ = GrpcServer::Start({}, {Serving<v1::RewardBatchService>(&streams_), Serving<v1::RewardService>(&calls_)}).value();
    RoleAddress address;
    address.grpc = server_->port();
    address.pid = getpid();
    EXPECT_OK(PublishRole(run_, "reward", address));
    client_ = MakeRewardClient(run_, absl::Seconds(60), {});
  }
  ~RewardStreamTest() override { client_.reset(); }

  static v1::ScoreGroupRequest Request(const std::string& scene) {
    v1::ScoreGroupRequest request;
    request.set_scene_id(scene);
    return request;
  }
  // `each` groups from each of `threads`; counts those that came back with their own answer.
  int AskFromThreads(int threads, int each) {
    std::atomic<int> right{0};
    std::vector<std::thread> callers;
    for (int t = 0; t < threads; ++t) {
      callers.emplace_back([&, t] {
        for (int i = 0; i < each; ++i) {
          const int number = 1000 * t + i;
          const auto reply = client_->ScoreGroup(Request(absl::StrCat(number)));
          EXPECT_OK(reply.status());
          if (reply.ok() && reply->rewards(0).total() == number) ++right;
        }
      });
    }
    for (std::thread& caller : callers) caller.join();
    return right;
  }

  const RunDir run_;
  Streams streams_;
  Calls calls_;
  std::unique_ptr<GrpcServer> server_;
  std::unique_ptr<RewardClient> client_;
};

TEST_F(RewardStreamTest, ThreadsShareOneStreamAndEachGetsItsOwnAnswer) {
  EXPECT_EQ(AskFromThreads(8, 50), 400);
  EXPECT_EQ(streams_.streams, 1);
  EXPECT_EQ(streams_.groups, 400);
  EXPECT_EQ(calls_.calls, 0);
}

TEST_F(RewardStreamTest, ABrokenStreamLosesNothing) {
  streams_.break_at = 37;
  EXPECT_EQ(AskFromThreads(8, 20), 160);
  EXPECT_EQ(streams_.streams, 2);
  EXPECT_EQ(calls_.calls, 0);
}

TEST_F(RewardStreamTest, RefusedGroupsAreAskedAgain) {
  streams_.refuse = 3;
  EXPECT_EQ(AskFromThreads(4, 5), 20);
  EXPECT_EQ(streams_.groups, 23);
  EXPECT_EQ(streams_.streams, 1);
}

TEST_F(RewardStreamTest, AGroupTooLargeForAStreamGetsACallOfItsOwn) {
  v1::ScoreGroupRequest large = Request("1");
  large.add_candidates()->set_text(std::string(RewardStream::kMostBytes, 'x'));
  SWERVE_ASSERT_OK_AND_ASSIGN(const auto reply, client_->ScoreGroup(large));
  EXPECT_EQ(reply.rewards(0).total(), -1);
  EXPECT_EQ(streams_.streams, 0);
}

TEST_F(RewardStreamTest, WhatIsAskedWhileAnswersAreHandedOutGoesInOneMessage) {
  RewardStream stream(grpc::CreateChannel(server_->address(), grpc::InsecureChannelCredentials()));
  constexpr int kGroups = 10;
  absl::BlockingCounter left(kGroups + 1);
  stream.Ask(Request("0"), absl::Seconds(60), [&](const RewardStream::Answer&) {
    for (int i = 1; i <= kGroups; ++i) {
      stream.Ask(Request(absl::StrCat(i)), absl::Seconds(60), [&, i](const RewardStream::Answer& answer) {
        EXPECT_EQ(answer->rewards(0).total(), i);
        left.DecrementCount();
      });
    }
    left.DecrementCount();
  });
  left.Wait();
  EXPECT_EQ(streams_.messages, 2);
}

TEST_F(RewardStreamTest, AServiceThatSaysNothingIsNotWaitedForAndHearsThatNobodyWaits) {
  RewardStream stream(grpc::CreateChannel(server_->address(), grpc::InsecureChannelCredentials()));
  EXPECT_THAT(stream.Score(Request("silence"), absl::Milliseconds(10)),
              StatusIs(absl::StatusCode::kDeadlineExceeded, HasSubstr("said nothing")));
  EXPECT_OK(stream.Score(Request("5"), absl::Seconds(60)));
  EXPECT_EQ(streams_.cancelled, 1);
  EXPECT_FALSE(stream.broken());
}

TEST_F(RewardStreamTest, WhatHasNoAnswerWhenItEndsIsUnavailable) {
  absl::Status status;
  {
    RewardStream stream(grpc::CreateChannel(server_->address(), grpc::InsecureChannelCredentials()));
    EXPECT_OK(stream.Score(Request("5"), absl::Seconds(60)));
    stream.Ask(Request("silence"), absl::Seconds(60), [&](const RewardStream::Answer& answer) { status = answer.status(); });
  }
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kUnavailable, HasSubstr("stream")));
}

TEST_F(RewardStreamTest, AServiceWithoutStreamsIsAskedByCalls) {
  server_.reset();
  server_ = GrpcServer::Start({}, {Serving<v1::RewardService>(&calls_)}).value();
  RoleAddress address;
  address.grpc = server_->port();
  address.pid = getpid();
  ASSERT_OK(PublishRole(run_, "reward", address));
  for (int i = 0; i < 3; ++i) EXPECT_OK(client_->ScoreGroup(Request("1")).status());
  EXPECT_EQ(calls_.calls, 3);
}

}  // namespace
}  // namespace swerve
