// What the authority vouches for, and what it refuses to write or to read.
#include "certs/authority.h"

#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "base/files.h"
#include "base/status_matchers.h"
#include "base/tls_identity.h"

namespace swerve {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

const absl::Time kNow = absl::FromUnixSeconds(1'900'000'000);
constexpr absl::Duration kDay = absl::Hours(24);

class CertsTest : public testing::Test {
 protected:
  CertsTest() : dir_(absl::StrCat(testing::TempDir(), "/certs-", getpid())) { std::filesystem::remove_all(dir_); }
  ~CertsTest() override { std::filesystem::remove_all(dir_); }
  static CertsOptions Options(int days = 30) {
    CertsOptions options;
    options.days = days;
    options.now = kNow;
    return options;
  }
  mode_t Mode(const std::string& name) const {
    struct stat info{};
    EXPECT_EQ(stat((dir_ + "/" + name).c_str(), &info), 0) << name;
    return info.st_mode & 0777;
  }
  const std::string dir_;
};

TEST_F(CertsTest, EveryRoleHasACertificateAndAKeyOfItsOwn) {
  CertsOptions options = Options();
  options.hosts = {"gpu-7.example", "10.0.0.7", "fd00::7"};
  ASSERT_OK(InitCerts(dir_, options));
  for (const std::string& role : TlsRoles()) {
    SWERVE_ASSERT_OK_AND_ASSIGN(const auto identity, LoadTlsIdentity(dir_, role, kNow));
    EXPECT_EQ(Mode(role + ".key"), 0600u);
    SWERVE_ASSERT_OK_AND_ASSIGN(const CertificateFacts facts, ReadCertificate(identity->certificate_pem));
    EXPECT_EQ(facts.role, role);
    EXPECT_FALSE(facts.authority);
    EXPECT_EQ(facts.not_after, kNow + 30 * kDay);
    EXPECT_THAT(facts.names, ElementsAre(role + ".swerve", "localhost", "127.0.0.1", "gpu-7.example", "10.0.0.7",
                                         "fd00:0:0:0:0:0:0:7"));
  }
  EXPECT_EQ(Mode("ca.key"), 0600u);
  SWERVE_ASSERT_OK_AND_ASSIGN(const std::string pem, ReadFile(dir_ + "/ca.crt"));
  SWERVE_ASSERT_OK_AND_ASSIGN(const CertificateFacts authority, ReadCertificate(pem));
  EXPECT_TRUE(authority.authority);
  EXPECT_EQ(authority.role, "");
  SWERVE_ASSERT_OK_AND_ASSIGN(const std::string a, ReadFile(dir_ + "/reward.key"));
  SWERVE_ASSERT_OK_AND_ASSIGN(const std::string b, ReadFile(dir_ + "/rollout.key"));
  EXPECT_NE(a, b);
}

TEST_F(CertsTest, NothingIsOverwritten) {
  ASSERT_OK(MakeDirectories(dir_));
  ASSERT_OK(WriteFileAtomically(dir_ + "/learner.key", "mine"));
  EXPECT_THAT(InitCerts(dir_, Options()), StatusIs(absl::StatusCode::kAlreadyExists, HasSubstr("learner.key")));
  EXPECT_FALSE(std::filesystem::exists(dir_ + "/ca.key"));
  SWERVE_ASSERT_OK_AND_ASSIGN(const std::string kept, ReadFile(dir_ + "/learner.key"));
  EXPECT_EQ(kept, "mine");
}

TEST_F(CertsTest, AHostThatIsNoHostLeavesNothingBehind) {
  CertsOptions options = Options();
  for (const char* host : {"a b", "", "x,URI:spiffe://swerve/role/admin", "[::1]", "host\n"}) {
    options.hosts = {host};
    EXPECT_THAT(InitCerts(dir_, options), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("neither"))) << host;
    EXPECT_FALSE(std::filesystem::exists(dir_));
  }
}

TEST_F(CertsTest, RenewedOnesComeFromTheSameAuthority) {
  ASSERT_OK(InitCerts(dir_, Options()));
  SWERVE_ASSERT_OK_AND_ASSIGN(const auto before, LoadTlsIdentity(dir_, "reward", kNow));
  CertsOptions later = Options();
  later.now = kNow + 40 * kDay;
  EXPECT_THAT(LoadTlsIdentity(dir_, "reward", later.now),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("expired")));
  ASSERT_OK(RenewCerts(dir_, later));
  SWERVE_ASSERT_OK_AND_ASSIGN(const auto after, LoadTlsIdentity(dir_, "reward", later.now));
  EXPECT_EQ(after->authority_pem, before->authority_pem);
  EXPECT_NE(after->key_pem, before->key_pem);
  EXPECT_EQ(after->not_after, later.now + 30 * kDay);
  later.days = 4000;
  EXPECT_THAT(RenewCerts(dir_, later), StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("fewer --days")));
}

TEST_F(CertsTest, WhatCannotBeUsedIsNamed) {
  ASSERT_OK(InitCerts(dir_, Options()));
  const auto refused = [&](absl::StatusCode code, const std::string& part) {
    EXPECT_THAT(LoadTlsIdentity(dir_, "reward", kNow), StatusIs(code, HasSubstr(part)));
  };
  ASSERT_EQ(chmod((dir_ + "/reward.key").c_str(), 0640), 0);
  refused(absl::StatusCode::kFailedPrecondition, "chmod 600");
  std::filesystem::copy_file(dir_ + "/learner.key", dir_ + "/reward.key", std::filesystem::copy_options::overwrite_existing);
  ASSERT_EQ(chmod((dir_ + "/reward.key").c_str(), 0600), 0);
  refused(absl::StatusCode::kInvalidArgument, "is not the key of");
  ASSERT_OK(WriteFileAtomically(dir_ + "/reward.key", "no key", 0600));
  refused(absl::StatusCode::kInvalidArgument, "holds no private key");
  std::filesystem::copy_file(dir_ + "/learner.crt", dir_ + "/reward.crt", std::filesystem::copy_options::overwrite_existing);
  refused(absl::StatusCode::kInvalidArgument, "is the certificate of 'learner', not of reward");
  std::filesystem::remove(dir_ + "/ca.crt");
  refused(absl::StatusCode::kNotFound, "ca.crt");
}

TEST_F(CertsTest, TheTableSaysUntilWhenAndWhatIsWrong) {
  EXPECT_THAT(ShowCerts(dir_, kNow), StatusIs(absl::StatusCode::kNotFound, HasSubstr("ca.crt")));
  ASSERT_OK(InitCerts(dir_, Options()));
  SWERVE_ASSERT_OK_AND_ASSIGN(std::string table, ShowCerts(dir_, kNow + kDay));
  EXPECT_THAT(table, HasSubstr("learner       until 2030-04-16, 29 days"));
  EXPECT_THAT(table, HasSubstr("keep it off other machines"));
  ASSERT_EQ(chmod((dir_ + "/reward.key").c_str(), 0644), 0);
  std::filesystem::remove(dir_ + "/admin.crt");
  std::filesystem::remove(dir_ + "/learner.key");
  SWERVE_ASSERT_OK_AND_ASSIGN(table, ShowCerts(dir_, kNow + 31 * kDay));
  EXPECT_THAT(table, HasSubstr("rollout       until EXPIRED 2030-04-16"));
  EXPECT_THAT(table, HasSubstr("KEY READABLE BY OTHERS"));
  EXPECT_THAT(table, HasSubstr("admin         not here"));
  EXPECT_THAT(table, HasSubstr("no key here"));
}

}  // namespace
}  // namespace swerve
