// Messages of many groups, taken apart without being read: what protobuf would read in them.
#include "reward_service/asked_group.h"

#include <gmock/gmock.h>

#include <string>

#include "base/status_matchers.h"

namespace swerve {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

v1::ScoreStreamRequest ThreeGroups() {
  v1::ScoreStreamRequest request;
  for (int i = 0; i < 3; ++i) {
    v1::StreamedGroup* group = request.add_groups();
    group->set_id(uint64_t{1} << (30 * i));
    if (i > 0) group->set_timeout_ms(static_cast<uint32_t>(1000 * i));
    if (i < 2) group->mutable_group()->set_scene_id(std::string(static_cast<size_t>(100 * i), 's'));
  }
  request.add_cancelled(7);
  request.add_cancelled(uint64_t{1} << 40);
  return request;
}

struct Split {
  bool ok = false;
  std::vector<GroupBytes> groups;
  std::vector<uint64_t> cancelled;
};
Split Streamed(absl::string_view bytes) {
  Split out;
  out.ok = SplitStreamed(bytes, &out.groups, &out.cancelled);
  return out;
}

TEST(AskedGroupTest, AStreamedMessageIsTakenApart) {
  const v1::ScoreStreamRequest request = ThreeGroups();
  const std::string bytes = request.SerializeAsString();
  const Split split = Streamed(bytes);
  ASSERT_TRUE(split.ok);
  ASSERT_EQ(split.groups.size(), 3u);
  for (int i = 0; i < 3; ++i) {
    const v1::StreamedGroup& want = request.groups(i);
    EXPECT_EQ(split.groups[static_cast<size_t>(i)].id, want.id());
    EXPECT_EQ(split.groups[static_cast<size_t>(i)].timeout_ms, want.timeout_ms());
    EXPECT_EQ(split.groups[static_cast<size_t>(i)].group, want.group().SerializeAsString());
  }
  EXPECT_THAT(split.cancelled, ElementsAre(7, uint64_t{1} << 40));
  EXPECT_TRUE(Streamed("").ok);
}

TEST(AskedGroupTest, FieldsOfLaterVersionsArePassedOver) {
  // 9: a varint, 10: bytes, 11: a double, 12: a group that is closed again; and numbers that are not packed.
  std::string bytes("\x48\x05\x52\x02hi\x59" "12345678" "\x63\x64\x10\x2a\x10\x2b", 21);
  bytes += ThreeGroups().SerializeAsString();
  const Split split = Streamed(bytes);
  ASSERT_TRUE(split.ok);
  EXPECT_EQ(split.groups.size(), 3u);
  EXPECT_THAT(split.cancelled, ElementsAre(42, 43, 7, uint64_t{1} << 40));
}

TEST(AskedGroupTest, CutMessagesAreRefusedWhereProtobufRefusesThem) {
  const std::string whole = ThreeGroups().SerializeAsString();
  for (size_t size = 0; size < whole.size(); ++size) {
    const std::string cut = whole.substr(0, size);
    v1::ScoreStreamRequest want;
    EXPECT_EQ(Streamed(cut).ok, want.ParseFromString(cut)) << size;
  }
  EXPECT_FALSE(Streamed("\xff\xff\xff").ok);
  EXPECT_FALSE(Streamed("\x0a\xff\xff\xff\xff\x0f").ok);  // longer than any message
}

TEST(AskedGroupTest, GroupsOfACallAreTakenApart) {
  v1::ScoreGroupsRequest request;
  for (const char* scene : {"a", "", "c"}) request.add_groups()->set_scene_id(scene);
  const std::string bytes = request.SerializeAsString();
  std::vector<GroupBytes> groups;
  ASSERT_TRUE(SplitGroups(bytes, &groups));
  ASSERT_EQ(groups.size(), 3u);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(groups[static_cast<size_t>(i)].group, request.groups(i).SerializeAsString());
  }
}

TEST(AskedGroupTest, AnswersSideBySideAreOneMessageAndASlotIsUsedAgain) {
  GroupSlots slots;
  std::string all;
  for (int i = 0; i < 3; ++i) {
    v1::ScoreGroupRequest request;
    for (int k = 0; k < 20 * i; ++k) request.add_candidates()->set_text("text");
    const std::string bytes = request.SerializeAsString();
    const grpc::Slice message(bytes);
    AskedGroup asked;
    asked.Ask(message, View(message));
    ScoringPool::Call call;
    ASSERT_OK(asked.Open(&slots, &call));
    EXPECT_EQ(call.request->SerializeAsString(), bytes);  // nothing of the group before
    EXPECT_EQ(call.reply->rewards_size(), 0);
    call.reply->add_rewards()->set_total(i);
    all += std::string(View(asked.Answer(absl::OkStatus(), static_cast<uint64_t>(i), &slots)));
  }
  AskedGroup refused;
  refused.Ask(grpc::Slice("\xff"), "\xff");
  ScoringPool::Call call;
  const absl::Status status = refused.Open(&slots, &call);
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("the 1 bytes are no swerve.v1.ScoreGroupRequest")));
  all += std::string(View(refused.Answer(status, 3, &slots)));
  v1::ScoreGroupsReply reply;
  ASSERT_TRUE(reply.ParseFromString(all));
  ASSERT_EQ(reply.answers_size(), 4);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(reply.answers(i).id(), static_cast<uint64_t>(i));
    EXPECT_EQ(reply.answers(i).reply().rewards(0).total(), i);
  }
  EXPECT_EQ(reply.answers(3).error().code(), static_cast<int>(absl::StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace swerve
