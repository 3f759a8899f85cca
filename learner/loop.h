// The learner's loop: episodes in, weights out. Reads a batch of groups, trains, checkpoints, publishes, logs,
// acknowledges: in that order, so that a learner killed at any line trains on every group exactly once, logs every step
// and group, and never announces weights it cannot find again. Torch-free: the trainer is behind an interface.
#ifndef SWERVE_LEARNER_LOOP_H_
#define SWERVE_LEARNER_LOOP_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "base/busy_log.h"
#include "base/role_files.h"
#include "base/status.h"
#include "buffers/episode_store.h"
#include "evaluation/group_log.h"
#include "evaluation/telemetry.h"
#include "learner/checkpoint.h"
#include "learner/gap_watch.h"
#include "learner/trainer.h"
#include "swerve/v1/config.pb.h"
#include "swerve/v1/orchestrator.pb.h"

namespace swerve {

// What the learner says to the orchestrator. Called by the loop's thread; may block and try again.
class OrchestratorLine {
 public:
  virtual ~OrchestratorLine() = default;
  virtual absl::Status Announce(const v1::PolicyManifest& policy) = 0;
  // True: the run is draining. Errors are not the learner's concern.
  // `trouble`: what a person should see to; empty: nothing.
  virtual absl::StatusOr<bool> Report(const std::map<std::string, double>& values, uint64_t step, bool finished, const std::string& trouble) = 0;
  virtual absl::StatusOr<v1::PolicyManifest> Newest() = 0;
};

class LearnerLoop {
 public:
  // Pointers must outlive the loop.
  struct Options {
    v1::RunConfig config;
    RunDir run{""};
    Trainer* trainer = nullptr;
    EpisodeStore* episodes = nullptr;
    OrchestratorLine* orchestrator = nullptr;
    ImageSource images;
    RowCheck check;  // what the policy can take; unset: everything
    std::function<bool(absl::Duration)> stop_within;  // waits; true: the process is asked to stop
  };
  explicit LearnerLoop(Options options);

  // Goes on from the newest complete checkpoint of the run directory, if there is one, until learner.steps batches or
  // learner.max_seconds are done (then reports `finished`) or a stop is asked for. Leaves a checkpoint either way.
  absl::Status Run();

  uint64_t step() const { return step_; }
  int64_t version() const { return version_; }

 private:
  // What it goes on from; nothing: a new run.
  absl::StatusOr<std::optional<Checkpoint>> Resume();
  absl::Status LogRestored(const nlohmann::json& state);
  // last_events_ = changes of the teachers that no step has told yet.
  void NoteTeacherChanges();
  void WatchGap(const std::map<std::string, double>& values);
  absl::Status PublishRestored(bool found);
  // A batch of episodes; nothing when stopped or out of time.
  absl::StatusOr<std::optional<std::vector<v1::Episode>>> NextBatch();
  absl::StatusOr<std::vector<v1::Episode>> ReadBatch();
  absl::Status TrainOn(const std::vector<v1::Episode>& episodes);
  // `row`: the numbers of the checkpoint's step, for the learner that finds it and not their line in the log.
  absl::Status SaveCheckpoint(const std::map<std::string, double>& row);
  absl::Status Publish();
  absl::Status Acknowledge();
  void Tell(const std::map<std::string, double>& values, bool finished);
  void PruneWeights() const;
  double Elapsed() const;
  bool OutOfTime() const;

  const Options options_;
  const v1::LearnerConfig& learner_;
  CheckpointStore checkpoints_;
  std::unique_ptr<RunLog> log_;
  std::unique_ptr<GroupLog> groups_;
  std::unique_ptr<BusyLog> busy_;
  v1::PolicyManifest published_;
  uint64_t step_ = 0;      // batches done
  int64_t version_ = 0;    // of the weights in the trainer
  uint64_t saved_step_ = 0;
  std::set<uint64_t> consumed_;          // groups trained on, ever
  std::vector<uint64_t> unacknowledged_; // of those, not yet acknowledged
  std::map<std::string, double> last_row_;  // numbers of step_
  std::vector<std::string> last_events_;    // what happened since the step before it
  GapWatch gap_;
  std::string trouble_;  // of the last batch that could show any
  uint64_t teacher_changes_ = 0;            // lines of teacher_changes.jsonl that are told
  double elapsed_before_ = 0;            // seconds, of earlier processes
  absl::Time started_;
  double waited_ = 0, idle_total_ = 0;   // seconds without a batch: before this step, in all
  bool draining_ = false;
};

// Hash of what a resumed run must not change silently: objective, optimiser and starting policy. Hex.
std::string ConfigHash(const v1::RunConfig& config);

}  // namespace swerve

#endif  // SWERVE_LEARNER_LOOP_H_
