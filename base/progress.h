// A progress bar with rate and time left for long work; plain lines every few seconds when stderr is no terminal.
// Thread-safe. Destruction finishes the line. Writes to stderr only.
#ifndef SWERVE_BASE_PROGRESS_H_
#define SWERVE_BASE_PROGRESS_H_

#include <cstdint>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace swerve {

class Progress {
 public:
  // `unit` is plural: "scenes". `total` 0: unknown.
  Progress(std::string what, uint64_t total, std::string unit);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void Add(uint64_t n) ABSL_LOCKS_EXCLUDED(mu_);
  // Free text behind the bar ("loss 0.41").
  void Note(std::string note) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  void Draw(bool last) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const std::string what_;
  const uint64_t total_;
  const std::string unit_;
  const bool tty_;
  const absl::Time start_;
  absl::Mutex mu_;
  uint64_t done_ ABSL_GUARDED_BY(mu_) = 0;
  std::string note_ ABSL_GUARDED_BY(mu_);
  absl::Time drawn_ ABSL_GUARDED_BY(mu_);
};

}  // namespace swerve

#endif  // SWERVE_BASE_PROGRESS_H_
