// Streams of groups: ids, refusals, deadlines and cancellation of single groups, broken and closed streams.
#include "reward_service/group_stream.h"

#include <map>
#include <thread>

#include "absl/time/clock.h"
#include "reward_service/metrics.h"
#include "tests/reward_service/service_fixture.h"

namespace swerve {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class GroupStreamTest : public RewardServiceTest {
 protected:
  // The caller's end.
  struct Line {
    explicit Line(v1::RewardBatchService::Stub& stub) : stream(stub.ScoreStream(&context)) {}
    void Ask(const v1::ScoreGroupRequest& group, uint64_t id, uint32_t timeout_ms = 0) {
      v1::ScoreStreamRequest message;
      Add(group, id, &message, timeout_ms);
      EXPECT_TRUE(stream->Write(message));
    }
    static void Add(const v1::ScoreGroupRequest& group, uint64_t id, v1::ScoreStreamRequest* message, uint32_t timeout_ms = 0) {
      v1::StreamedGroup* one = message->add_groups();
      *one->mutable_group() = group;
      one->set_id(id);
      one->set_timeout_ms(timeout_ms);
    }
    void Cancel(uint64_t id) {
      v1::ScoreStreamRequest message;
      message.add_cancelled(id);
      EXPECT_TRUE(stream->Write(message));
    }
    // Until `count` answers have come, or the stream has ended; by id.
    std::map<uint64_t, v1::GroupAnswer> Read(size_t count) {
      std::map<uint64_t, v1::GroupAnswer> out;
      v1::ScoreGroupsReply message;
      while (out.size() < count && stream->Read(&message)) {
        for (const v1::GroupAnswer& answer : message.answers()) {
          EXPECT_TRUE(out.emplace(answer.id(), answer).second) << answer.id() << " was answered twice";
        }
      }
      return out;
    }
    // The end of a stream that has nothing left to say.
    absl::Status End() {
      v1::ScoreGroupsReply message;
      EXPECT_FALSE(stream->Read(&message));
      return FromGrpc(stream->Finish());
    }
    grpc::ClientContext context;
    std::unique_ptr<grpc::ClientReaderWriter<v1::ScoreStreamRequest, v1::ScoreGroupsReply>> stream;
  };
};

TEST_F(GroupStreamTest, EachGroupIsAnsweredOnceUnderItsIdAsIfAskedAlone) {
  ScoringOptions options;
  options.threads = 2;
  Start(options);
  std::map<uint64_t, v1::ScoreGroupRequest> groups;
  for (uint64_t i = 0; i < 40; ++i) {
    v1::ScoreGroupRequest& group = groups[i * i];
    group = Request(i == 4 ? "other" : "known", 4 + static_cast<int>(i));
    group.mutable_candidates(0)->mutable_poses(7)->set_x(static_cast<double>(i));
    if (i == 7) group.clear_source();
  }
  Line line(*batch_stub_);
  v1::ScoreStreamRequest message;
  for (const auto& [id, group] : groups) {
    Line::Add(group, id, &message);
    if (message.groups_size() < static_cast<int>(id % 5)) continue;  // of different sizes
    EXPECT_TRUE(line.stream->Write(message));
    message.Clear();
  }
  EXPECT_TRUE(line.stream->Write(message));
  line.stream->WritesDone();
  const auto answers = line.Read(groups.size());
  EXPECT_OK(line.End());
  ASSERT_EQ(answers.size(), groups.size());
  for (const auto& [id, group] : groups) {
    SCOPED_TRACE(id);
    const absl::Status alone = Call(group);
    const v1::GroupAnswer& answer = answers.at(id);
    EXPECT_EQ(answer.error().code(), alone.raw_code());
    EXPECT_EQ(answer.error().message(), alone.message());
    EXPECT_EQ(answer.reply().SerializeAsString(), alone.ok() ? reply_.SerializeAsString() : "");
  }
}

TEST_F(GroupStreamTest, OneAfterTheOtherEachIsAnsweredAtOnce) {
  Start();
  Line line(*batch_stub_);
  for (uint64_t i = 1; i <= 20; ++i) {
    line.Ask(Request(), i);
    EXPECT_TRUE(line.Read(1).contains(i));
  }
  line.stream->WritesDone();
  EXPECT_OK(line.End());
}

TEST_F(GroupStreamTest, WhatTheQueueHasNoRoomForIsRefusedWithAHintWhileTheRestWaits) {
  ScoringOptions options;
  options.max_queue = 2;
  HoldLookups();
  Start(options);
  Line line(*batch_stub_);
  line.Ask(Request(), 1);
  entered_.WaitForNotification();  // the only scoring thread is busy
  v1::ScoreStreamRequest message;
  for (uint64_t id = 2; id <= 6; ++id) Line::Add(Request(), id, &message);
  EXPECT_TRUE(line.stream->Write(message));
  for (const auto& [id, answer] : line.Read(3)) {
    EXPECT_GE(id, 4u);
    EXPECT_EQ(answer.error().code(), static_cast<int>(absl::StatusCode::kResourceExhausted));
    ASSERT_EQ(answer.error().details_size(), 1);
    EXPECT_EQ(answer.error().details(0).type_url(), "type.googleapis.com/google.rpc.RetryInfo");
  }
  release_.Notify();
  for (const auto& [id, answer] : line.Read(3)) EXPECT_TRUE(id <= 3 && answer.has_reply()) << id;
  line.Ask(Request(), 4);  // asked anew
  EXPECT_TRUE(line.Read(1).at(4).has_reply());
}

TEST_F(GroupStreamTest, AGroupsOwnTimeoutHoldsDuringTheWork) {
  std::atomic<int64_t> seconds{1000};
  ScoringOptions options;
  options.now = [&] { return absl::FromUnixSeconds(seconds); };
  lookup_ = [&, inner = lookup_](const std::string& id) {
    seconds += 6;  // the disk is slow
    return inner(id);
  };
  Start(options);
  Line line(*batch_stub_);
  line.Ask(Request(), 1, 5000);
  const auto late = line.Read(1);
  EXPECT_EQ(late.at(1).error().code(), static_cast<int>(absl::StatusCode::kDeadlineExceeded));
  line.Ask(Request(), 2, 5000);  // cached now
  EXPECT_TRUE(line.Read(1).at(2).has_reply());
}

TEST_F(GroupStreamTest, ACancelledGroupIsNotScoredAndMakesRoom) {
  ScoringOptions options;
  options.max_queue = 1;
  HoldLookups();
  Start(options);
  Line line(*batch_stub_);
  line.Ask(Request(), 1);
  entered_.WaitForNotification();
  line.Ask(Request(), 2);  // waits
  line.Cancel(2);
  line.Ask(Request(), 3);  // in its place
  const auto first = line.Read(1);
  ASSERT_TRUE(first.contains(2));
  EXPECT_EQ(first.at(2).error().code(), static_cast<int>(absl::StatusCode::kCancelled));
  release_.Notify();
  for (const auto& [id, answer] : line.Read(2)) EXPECT_TRUE((id == 1 || id == 3) && answer.has_reply()) << id;
}

TEST_F(GroupStreamTest, CallersWhoLeaveAreNoticedAndMakeRoom) {
  ScoringOptions options;
  options.max_queue = 1;
  HoldLookups();
  Start(options);
  std::thread busy([&] { EXPECT_OK(Call(Request())); });
  entered_.WaitForNotification();
  for (int i = 0; i < 20; ++i) {  // each takes the only place in the queue, unless those before have left it
    Line line(*batch_stub_);
    line.Ask(Request(), 1);
    while (RewardMetrics::Get().queue.Value() < 1) std::this_thread::yield();
    line.context.TryCancel();
    EXPECT_THAT(line.Read(1), ElementsAre());
    EXPECT_THAT(FromGrpc(line.stream->Finish()), StatusIs(absl::StatusCode::kCancelled, HasSubstr("")));
  }
  release_.Notify();
  busy.join();
  Line line(*batch_stub_);
  line.Ask(Request(), 1);
  EXPECT_TRUE(line.Read(1).at(1).has_reply());
}

TEST_F(GroupStreamTest, AMessageThatIsTooLargeEndsItsStreamAlone) {
  Start();
  Line line(*batch_stub_), other(*batch_stub_);
  other.Ask(Request(), 1);
  EXPECT_TRUE(other.Read(1).at(1).has_reply());
  v1::ScoreGroupRequest large = Request();
  large.mutable_candidates(0)->set_text(std::string(1 << 20, 'x'));
  line.Ask(large, 1);
  EXPECT_THAT(line.Read(1), ElementsAre());
  EXPECT_THAT(FromGrpc(line.stream->Finish()), StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("larger than max")));
  other.Ask(Request(), 2);
  EXPECT_TRUE(other.Read(1).at(2).has_reply());
}

TEST_F(GroupStreamTest, BytesThatAreNoRequestEndTheStreamBehindWhatWasAsked) {
  Start();
  Line line(*batch_stub_);
  line.Ask(Request(), 1);
  v1::ScoreStreamRequest broken;
  // Field 0, which no message has.
  broken.GetReflection()->MutableUnknownFields(&broken)->AddVarint(0, 1);
  EXPECT_TRUE(line.stream->Write(broken));
  EXPECT_TRUE(line.Read(1).at(1).has_reply());
  EXPECT_THAT(line.End(), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("are no swerve.v1.ScoreStreamRequest")));
}

TEST_F(GroupStreamTest, TooManyCandidatesAreRefusedAsInACall) {
  ScoringOptions options;
  options.max_candidates = 8;
  Start(options);
  Line line(*batch_stub_);
  line.Ask(Request("known", 9), 1);
  const auto answers = line.Read(1);
  EXPECT_EQ(answers.at(1).error().code(), static_cast<int>(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(answers.at(1).error().message(), HasSubstr("at most 8"));
}

TEST_F(GroupStreamTest, WhoReadsLateLosesNothing) {
  ScoringOptions options;
  options.max_queue = 100000;
  Start(options);
  Line line(*batch_stub_);
  constexpr uint64_t kGroups = 300;
  const v1::ScoreGroupRequest group = Request("known", 200);  // 10 MB of answers: more than the service holds
  std::thread writer([&] {
    for (uint64_t id = 1; id <= kGroups; ++id) line.Ask(group, id);
    line.stream->WritesDone();
  });
  const double before = RewardMetrics::Get().candidates.Value();
  while (RewardMetrics::Get().candidates.Value() < before + 5000) std::this_thread::yield();
  const auto answers = line.Read(kGroups);
  writer.join();
  EXPECT_EQ(answers.size(), kGroups);
  for (const auto& [id, answer] : answers) EXPECT_EQ(answer.reply().rewards_size(), 200) << id;
  EXPECT_OK(line.End());
}

TEST_F(GroupStreamTest, AServiceThatEndsAnswersWhatItHasAndClosesIdleStreamsAtOnce) {
  HoldLookups();
  Start();
  Line idle(*batch_stub_), busy(*batch_stub_);
  busy.Ask(Request(), 1);
  entered_.WaitForNotification();
  while (RewardMetrics::Get().streams.Value() < 2) std::this_thread::yield();
  std::thread end([this] { server_->Shutdown(absl::Hours(1)); });
  EXPECT_THAT(idle.End(), StatusIs(absl::StatusCode::kUnavailable, HasSubstr("shutting down")));
  release_.Notify();
  EXPECT_TRUE(busy.Read(1).at(1).has_reply());
  EXPECT_THAT(busy.End(), StatusIs(absl::StatusCode::kUnavailable, HasSubstr("shutting down")));
  end.join();
}

TEST_F(GroupStreamTest, StreamsThatAreCutOffEndWithTheServer) {
  HoldLookups();
  Start();
  Line line(*batch_stub_);
  line.Ask(Request(), 1);
  entered_.WaitForNotification();
  std::thread end([this] { server_->Shutdown(absl::ZeroDuration()); });
  EXPECT_FALSE(line.End().ok());  // cancelled, though its group is still being scored
  release_.Notify();
  end.join();
}

}  // namespace
}  // namespace swerve
