// SHA-256 as lower-case hex. Stateless, thread-safe.
#ifndef SWERVE_BASE_SHA256_H_
#define SWERVE_BASE_SHA256_H_

#include <string>

#include "absl/strings/string_view.h"
#include "base/status.h"

namespace swerve {

std::string Sha256(absl::string_view bytes);
// Of a file's content, read in pieces. Errors: those of base/files.h.
absl::StatusOr<std::string> Sha256OfFile(const std::string& path);

}  // namespace swerve

#endif  // SWERVE_BASE_SHA256_H_
