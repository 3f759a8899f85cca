#include "base/stop.h"

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdint>

#include "absl/time/clock.h"

namespace swerve {
namespace {

std::atomic<int> g_count{0};

// Readable forever once written: the waiters poll it and never read. Made before any handler is installed, because
// a static's first initialisation must not happen inside a signal handler.
int EventFd() {
  static const int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  return fd;
}

void OnSignal(int) {
  const int error = errno;
  Stop::Request();
  errno = error;
}

}  // namespace

void Stop::InstallSignalHandlers() {
  EventFd();
  struct sigaction action = {};
  action.sa_handler = OnSignal;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  sigaction(SIGTERM, &action, nullptr);
  sigaction(SIGINT, &action, nullptr);
  signal(SIGPIPE, SIG_IGN);
}

int Stop::Count() { return g_count.load(std::memory_order_acquire); }

void Stop::Request() {
  g_count.fetch_add(1, std::memory_order_acq_rel);
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t n = write(EventFd(), &one, sizeof one);
}

bool Stop::WaitFor(absl::Duration timeout) {
  const absl::Time until = absl::Now() + timeout;
  while (!Requested()) {
    const absl::Duration left = std::min(until - absl::Now(), absl::Hours(1));
    if (left <= absl::ZeroDuration()) return Requested();
    pollfd poll_fd{EventFd(), POLLIN, 0};
    poll(&poll_fd, 1, static_cast<int>(absl::ToInt64Milliseconds(left)) + 1);
  }
  return true;
}

}  // namespace swerve
