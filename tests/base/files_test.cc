// Whole files: errors are told, and readers never see a part.
#include "base/files.h"

#include <unistd.h>

#include <filesystem>
#include <thread>
#include <vector>

#include "base/status_matchers.h"

namespace swerve {
namespace {

std::string Folder(const std::string& name) {
  const std::string folder = absl::StrCat(testing::TempDir(), "/", name, getpid());
  EXPECT_OK(MakeDirectories(folder));
  return folder;
}

TEST(FilesTest, ADirectoryOrAMissingFileIsNotAnEmptyFile) {
  const std::string folder = Folder("files");
  EXPECT_THAT(ReadFile(folder), StatusIs(absl::StatusCode::kInvalidArgument, testing::HasSubstr(folder)));
  EXPECT_THAT(ReadFile(folder + "/none"), StatusIs(absl::StatusCode::kNotFound, testing::HasSubstr("none")));
  EXPECT_THAT(WriteFileAtomically(folder + "/none/file", "x"), StatusIs(absl::StatusCode::kNotFound, testing::HasSubstr("none")));
}

TEST(FilesTest, WhatIsWrittenIsRead) {
  const std::string path = Folder("files") + "/file";
  for (const size_t size : {0, 1, 4096, 100000}) {
    std::string content(size, 'a');
    if (size > 0) content.back() = '\0';
    ASSERT_OK(WriteFileAtomically(path, content));
    EXPECT_EQ(*ReadFile(path), content);
  }
  EXPECT_FALSE(ReadFile("/proc/self/status")->empty());  // says that its size is 0
}

TEST(FilesTest, AFullDiskIsWaitedForUntilTheCallerGivesUp) {
  const absl::Status full = absl::ResourceExhaustedError("cannot write result.json: No space left on device");
  int written = 0, waited = 0;
  EXPECT_OK(OnceThereIsRoom([&] { return ++written < 3 ? full : absl::OkStatus(); },
                            [&](const absl::Status& why) {
                              EXPECT_EQ(why, full);
                              return ++waited > 0;
                            }));
  EXPECT_EQ(written, 3);
  EXPECT_EQ(waited, 2);
  EXPECT_EQ(OnceThereIsRoom([&] { return ++written, full; }, [](const absl::Status&) { return false; }), full);
  EXPECT_EQ(written, 4);
  const absl::Status denied = absl::PermissionDeniedError("cannot write");
  EXPECT_EQ(OnceThereIsRoom([&] { return denied; }, [&](const absl::Status&) { return ++waited < 9; }), denied);
  EXPECT_EQ(waited, 2) << "waits for more than room";
}

TEST(FilesTest, ConcurrentWritersLeaveOneWholeContentAndNothingElse) {
  const std::string folder = Folder("writers");
  const std::string path = folder + "/file";
  ASSERT_OK(WriteFileAtomically(path, std::string(10000, 'x')));
  std::vector<std::thread> writers;
  for (char c = 'a'; c < 'd'; ++c) {
    writers.emplace_back([&, c] {
      for (int i = 0; i < 20; ++i) EXPECT_OK(WriteFileAtomically(path, std::string(10000, c)));
    });
  }
  for (int i = 0; i < 100; ++i) {
    SWERVE_ASSERT_OK_AND_ASSIGN(const std::string content, ReadFile(path));
    EXPECT_EQ(content, std::string(10000, content[0]));
  }
  for (std::thread& t : writers) t.join();
  const std::filesystem::directory_iterator entries(folder);
  EXPECT_EQ(std::distance(begin(entries), end(entries)), 1);
}

}  // namespace
}  // namespace swerve
