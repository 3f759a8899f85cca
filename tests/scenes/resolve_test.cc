// `swerve scenes resolve`: data sets and scene files are filled in place.
#include "scenes/resolve_scenes.h"

#include <filesystem>
#include <fstream>

#include "base/files.h"
#include "base/gzip.h"
#include "base/status_matchers.h"
#include "pdm/resolve.h"
#include "scenes/store.h"
#include "tests/pdm/golden_files.h"

namespace swerve {
namespace {
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using nlohmann::json;
namespace fs = std::filesystem;

// Three golden scenes without what the scorer reads; the second has no route and cannot be resolved.
std::vector<v1::Scene> RawScenes() {
  std::vector<v1::Scene> out;
  for (int i : {0, 3, 5}) {
    v1::Scene s = testing::PublicScenes().scenes[i];
    s.clear_resolved_v1();
    s.clear_resolved_v2();
    s.clear_candidates();
    out.push_back(std::move(s));
  }
  out[1].clear_route_roadblock_ids();
  return out;
}

std::string WriteSet(const std::string& name, const std::vector<v1::Scene>& scenes) {
  const std::string dir = ::testing::TempDir() + "/resolve_" + name;
  fs::remove_all(dir);
  auto writer = SceneWriter::Create(dir, /*shard_scenes=*/2).value();
  for (const v1::Scene& s : scenes) EXPECT_OK(writer->Add(s));
  EXPECT_OK(writer->Finish());
  return dir;
}

std::map<std::string, std::string> Files(const std::string& dir) {
  std::map<std::string, std::string> out;
  for (const auto& f : fs::directory_iterator(dir)) out[f.path().filename().string()] = ReadFile(f.path().string()).value();
  return out;
}

TEST(ResolveStored, FillsADataSetInPlace) {
  const std::vector<v1::Scene> raw = RawScenes();
  const std::string dir = WriteSet("set", raw);
  ASSERT_OK(WriteFileAtomically(dir + "/front.png", "picture"));
  SWERVE_ASSERT_OK_AND_ASSIGN(auto reader, SceneStore::Open({dir}, 0));
  SWERVE_ASSERT_OK_AND_ASSIGN(ResolveCounts counts, ResolveStored(dir, {.v2 = true, .threads = 2}));
  EXPECT_EQ(counts.scenes, 3);
  EXPECT_EQ(counts.resolved, 2);
  EXPECT_THAT(counts.failed, ElementsAre(HasSubstr(raw[1].id())));
  SWERVE_ASSERT_OK_AND_ASSIGN(auto store, SceneStore::Open({dir}));
  EXPECT_THAT(store->ids(), ElementsAre(raw[0].id(), raw[1].id(), raw[2].id()));
  for (const v1::Scene& want : raw) {
    SWERVE_ASSERT_OK_AND_ASSIGN(auto got, store->Get(want.id()));
    v1::Scene resolved = want;
    const bool can = pdm::ResolveBoth(&resolved).ok();
    EXPECT_EQ(can, resolved.has_resolved_v2());
    EXPECT_EQ(got->SerializeAsString(), resolved.SerializeAsString());
    // A reader from before still reads what it opened.
    SWERVE_ASSERT_OK_AND_ASSIGN(auto old, reader->Get(want.id()));
    EXPECT_EQ(old->SerializeAsString(), want.SerializeAsString());
  }
  const auto files = Files(dir);
  EXPECT_EQ(files.size(), 3u);  // index, one shard where there were two, the picture
  EXPECT_EQ(files.at("front.png"), "picture");

  // Again: nothing is left to do but the broken one, and nothing is written.
  SWERVE_ASSERT_OK_AND_ASSIGN(counts, ResolveStored(dir, {.v2 = true, .threads = 1}));
  EXPECT_EQ(counts.resolved, 0);
  EXPECT_EQ(counts.kept, 2);
  EXPECT_EQ(Files(dir), files);
}

TEST(ResolveStored, DamagedDataSetStaysAsItIs) {
  const std::string dir = WriteSet("damaged", RawScenes());
  const std::string shard = dir + "/scenes-00001.tfrecord";
  std::string bytes = ReadFile(shard).value();
  bytes[bytes.size() / 2] ^= 1;
  ASSERT_OK(WriteFileAtomically(shard, bytes));
  const auto before = Files(dir);
  EXPECT_THAT(ResolveStored(dir, {}), StatusIs(absl::StatusCode::kDataLoss, HasSubstr("scenes-00001")));
  EXPECT_EQ(Files(dir), before);
}

TEST(ResolveStored, FillsASceneFileAndTouchesNothingElse) {
  const std::string path = ::testing::TempDir() + "/resolve_scenes.json.gz";
  json file = json::parse(WriteSceneFile({RawScenes()[0]}));
  file["seed"] = 7;
  file["scenes"][0]["note"] = "ours";
  file["scenes"].push_back("no scene");
  ASSERT_OK(WriteMaybeGzip(path, file.dump()));
  SWERVE_ASSERT_OK_AND_ASSIGN(ResolveCounts counts, ResolveStored(path, {.threads = 2}));
  EXPECT_EQ(counts.resolved, 1);
  EXPECT_THAT(counts.failed, ElementsAre(HasSubstr("scenes[1]")));
  SWERVE_ASSERT_OK_AND_ASSIGN(std::string text, ReadMaybeGzip(path));
  json got = json::parse(text);
  EXPECT_EQ(got["scenes"][0]["resolved"]["v1"]["pdm_reference"].size(), 51u);
  EXPECT_FALSE(got["scenes"][0]["resolved"].contains("v2"));
  got["scenes"][0]["resolved"] = file["scenes"][0]["resolved"];
  EXPECT_EQ(got, file);
}

TEST(ResolveStored, NamesWhatIsNoData) {
  const std::string path = ::testing::TempDir() + "/resolve_none.json";
  EXPECT_THAT(ResolveStored(path + "_missing", {}), StatusIs(absl::StatusCode::kNotFound, HasSubstr("_missing")));
  ASSERT_OK(WriteFileAtomically(path, "{\"scenes\": 3}"));
  EXPECT_THAT(ResolveStored(path, {}), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("scene file")));
  EXPECT_THAT(ResolveStored(::testing::TempDir(), {}), StatusIs(absl::StatusCode::kNotFound, HasSubstr("index")));
}

TEST(SceneWriter, RewriteWithoutFinishChangesNothing) {
  const std::string dir = WriteSet("abandoned", RawScenes());
  const auto before = Files(dir);
  {
    SWERVE_ASSERT_OK_AND_ASSIGN(auto writer, SceneWriter::Rewrite(dir, 1));
    ASSERT_OK(writer->Add(RawScenes()[0]));
    EXPECT_EQ(Files(dir).size(), before.size() + 1);
  }
  EXPECT_EQ(Files(dir), before);
}

}  // namespace
}  // namespace swerve
