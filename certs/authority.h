// The authority of a run's certificates: makes itself, vouches for roles, writes and shows a directory of them. OpenSSL,
// ECDSA over P-256, SHA-256. Stateless and thread-safe; file operations block.
//
// A directory holds ca.crt, ca.key and, for each role in TlsRoles() (base/tls_identity.h), <role>.crt and <role>.key. Keys
// are readable by their owner alone. A machine needs ca.crt and the two files of each role that it runs, never ca.key.
#ifndef SWERVE_CERTS_AUTHORITY_H_
#define SWERVE_CERTS_AUTHORITY_H_

#include <string>
#include <vector>

#include "absl/time/time.h"
#include "base/status.h"

namespace swerve {

struct KeyPair {
  std::string certificate_pem, key_pem;
};
struct Validity {
  absl::Time not_before, not_after;
};

absl::StatusOr<KeyPair> MakeAuthority(Validity validity);
// `hosts`: DNS names or IP addresses that the certificate is good for besides localhost and 127.0.0.1. A certificate of
// the roles admin and client is for calling only. INVALID_ARGUMENT: a host that is neither, or no such role.
absl::StatusOr<KeyPair> IssueRole(const KeyPair& authority, const std::string& role,
                                  const std::vector<std::string>& hosts, Validity validity);

struct CertsOptions {
  int days = 365;                  // that a role's certificate lasts; the authority lasts ten years, or longer than these
  std::vector<std::string> hosts;  // other names and addresses of the machines that run roles
  absl::Time now;
};

// Makes the directory, the authority and one certificate per role. ALREADY_EXISTS when any of the files is there;
// nothing is written then.
absl::Status InitCerts(const std::string& dir, const CertsOptions& options);
// New certificates and keys for the roles from the authority that the directory holds; without `hosts`, for the hosts of the
// old ones. Roles that still use the old ones
// and roles that use the new ones trust each other. FAILED_PRECONDITION: the authority would expire before them.
absl::Status RenewCerts(const std::string& dir, const CertsOptions& options);

// A table for people: role, days left, hosts. NOT_FOUND: no such directory.
absl::StatusOr<std::string> ShowCerts(const std::string& dir, absl::Time now);

}  // namespace swerve

#endif  // SWERVE_CERTS_AUTHORITY_H_
