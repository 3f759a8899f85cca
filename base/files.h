// Whole-file reading and crash-safe writing. Stateless and thread-safe. Errors name the path:
// NOT_FOUND, INVALID_ARGUMENT (a directory), PERMISSION_DENIED, RESOURCE_EXHAUSTED (disk full), INTERNAL.
#ifndef SWERVE_BASE_FILES_H_
#define SWERVE_BASE_FILES_H_

#include <string>

#include "absl/functional/function_ref.h"
#include "absl/strings/string_view.h"

#include "base/status.h"

namespace swerve {

absl::StatusOr<std::string> ReadFile(const std::string& path);

// Writes to a temporary file beside `path`, fsyncs, renames: readers see the old or the new content, never a part.
// `mode`: permissions, less the process's umask.
absl::Status WriteFileAtomically(const std::string& path, absl::string_view content, int mode = 0644);

// `write`'s status; while it is RESOURCE_EXHAUSTED, writes again each time that `wait` says so. `wait` is given that status,
// blocks as long as it likes, and returns false to give up.
absl::Status OnceThereIsRoom(absl::FunctionRef<absl::Status()> write, absl::FunctionRef<bool(const absl::Status&)> wait);

// As mkdir -p.
absl::Status MakeDirectories(const std::string& path);

// The status for `errno` of an operation on `path`.
absl::Status ErrnoStatus(int error, absl::string_view operation, absl::string_view path);

}  // namespace swerve

#endif  // SWERVE_BASE_FILES_H_
