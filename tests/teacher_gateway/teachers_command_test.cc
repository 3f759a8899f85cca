// `swerve teachers …` against a gateway that serves over loopback, as docs/teachers.md shows it.
#include <gmock/gmock.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <filesystem>

#include "base/exit_code.h"
#include "base/files.h"
#include "base/grpc_server.h"
#include "base/role_files.h"
#include "base/status_matchers.h"
#include "teacher_gateway/admin.h"
#include "teacher_gateway/commands.h"

namespace swerve {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class TeachersCommandTest : public testing::Test {
 protected:
  TeachersCommandTest() : run_(absl::StrCat(testing::TempDir(), "/teachers-", getpid())) {
    std::filesystem::remove_all(run_.root());
    EXPECT_OK(run_.Create());
    Gateway::Options options;
    options.run_root = run_.root();
    auto gateway = Gateway::Open(options);
    EXPECT_OK(gateway.status());
    admin_ = std::make_unique<TeacherAdminService>(*std::move(gateway));
    auto server = GrpcServer::Start({}, {Serving<v1::TeacherAdmin>(admin_.get())});
    EXPECT_OK(server.status());
    server_ = *std::move(server);
    RoleAddress address;
    address.grpc = server_->port();
    address.pid = getpid();
    EXPECT_OK(PublishRole(run_, "teacher", address));
  }
  ~TeachersCommandTest() override { std::filesystem::remove_all(run_.root()); }

  struct Ran {
    int code;
    std::string out, err;
  };
  Ran Run(const std::string& arguments) {
    CLI::App app;
    AddTeachersCommand(app);
    SetExitCode(0);
    testing::internal::CaptureStdout();
    testing::internal::CaptureStderr();
    int code = 0;
    try {
      app.parse(absl::StrCat("teachers ", arguments, " --run ", run_.root()), false);
    } catch (const CLI::ParseError& e) {
      code = app.exit(e);
    }
    std::fflush(stdout);
    const std::string out = testing::internal::GetCapturedStdout(), err = testing::internal::GetCapturedStderr();
    return {code != 0 ? code : ExitCode(), out, err};
  }

  const RunDir run_;
  std::unique_ptr<TeacherAdminService> admin_;
  std::unique_ptr<GrpcServer> server_;
};

TEST_F(TeachersCommandTest, ATeacherIsSwappedWhileTheGatewayServes) {
  EXPECT_THAT(Run("list").out, AllOf(HasSubstr("set 1, from teacher.kind"), HasSubstr("oracle"), HasSubstr("100.0 %")));
  const Ran added = Run("add vlm url=http://127.0.0.1:9/v1 model=qwen weight=3 fallback=[oracle,rule]");
  EXPECT_EQ(added.code, 0) << added.err;
  EXPECT_THAT(added.out, HasSubstr("set 2 is in force"));
  EXPECT_THAT(Run("list").out, AllOf(HasSubstr("set 2, " + run_.root() + "/teachers.yaml"), HasSubstr("75.0 %"),
                                     HasSubstr("qwen template 1"), HasSubstr("then oracle, rule")));
  EXPECT_EQ(Run("weight oracle 0").code, 0);
  EXPECT_EQ(Run("weight oracle 1").code, 0);
  EXPECT_EQ(Run("drain vlm").code, 0);
  EXPECT_THAT(Run("list").out, HasSubstr("draining"));
  ASSERT_OK(WriteFileAtomically(run_.root() + "/teachers.yaml", "teachers:\n  - {name: rule, kind: rule}\n"));
  EXPECT_THAT(Run("reload").out, HasSubstr("set 6 is in force"));
  EXPECT_THAT(Run("list").out, AllOf(HasSubstr("rule"), testing::Not(HasSubstr("vlm"))));
}

TEST_F(TeachersCommandTest, WhatIsRefusedSaysWhyAndChangesNothing) {
  const auto refused = [&](const std::string& arguments, const std::string& part) {
    const Ran ran = Run(arguments);
    EXPECT_NE(ran.code, 0) << arguments;
    EXPECT_THAT(ran.err, HasSubstr(part)) << arguments;
  };
  refused("add vlm url=http://127.0.0.1:9/v1", "field 'model' is missing");
  refused("add vlm urll=http://127.0.0.1:9/v1", "unknown field 'urll'; did you mean 'url'");
  refused("add vlm weight", "expected field=value");
  refused("add vlm url=http://127.0.0.1:9/v1 model=m key_env=SWERVE_NO_SUCH_KEY", "SWERVE_NO_SUCH_KEY is not set");
  refused("remove oracle", "is empty");
  refused("drain vlm", "no teacher \"vlm\"; there are: oracle");
  refused("reload", "teachers.yaml");
  EXPECT_THAT(Run("list").out, HasSubstr("set 1"));
}

}  // namespace
}  // namespace swerve
