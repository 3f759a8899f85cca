// The process's exit code, set by a command's callback and returned by main. Main thread only.
#ifndef SWERVE_BASE_EXIT_CODE_H_
#define SWERVE_BASE_EXIT_CODE_H_

#include <cstdio>

#include "base/status.h"

namespace swerve {

inline int& ExitCodeStorage() {
  static int code = 0;
  return code;
}
inline int ExitCode() { return ExitCodeStorage(); }
inline void SetExitCode(int code) { ExitCodeStorage() = code; }

// Prints "swerve: <message>" to stderr and sets the code (2 for invalid arguments and missing files, else 1).
inline void FailWith(const absl::Status& status) {
  std::fprintf(stderr, "swerve: %s\n", std::string(status.message()).c_str());
  SetExitCode(absl::IsInvalidArgument(status) || absl::IsNotFound(status) ? 2 : 1);
}

}  // namespace swerve

#endif  // SWERVE_BASE_EXIT_CODE_H_
