// Files that may be gzip-compressed. Stateless and thread-safe. Errors name the path.
#ifndef SWERVE_BASE_GZIP_H_
#define SWERVE_BASE_GZIP_H_

#include <string>

#include "base/status.h"

namespace swerve {

// Decompresses when the content is gzip, whatever the name. NOT_FOUND, DATA_LOSS (truncated or corrupt gzip).
absl::StatusOr<std::string> ReadMaybeGzip(const std::string& path);

// Compresses when the name ends in ".gz"; same content, same bytes. Atomic (base/files.h).
absl::Status WriteMaybeGzip(const std::string& path, const std::string& content);

}  // namespace swerve

#endif  // SWERVE_BASE_GZIP_H_
