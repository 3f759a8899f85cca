#include "base/progress.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include "absl/strings/str_format.h"
#include "absl/time/clock.h"

namespace swerve {
namespace {

std::string Clock(double seconds) {
  const auto s = static_cast<int64_t>(seconds + 0.5);
  if (s >= 3600) return absl::StrFormat("%d:%02d:%02d", s / 3600, s / 60 % 60, s % 60);
  return absl::StrFormat("%d:%02d", s / 60, s % 60);
}

}  // namespace

Progress::Progress(std::string what, uint64_t total, std::string unit)
    : what_(std::move(what)), total_(total), unit_(std::move(unit)), tty_(isatty(STDERR_FILENO) == 1),
      start_(absl::Now()), drawn_(start_) {}

Progress::~Progress() {
  absl::MutexLock lock(&mu_);
  Draw(/*last=*/true);
}

void Progress::Add(uint64_t n) {
  absl::MutexLock lock(&mu_);
  done_ += n;
  Draw(/*last=*/false);
}

void Progress::Note(std::string note) {
  absl::MutexLock lock(&mu_);
  note_ = std::move(note);
}

void Progress::Draw(bool last) {
  const absl::Time now = absl::Now();
  const absl::Duration every = tty_ ? absl::Milliseconds(100) : absl::Seconds(5);
  if (!last && now - drawn_ < every) return;
  drawn_ = now;
  const double elapsed = absl::ToDoubleSeconds(now - start_);
  const double rate = elapsed > 0 ? static_cast<double>(done_) / elapsed : 0;
  std::string line = what_ + " ";
  if (total_ > 0) {
    const double share = std::min(1.0, static_cast<double>(done_) / static_cast<double>(total_));
    if (tty_) {
      const int full = static_cast<int>(share * 24);
      line += "[" + std::string(full, '#') + std::string(24 - full, '.') + "] ";
    }
    absl::StrAppendFormat(&line, "%3.0f%% %d/%d %s", share * 100, done_, total_, unit_);
  } else {
    absl::StrAppendFormat(&line, "%d %s", done_, unit_);
  }
  absl::StrAppendFormat(&line, "  %.1f/s  %s", rate, Clock(elapsed));
  if (!last && total_ > done_ && rate > 0) {
    absl::StrAppendFormat(&line, "  left %s", Clock(static_cast<double>(total_ - done_) / rate));
  }
  if (!note_.empty()) line += "  " + note_;
  if (tty_) {
    std::fprintf(stderr, "\r\033[K%s%s", line.c_str(), last ? "\n" : "");
  } else {
    std::fprintf(stderr, "%s\n", line.c_str());
  }
  std::fflush(stderr);
}

}  // namespace swerve
