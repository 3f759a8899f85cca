// The numbers of a run over time: JSON lines for tools, TensorBoard event files for people.
#ifndef SWERVE_EVALUATION_TELEMETRY_H_
#define SWERVE_EVALUATION_TELEMETRY_H_

#include <cstdint>
#include <cstdio>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "base/status.h"

namespace swerve {

// Appends to `<run>/metrics.jsonl` (one object a step: {"step":3,"time":<unix seconds>,"train/loss":0.41,…}) and to an
// event file in `<run>/tensorboard/`. Thread-safe; every Write is flushed before it returns, so that a killed process
// loses no step. Values that are not finite are null in the JSON and left out of the event file.
class RunLog {
 public:
  struct Options {
    bool tensorboard = true;
    // Steps beyond this one are removed from metrics.jsonl on opening: a run that resumes from a checkpoint of step s
    // passes s and writes the later steps again.
    int64_t keep_through = std::numeric_limits<int64_t>::max();
    // Unix time in seconds; default: the system clock.
    std::function<double()> clock;
  };

  // Creates the directories. A run that was there before is continued: lines are appended (half a line that a killed
  // process left is removed) and a new event file joins the old ones, which is how TensorBoard continues a run.
  // Errors: those of base/files.h.
  static absl::StatusOr<std::unique_ptr<RunLog>> Open(const std::string& run_dir, const Options& options);
  static absl::StatusOr<std::unique_ptr<RunLog>> Open(const std::string& run_dir, bool tensorboard = true) {
    Options options;
    options.tensorboard = tensorboard;
    return Open(run_dir, options);
  }
  ~RunLog();
  RunLog(const RunLog&) = delete;
  RunLog& operator=(const RunLog&) = delete;

  // Tag names are TensorBoard's: "train/loss", "reward/mean", … `events` are what happened since the step before, in
  // words: "events" of the JSON line, a text under the tag "events" for TensorBoard. Errors: RESOURCE_EXHAUSTED (disk
  // full), INTERNAL.
  absl::Status Write(int64_t step, const std::map<std::string, double>& values,
                     const std::vector<std::string>& events = {}) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  RunLog(std::function<double()> clock, std::string run_dir) : clock_(std::move(clock)), run_dir_(std::move(run_dir)) {}

  const std::function<double()> clock_;
  const std::string run_dir_;
  absl::Mutex mu_;
  std::FILE* jsonl_ ABSL_GUARDED_BY(mu_) = nullptr;
  std::FILE* events_ ABSL_GUARDED_BY(mu_) = nullptr;  // null: no TensorBoard
};

// One line of metrics.jsonl; values that were not finite are absent.
struct MetricsRow {
  int64_t step = 0;
  double time = 0;
  std::map<std::string, double> values;
  std::vector<std::string> events;
};

// The rows of `<run>/metrics.jsonl` by step; of a step written twice the later row. Lines that are not JSON objects
// with a step are skipped. NOT_FOUND when the run has no such file.
absl::StatusOr<std::vector<MetricsRow>> ReadMetrics(const std::string& run_dir);

// The TensorBoard Event message, protobuf-encoded (spec: conventions §4.4).
std::string VersionEvent(double wall_time);
std::string ScalarEvent(double wall_time, int64_t step, const std::map<std::string, double>& values);
std::string TextEvent(double wall_time, int64_t step, const std::string& tag, const std::string& text);

}  // namespace swerve

#endif  // SWERVE_EVALUATION_TELEMETRY_H_
