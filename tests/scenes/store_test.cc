#include "scenes/store.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "base/files.h"
#include "base/status_matchers.h"
#include "base/tfrecord.h"

namespace swerve {
namespace {
using testing::ElementsAre;
using testing::HasSubstr;

std::string FreshDir(const std::string& name) {
  std::string dir = testing::TempDir() + "/store_" + name;
  std::filesystem::remove_all(dir);
  return dir;
}

v1::Scene MakeScene(const std::string& id) {
  v1::Scene s;
  s.set_id(id);
  s.set_family("cut_in");
  s.set_location("harbour");
  s.set_label(v1::POSITIVE);
  s.mutable_ego()->set_vx(12.5);
  for (int i = 1; i <= 8; ++i) s.add_gt()->set_x(i);
  return s;
}

void WriteSet(const std::string& dir, const std::vector<std::string>& ids, int shard_scenes = 2) {
  SWERVE_ASSERT_OK_AND_ASSIGN(auto writer, SceneWriter::Create(dir, shard_scenes));
  for (const auto& id : ids) ASSERT_OK(writer->Add(MakeScene(id)));
  ASSERT_OK(writer->Finish());
}

TEST(TfRecord, ChecksumsAreThoseOfTheFormat) {
  EXPECT_EQ(Crc32c("123456789"), 0xe3069283u);
  EXPECT_EQ(Crc32c(std::string(32, '\0')), 0x8a9136aau);
  std::string record;
  AppendTfRecord("abc", &record);
  EXPECT_EQ(record.size(), 3 + kTfRecordHeader + kTfRecordFooter);
}

TEST(SceneStore, RoundTripAcrossShardsAndDirectories) {
  std::string a = FreshDir("a"), b = FreshDir("b");
  WriteSet(a, {"s1", "s2", "s3"});
  WriteSet(b, {"t1"});
  SWERVE_ASSERT_OK_AND_ASSIGN(auto store, SceneStore::Open({a, b}));
  EXPECT_THAT(store->ids(), ElementsAre("s1", "s2", "s3", "t1"));
  EXPECT_EQ(store->entries()[3].family, "cut_in");
  EXPECT_EQ(store->entries()[3].location, "harbour");
  EXPECT_EQ(store->entries()[0].label, v1::POSITIVE);
  for (const std::string id : {"s3", "t1", "s1"}) {
    SWERVE_ASSERT_OK_AND_ASSIGN(auto scene, store->Get(id));
    EXPECT_EQ(scene->SerializeAsString(), MakeScene(id).SerializeAsString());
  }
  EXPECT_THAT(store->Get("nope"), StatusIs(absl::StatusCode::kNotFound, HasSubstr("nope")));
}

TEST(SceneStore, SameScenesGiveSameBytes) {
  std::string a = FreshDir("bytes_a"), b = FreshDir("bytes_b");
  WriteSet(a, {"s1", "s2", "s3"});
  WriteSet(b, {"s1", "s2", "s3"});
  for (const char* name : {"scenes-00000.tfrecord", "scenes-00001.tfrecord", "index.jsonl"})
    EXPECT_EQ(*ReadFile(a + "/" + name), *ReadFile(b + "/" + name)) << name;
}

TEST(SceneStore, DamagedRecordIsNamedAndOthersStayReadable) {
  std::string dir = FreshDir("damaged");
  WriteSet(dir, {"s1", "s2", "s3"}, 8);
  uint64_t offset;
  {
    SWERVE_ASSERT_OK_AND_ASSIGN(auto store, SceneStore::Open({dir}));
    offset = store->entries()[1].offset;
  }
  std::fstream f(dir + "/scenes-00000.tfrecord", std::ios::in | std::ios::out | std::ios::binary);
  f.seekp(static_cast<std::streamoff>(offset + kTfRecordHeader + 3));
  f.put('!');
  f.close();
  SWERVE_ASSERT_OK_AND_ASSIGN(auto store, SceneStore::Open({dir}));
  EXPECT_OK(store->Get("s1"));
  EXPECT_OK(store->Get("s3"));
  EXPECT_THAT(store->Get("s2"),
              StatusIs(absl::StatusCode::kDataLoss,
                       testing::AllOf(HasSubstr("scenes-00000.tfrecord"), HasSubstr(absl::StrCat("offset ", offset)))));
}

TEST(SceneStore, TruncatedShardIsDataLoss) {
  std::string dir = FreshDir("truncated");
  WriteSet(dir, {"s1", "s2"}, 8);
  std::filesystem::resize_file(dir + "/scenes-00000.tfrecord",
                               std::filesystem::file_size(dir + "/scenes-00000.tfrecord") - 1);
  SWERVE_ASSERT_OK_AND_ASSIGN(auto store, SceneStore::Open({dir}));
  EXPECT_OK(store->Get("s1"));
  EXPECT_THAT(store->Get("s2"), StatusIs(absl::StatusCode::kDataLoss, HasSubstr("ends before")));
}

TEST(SceneStore, UnfinishedOrBrokenDataSetsDoNotOpen) {
  std::string dir = FreshDir("unfinished");
  {
    SWERVE_ASSERT_OK_AND_ASSIGN(auto writer, SceneWriter::Create(dir, 1));
    ASSERT_OK(writer->Add(MakeScene("s1")));
  }
  EXPECT_THAT(SceneStore::Open({dir}), StatusIs(absl::StatusCode::kNotFound, HasSubstr("index.jsonl")));
  ASSERT_OK(WriteFileAtomically(dir + "/index.jsonl", "{\"format\":\"swerve-scenes-1\",\"scenes\":2,\"shards\":[]}\n{}\n"));
  EXPECT_THAT(SceneStore::Open({dir}), StatusIs(absl::StatusCode::kDataLoss, HasSubstr("header says 2")));
  ASSERT_OK(WriteFileAtomically(dir + "/index.jsonl", "garbage"));
  EXPECT_THAT(SceneStore::Open({dir}), StatusIs(absl::StatusCode::kDataLoss, HasSubstr("line 1")));
}

TEST(SceneStore, RefusesRepeatedIdsAndOverwriting) {
  std::string a = FreshDir("dup_a"), b = FreshDir("dup_b");
  WriteSet(a, {"s1"});
  WriteSet(b, {"s1"});
  EXPECT_THAT(SceneStore::Open({a, b}), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("s1")));
  EXPECT_THAT(SceneWriter::Create(a), StatusIs(absl::StatusCode::kAlreadyExists, HasSubstr(a)));
  SWERVE_ASSERT_OK_AND_ASSIGN(auto writer, SceneWriter::Create(a, 4, true));
  ASSERT_OK(writer->Add(MakeScene("x")));
  EXPECT_THAT(writer->Add(MakeScene("x")), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("x")));
}

TEST(SceneStore, ConcurrentReadsWithATinyCache) {
  std::string dir = FreshDir("threads");
  std::vector<std::string> ids;
  for (int i = 0; i < 40; ++i) ids.push_back(absl::StrCat("s", i));
  WriteSet(dir, ids, 7);
  SWERVE_ASSERT_OK_AND_ASSIGN(auto store, SceneStore::Open({dir}, 300));
  std::vector<std::thread> threads;
  std::atomic<int> wrong = 0;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 200; ++i) {
        const std::string& id = ids[(i * 7 + t * 13) % ids.size()];
        auto scene = store->Get(id);
        if (!scene.ok() || (*scene)->id() != id) ++wrong;
      }
    });
  for (auto& t : threads) t.join();
  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace swerve
