// The token that admin calls need: a file of the run directory that its owner alone can read. Stateless, thread-safe.
// The token never reaches a log, metric or error text.
#ifndef SWERVE_BASE_ADMIN_TOKEN_H_
#define SWERVE_BASE_ADMIN_TOKEN_H_

#include <string>

#include "absl/strings/string_view.h"
#include "base/status.h"

namespace swerve {

// NOT_FOUND; FAILED_PRECONDITION: others may read the file; INVALID_ARGUMENT: shorter than 16 characters, or not
// printable ASCII in one line.
absl::StatusOr<std::string> ReadAdminToken(const std::string& path);
// The same; makes a file with 256 random bits where there is none. Processes that do so together get the same token.
absl::StatusOr<std::string> ReadOrMakeAdminToken(const std::string& path);

// Takes the same time wherever they differ.
bool SameSecret(absl::string_view a, absl::string_view b);

}  // namespace swerve

#endif  // SWERVE_BASE_ADMIN_TOKEN_H_
