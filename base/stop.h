// The process's wish to end: a latch set by SIGTERM or SIGINT (or Request), never unset. Everything here is
// thread-safe; Request may be called from a signal handler.
#ifndef SWERVE_BASE_STOP_H_
#define SWERVE_BASE_STOP_H_

#include "absl/time/time.h"

namespace swerve {

class Stop {
 public:
  // Makes SIGTERM and SIGINT set the latch and SIGPIPE harmless. Call once, early in main's thread.
  static void InstallSignalHandlers();

  static bool Requested() { return Count() > 0; }
  // How often it was asked for: a second Ctrl-C means "now".
  static int Count();
  static void Request();

  // Blocks until the latch is set (true) or `timeout` passed (false).
  static bool WaitFor(absl::Duration timeout);
  static void Wait() { WaitFor(absl::InfiniteDuration()); }
};

}  // namespace swerve

#endif  // SWERVE_BASE_STOP_H_
