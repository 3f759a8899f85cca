// One post-training run on this machine: the run directory, the roles, the live view. Main thread only.
#ifndef SWERVE_ORCHESTRATOR_TRAIN_H_
#define SWERVE_ORCHESTRATOR_TRAIN_H_

#include <string>
#include <vector>

#include "base/role_files.h"
#include "base/status.h"
#include "swerve/v1/config.pb.h"

namespace swerve {

struct TrainOptions {
  std::string config;                  // YAML file; "": defaults, or the run's own with resume
  std::vector<std::string> overrides;  // key=value
  std::string run_dir;                 // "": run_dir of the configuration
  bool resume = false;                 // go on in a directory that holds a run
  bool dry_run = false;                // check, print the resolved configuration, start nothing
};

// Where a model directory is: as given, or, where that does not exist and it is relative, below $SWERVE_HOME (the
// repository, set by ./swerve), so that the default models/tiny is found from any working directory.
std::string FindModel(const std::string& directory);

// What the run would use. Checks that scenes and model are there, as far as that needs no LibTorch.
absl::StatusOr<v1::RunConfig> ResolveTrain(const TrainOptions& options);

// Makes the run directory with config.yaml, run_id and versions.json, or with `resume` updates config.yaml.
// FAILED_PRECONDITION: it holds a run already (without resume), or none (with it).
absl::Status PrepareRunDir(const RunDir& run, const v1::RunConfig& config, bool resume);

// The whole of `swerve train`. Blocks until the learner finished (OK) or it was stopped (CANCELLED, with how to go
// on). Writes <run>/result.json: steps, groups, seconds, the final policy's version, directory and checksum, and the
// shares of the run's wall time in which it generated, trained, or did neither (idle_share; base/busy_log.h).
absl::Status Train(const TrainOptions& options);

// Version of Swerve and of the libraries it was built with, as JSON.
std::string VersionsJson();

}  // namespace swerve

#endif  // SWERVE_ORCHESTRATOR_TRAIN_H_
