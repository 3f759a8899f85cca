// Who a process is to the other roles of a run: the certificate of its role, its key, and the authority that all roles
// trust, as `swerve certs init` writes them. Plain values and stateless functions; thread-safe.
//
// A role's certificate names it twice: as the URI spiffe://swerve/role/<role>, by which servers know their callers, and
// as the DNS name <role>.swerve, by which clients know that they reached the role they meant, on whatever machine.
#ifndef SWERVE_BASE_TLS_IDENTITY_H_
#define SWERVE_BASE_TLS_IDENTITY_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/status.h"

namespace swerve {

// The roles that have a certificate. admin: `swerve train` and whoever changes a run by hand; client: trainers of other
// people and Prometheus.
const std::vector<std::string>& TlsRoles();

std::string RoleUri(absl::string_view role);
std::string RoleDnsName(absl::string_view role);
// The role in a URI made by RoleUri; empty for any other text.
std::string RoleOfUri(absl::string_view uri);
// "rollout" of "rollout-3": the processes of a kind share its certificate.
std::string RoleKind(absl::string_view name);

struct CertificateFacts {
  std::string subject;             // common name
  std::string role;                // empty: none, as in an authority's certificate
  std::vector<std::string> names;  // DNS names and IP addresses
  absl::Time not_before, not_after;
  bool authority = false;
};
// Of the first certificate in PEM text. INVALID_ARGUMENT: there is none.
absl::StatusOr<CertificateFacts> ReadCertificate(const std::string& pem);

struct TlsIdentity {
  std::string role;
  std::string authority_pem, certificate_pem, key_pem;
  absl::Time not_after;
};

// Reads ca.crt, <role>.crt and <role>.key in `dir`. Errors name the file and what to do: NOT_FOUND; INVALID_ARGUMENT: not
// PEM, of another role, or key and certificate do not belong together; FAILED_PRECONDITION: expired at `now`, or a key
// that others may read.
absl::StatusOr<std::shared_ptr<const TlsIdentity>> LoadTlsIdentity(const std::string& dir, const std::string& role,
                                                                   absl::Time now);

}  // namespace swerve

#endif  // SWERVE_BASE_TLS_IDENTITY_H_
