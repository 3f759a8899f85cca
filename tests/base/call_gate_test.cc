// Roles, tokens and rates, without a network; that every service of ours has its rows.
#include "base/call_gate.h"

#include <sys/stat.h>
#include <unistd.h>

#include <thread>

#include "base/admin_token.h"
#include "base/files.h"
#include "base/permissions.h"
#include "base/status_matchers.h"
#include "base/tls_identity.h"
#include "swerve/v1/feedback.pb.h"
#include "swerve/v1/orchestrator.pb.h"
#include "swerve/v1/reward.pb.h"
#include "swerve/v1/teachers.pb.h"

namespace swerve {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr char kDrain[] = "/swerve.v1.Orchestrator/Drain";

TEST(PermissionsTest, EveryMethodHasARowAndRowsNameKnownRoles) {
  for (const google::protobuf::FileDescriptor* file :
       {v1::LeaseRequest::descriptor()->file(), v1::ScoreGroupRequest::descriptor()->file(),
        v1::DiagnoseRequest::descriptor()->file(), v1::AddTeacherRequest::descriptor()->file()}) {
    ASSERT_GT(file->service_count(), 0) << file->name();
    for (int s = 0; s < file->service_count(); ++s) {
      for (int m = 0; m < file->service(s)->method_count(); ++m) {
        const std::string path =
            absl::StrCat("/", file->service(s)->full_name(), "/", file->service(s)->method(m)->name());
        EXPECT_NE(PermissionOf(path), nullptr) << path << " needs a row in base/permissions.cc";
      }
    }
  }
  for (const Permission& row : Permissions()) {
    int allowed = 0;
    for (const std::string& role : TlsRoles()) allowed += Allows(row, role);
    EXPECT_GT(allowed, 0) << row.path;
    EXPECT_FALSE(Allows(row, "")) << row.path;
    EXPECT_FALSE(Allows(row, "stranger") && row.roles != "*") << row.path;
  }
}

TEST(CallGateTest, ARoleMayCallOnlyWhatItNeeds) {
  CallGate::Options options;
  options.roles = true;
  options.admin_token = "0123456789abcdef";
  CallGate gate(options);
  const std::string bearer = "Bearer 0123456789abcdef";
  EXPECT_OK(gate.Check("/swerve.v1.Orchestrator/LeaseScenes", "rollout", ""));
  EXPECT_OK(gate.Check(kDrain, "admin", bearer));
  const double before = CallGate::Refused("grpc", "role").Value();
  // The token alone does not make a worker an admin.
  EXPECT_THAT(gate.Check(kDrain, "rollout", bearer),
              StatusIs(absl::StatusCode::kPermissionDenied, HasSubstr("role rollout may not call")));
  EXPECT_THAT(gate.Check("/swerve.v1.Orchestrator/AnnouncePolicy", "client", ""),
              StatusIs(absl::StatusCode::kPermissionDenied, HasSubstr("may: learner")));
  EXPECT_THAT(gate.Check("/swerve.v1.RewardService/ScoreGroup", "", ""), StatusIs(absl::StatusCode::kPermissionDenied, HasSubstr("no role")));
  EXPECT_THAT(gate.Check("/swerve.v1.Orchestrator/Unheard", "admin", bearer),
              StatusIs(absl::StatusCode::kPermissionDenied, HasSubstr("nobody may")));
  EXPECT_EQ(CallGate::Refused("grpc", "role").Value(), before + 4);
}

TEST(CallGateTest, AdminCallsNeedTheTokenWithAndWithoutTls) {
  for (const bool roles : {false, true}) {
    CallGate::Options options;
    options.roles = roles;
    options.admin_token = "0123456789abcdef";
    CallGate gate(options);
    for (const char* wrong : {"", "Bearer ", "Bearer 0123456789abcdeX", "Bearer 0123456789abcde", "0123456789abcdef",
                              "Bearer 0123456789abcdef0"}) {
      const absl::Status status = gate.Check("/swerve.v1.TeacherAdmin/AddTeacher", "admin", wrong);
      EXPECT_THAT(status, StatusIs(absl::StatusCode::kUnauthenticated, HasSubstr("admin_token"))) << wrong;
      EXPECT_THAT(std::string(status.message()), Not(HasSubstr("0123456789")));
    }
    EXPECT_OK(gate.Check("/swerve.v1.TeacherAdmin/AddTeacher", "admin", "Bearer 0123456789abcdef"));
    EXPECT_OK(gate.Check("/grpc.health.v1.Health/Check", "teacher", ""));
  }
}

TEST(CallGateTest, TheRateOfEachSecondIsBounded) {
  absl::Time now = absl::FromUnixSeconds(1000);
  CallGate::Options options;
  options.calls_per_second = 10;
  options.clock = [&now] { return now; };
  CallGate gate(options);
  const auto passed = [&gate] {
    int count = 0;
    while (count < 1000 && gate.Check("/swerve.v1.RewardService/ScoreGroup", "", "").ok()) ++count;
    return count;
  };
  EXPECT_EQ(passed(), 10);
  EXPECT_THAT(gate.Check("/x/y", "", ""), StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("limits.calls_per_second")));
  now += absl::Milliseconds(500);
  EXPECT_EQ(passed(), 5);
  now += absl::Hours(1);
  EXPECT_EQ(passed(), 10);
  now -= absl::Hours(2);  // a clock that is set back neither opens nor locks it
  EXPECT_EQ(passed(), 0);
  now += absl::Seconds(1);
  EXPECT_EQ(passed(), 10);
}

TEST(AdminTokenTest, ProcessesThatMakeItTogetherGetTheSame) {
  const std::string path = absl::StrCat(testing::TempDir(), "/admin_token", getpid());
  unlink(path.c_str());
  EXPECT_THAT(ReadAdminToken(path), StatusIs(absl::StatusCode::kNotFound, HasSubstr("admin_token")));
  SWERVE_ASSERT_OK_AND_ASSIGN(const std::string token, ReadOrMakeAdminToken(path));
  EXPECT_EQ(token.size(), 64u);
  SWERVE_ASSERT_OK_AND_ASSIGN(const std::string again, ReadOrMakeAdminToken(path));
  EXPECT_EQ(again, token);
  struct stat info{};
  ASSERT_EQ(stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  ASSERT_EQ(chmod(path.c_str(), 0644), 0);
  EXPECT_THAT(ReadAdminToken(path), StatusIs(absl::StatusCode::kFailedPrecondition, Not(HasSubstr(token))));
  ASSERT_EQ(chmod(path.c_str(), 0600), 0);
  ASSERT_OK(WriteFileAtomically(path, "short\n", 0600));
  EXPECT_THAT(ReadOrMakeAdminToken(path), StatusIs(absl::StatusCode::kInvalidArgument, Not(HasSubstr("short\n"))));
  unlink(path.c_str());
}

}  // namespace
}  // namespace swerve
