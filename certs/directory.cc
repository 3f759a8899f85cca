// The directory of a run's certificates: authority.h's InitCerts, RenewCerts and ShowCerts.
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/files.h"
#include "base/tls_identity.h"
#include "certs/authority.h"

namespace swerve {
namespace {

constexpr absl::Duration kDay = absl::Hours(24);

std::vector<std::string> NamesOf(const std::string& dir, const std::string& role) {
  return {absl::StrCat(dir, "/", role, ".crt"), absl::StrCat(dir, "/", role, ".key")};
}

absl::Status Write(const std::string& dir, const std::string& role, const KeyPair& pair) {
  const std::vector<std::string> paths = NamesOf(dir, role);
  SWERVE_RETURN_IF_ERROR(WriteFileAtomically(paths[0], pair.certificate_pem));
  return WriteFileAtomically(paths[1], pair.key_pem, 0600);
}

// The clocks of other machines may be behind.
Validity ValidityOf(absl::Time now, absl::Duration lasting) { return {now - absl::Hours(1), now + lasting}; }

absl::Status IssueAll(const std::string& dir, const KeyPair& authority, const CertsOptions& options) {
  std::vector<KeyPair> pairs;
  for (const std::string& role : TlsRoles()) {
    SWERVE_ASSIGN_OR_RETURN(KeyPair pair,
                            IssueRole(authority, role, options.hosts, ValidityOf(options.now, options.days * kDay)));
    pairs.push_back(std::move(pair));
  }
  for (size_t i = 0; i < pairs.size(); ++i) SWERVE_RETURN_IF_ERROR(Write(dir, TlsRoles()[i], pairs[i]));
  return absl::OkStatus();
}

std::string Left(absl::Time not_after, absl::Time now) {
  const int64_t days = (not_after - now + kDay / 2) / kDay;
  const std::string date = absl::FormatTime("%Y-%m-%d", not_after, absl::UTCTimeZone());
  return not_after <= now ? absl::StrCat("EXPIRED ", date) : absl::StrFormat("%s, %d days", date, days);
}

// The hosts of the certificates that are there, so that renewing keeps them. Roles differ in their own name alone.
std::vector<std::string> HostsNow(const std::string& dir) {
  for (const std::string& role : TlsRoles()) {
    const absl::StatusOr<std::string> pem = ReadFile(NamesOf(dir, role)[0]);
    const auto facts = pem.ok() ? ReadCertificate(*pem) : pem.status();
    if (!facts.ok()) continue;
    std::vector<std::string> hosts = facts->names;
    const std::set<std::string> always = {RoleDnsName(role), "localhost", "127.0.0.1"};
    hosts.erase(std::remove_if(hosts.begin(), hosts.end(), [&](const std::string& h) { return always.count(h) > 0; }),
                hosts.end());
    return hosts;
  }
  return {};
}

// "" or what is wrong with a role's key file.
std::string KeyProblem(const std::string& path) {
  struct stat info{};
  if (stat(path.c_str(), &info) != 0) return "  no key here";
  return (info.st_mode & 077) == 0 ? "" : "  KEY READABLE BY OTHERS, chmod 600";
}

}  // namespace

absl::Status InitCerts(const std::string& dir, const CertsOptions& options) {
  std::vector<std::string> names = {"ca"};
  names.insert(names.end(), TlsRoles().begin(), TlsRoles().end());
  for (const std::string& name : names) {
    for (const std::string& path : NamesOf(dir, name)) {
      if (!std::filesystem::exists(path)) continue;
      return absl::AlreadyExistsError(
          absl::StrCat(path, " exists and is not overwritten; name another directory, or: swerve certs renew ", dir));
    }
  }
  const absl::Duration lasting = std::max(3650, options.days + 1) * kDay;
  SWERVE_ASSIGN_OR_RETURN(const KeyPair authority, MakeAuthority(ValidityOf(options.now, lasting)));
  // Hosts are checked before anything is written.
  SWERVE_RETURN_IF_ERROR(IssueRole(authority, "client", options.hosts, ValidityOf(options.now, kDay)).status());
  SWERVE_RETURN_IF_ERROR(MakeDirectories(dir));
  SWERVE_RETURN_IF_ERROR(Write(dir, "ca", authority));
  return IssueAll(dir, authority, options);
}

absl::Status RenewCerts(const std::string& dir, const CertsOptions& options) {
  KeyPair authority;
  SWERVE_ASSIGN_OR_RETURN(authority.certificate_pem, ReadFile(dir + "/ca.crt"));
  SWERVE_ASSIGN_OR_RETURN(authority.key_pem, ReadFile(dir + "/ca.key"));
  const auto facts = ReadCertificate(authority.certificate_pem);
  if (!facts.ok()) return Annotate(facts.status(), dir + "/ca.crt");
  if (facts->not_after < options.now + options.days * kDay) {
    return absl::FailedPreconditionError(absl::StrCat(
        dir, "/ca.crt lasts until ", Left(facts->not_after, options.now), ", not for ", options.days,
        " more days; give fewer --days, or make a new authority: swerve certs init OTHER_DIR"));
  }
  CertsOptions renewed = options;
  if (renewed.hosts.empty()) renewed.hosts = HostsNow(dir);
  return IssueAll(dir, authority, renewed);
}

absl::StatusOr<std::string> ShowCerts(const std::string& dir, absl::Time now) {
  SWERVE_ASSIGN_OR_RETURN(const std::string pem, ReadFile(dir + "/ca.crt"));
  const auto authority = ReadCertificate(pem);
  if (!authority.ok()) return Annotate(authority.status(), dir + "/ca.crt");
  std::string out = absl::StrFormat("%-13s until %-24s %s\n", "authority", Left(authority->not_after, now),
                                    std::filesystem::exists(dir + "/ca.key") ? "ca.key is here: keep it off other machines"
                                                                              : "ca.key is not here");
  for (const std::string& role : TlsRoles()) {
    const std::vector<std::string> paths = NamesOf(dir, role);
    const absl::StatusOr<std::string> text = ReadFile(paths[0]);
    if (absl::IsNotFound(text.status())) {
      absl::StrAppendFormat(&out, "%-13s not here\n", role);
      continue;
    }
    SWERVE_RETURN_IF_ERROR(text.status());
    const auto facts = ReadCertificate(*text);
    if (!facts.ok()) return Annotate(facts.status(), paths[0]);
    absl::StrAppendFormat(&out, "%-13s until %-24s %s%s\n", role, Left(facts->not_after, now),
                          absl::StrJoin(facts->names, " "), KeyProblem(paths[1]));
  }
  return out;
}

}  // namespace swerve
