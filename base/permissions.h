// Who may call what: the one table of all gRPC ports. A call that is not in it is refused under TLS.
#ifndef SWERVE_BASE_PERMISSIONS_H_
#define SWERVE_BASE_PERMISSIONS_H_

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace swerve {

struct Permission {
  // As on the wire: "/swerve.v1.Orchestrator/Drain", or "/swerve.v1.TeacherAdmin/*" for all of a service.
  absl::string_view path;
  absl::string_view roles;  // of base/tls_identity.h, with spaces between; "*": whoever has a certificate
  bool admin_token = false;  // asked for with and without TLS
};

absl::Span<const Permission> Permissions();
// The row of a path; null: there is none.
const Permission* PermissionOf(absl::string_view path);
bool Allows(const Permission& permission, absl::string_view role);

}  // namespace swerve

#endif  // SWERVE_BASE_PERMISSIONS_H_
