// `swerve certs …` as a person types it.
#include "certs/commands.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <filesystem>

#include "base/exit_code.h"
#include "base/files.h"
#include "base/status_matchers.h"

namespace swerve {
namespace {

using ::testing::HasSubstr;

struct Ran {
  int code;
  std::string out, err;
};

Ran Swerve(const std::string& arguments) {
  CLI::App app;
  AddCertsCommand(app);
  SetExitCode(0);
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  int code = 0;
  try {
    app.parse("certs " + arguments, false);
  } catch (const CLI::ParseError& e) {
    code = app.exit(e);
  }
  std::fflush(stdout);
  const std::string out = testing::internal::GetCapturedStdout(), err = testing::internal::GetCapturedStderr();
  return {code != 0 ? code : ExitCode(), out, err};
}

TEST(CertsCommandTest, InitShowRenew) {
  const std::string dir = absl::StrCat(testing::TempDir(), "/certs-command-", getpid());
  std::filesystem::remove_all(dir);
  Ran ran = Swerve("init " + dir + " --days 90 --host gpu-7 --host 10.0.0.7");
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_THAT(ran.out, HasSubstr("--set security.certs=" + dir));
  ran = Swerve("show " + dir);
  EXPECT_THAT(ran.out, HasSubstr("90 days"));
  EXPECT_THAT(ran.out, HasSubstr("rollout.swerve localhost 127.0.0.1 gpu-7 10.0.0.7"));
  SWERVE_ASSERT_OK_AND_ASSIGN(const std::string before, ReadFile(dir + "/admin.crt"));
  ran = Swerve("init " + dir);
  EXPECT_EQ(ran.code, 1);
  EXPECT_THAT(ran.err, HasSubstr("not overwritten"));
  SWERVE_ASSERT_OK_AND_ASSIGN(const std::string same, ReadFile(dir + "/admin.crt"));
  EXPECT_EQ(same, before);
  ran = Swerve("renew " + dir + " --days 10");
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_THAT(ran.out, HasSubstr(", 10 days"));
  EXPECT_THAT(ran.out, HasSubstr("rollout.swerve localhost 127.0.0.1 gpu-7 10.0.0.7\n"));
  EXPECT_THAT(Swerve("renew " + dir + " --host gpu-8").out, HasSubstr("127.0.0.1 gpu-8\n"));
  EXPECT_NE(Swerve("init " + dir + "2 --days 0").code, 0);
  EXPECT_EQ(Swerve("show " + dir + "2").code, 2);
  std::filesystem::remove_all(dir);
}

}  // namespace
}  // namespace swerve
