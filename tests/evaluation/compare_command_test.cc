// `swerve teachers compare` as a person types it, with the shipped policy: a teacher of the file stands alone, and what is
// asked for wrongly says what to do.
#include <gmock/gmock.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "base/exit_code.h"
#include "base/files.h"
#include "base/status_matchers.h"
#include "evaluation/commands.h"
#include "scenes/store.h"
#include "tests/evaluation/test_scene.h"
#include "tests/testing/fake_openai.h"

namespace swerve {
namespace {

using ::testing::HasSubstr;

class CompareCommandTest : public testing::Test {
 protected:
  void SetUp() override {
    dir_ = absl::StrCat(testing::TempDir(), "/compare_command", getpid());
    std::filesystem::remove_all(dir_);
    SWERVE_ASSERT_OK_AND_ASSIGN(auto writer, SceneWriter::Create(dir_ + "/scenes"));
    for (int i = 0; i < 2; ++i) ASSERT_OK(writer->Add(MakeTestScene(absl::StrCat("s", i), "lead", 9, 18 + i)));
    ASSERT_OK(writer->Finish());
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }

  // The exit code; what it prints goes to out_ and err_.
  int Compare(const std::string& arguments) {
    CLI::App app;
    CLI::App* teachers = app.add_subcommand("teachers");
    AddCompareCommand(*teachers);
    SetExitCode(0);
    testing::internal::CaptureStdout();
    testing::internal::CaptureStderr();
    int code = 0;
    try {
      app.parse(absl::StrCat("teachers compare ", arguments, " --scenes ", dir_, "/scenes --policy ", SWERVE_SOURCE_DIR,
                             "/models/tiny --samples 2 --threads 1"),
                false);
    } catch (const CLI::ParseError& e) {
      code = app.exit(e);
    }
    std::fflush(stdout);
    out_ = testing::internal::GetCapturedStdout();
    err_ = testing::internal::GetCapturedStderr();
    return code != 0 ? code : ExitCode();
  }

  std::string dir_, out_, err_;
};

TEST_F(CompareCommandTest, ATeacherOfTheFileStandsAlone) {
  FakeOpenAi server;
  server.Always(Errs(400));
  ASSERT_OK(WriteFileAtomically(dir_ + "/teachers.yaml",
                                absl::StrCat("teachers:\n  - name: vlm\n    url: ", server.url(),
                                             "\n    model: m\n    image_size: 64\n    fallback: [oracle]\n")));
  ASSERT_EQ(Compare(absl::StrCat("vlm rule --threshold 1.1 --teachers ", dir_, "/teachers.yaml --out ", dir_, "/out.json")), 0) << err_;
  SWERVE_ASSERT_OK_AND_ASSIGN(const std::string text, ReadFile(dir_ + "/out.json"));
  const auto json = nlohmann::json::parse(text);
  EXPECT_EQ(json.at("failures"), 4);  // above the highest score everything is a failure
  EXPECT_EQ(json.at("figures").at("report_ratio").at("vlm").at("value"), 0.0);  // no oracle spoke in its stead
  EXPECT_EQ(json.at("figures").at("report_ratio").at("rule").at("value"), 1.0);
  EXPECT_EQ(json.at("figures").at("pdms_gain").at("vlm").at("value"), 0.0);
  EXPECT_EQ(server.asked().size(), 4u);
  EXPECT_THAT(out_, HasSubstr("no report from vlm: INTERNAL 4"));
}

TEST_F(CompareCommandTest, SaysWhatIsWrong) {
  EXPECT_EQ(Compare("oracle oracle"), 2);
  EXPECT_THAT(err_, HasSubstr("the same"));
  EXPECT_EQ(Compare("oracle vlm"), 2);
  EXPECT_THAT(err_, HasSubstr("give --teachers FILE"));
  EXPECT_EQ(Compare("oracle rule --limit -1"), 2);
  EXPECT_THAT(err_, HasSubstr("limit"));
}

}  // namespace
}  // namespace swerve
