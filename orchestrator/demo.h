// `swerve demo`: the main job from nothing. Generates scenes, curates, evaluates, trains with feedback, evaluates again
// on held-out scenes of another seed, and writes the report; every step is a sub-command of this binary, run as a child
// process, so that the same can be done by hand. Main thread only.
#ifndef SWERVE_ORCHESTRATOR_DEMO_H_
#define SWERVE_ORCHESTRATOR_DEMO_H_

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"

namespace swerve {

struct DemoOptions {
  uint64_t seed = 0;
  std::string out;        // "": runs/demo-<seed>
  std::string policy = "models/tiny";
  double minutes = 8;     // of training
  int train_scenes = 1024;
  int held_out_scenes = 192;
  std::string teacher = "oracle";
  std::string config;     // YAML; "": deploy/demo.yaml as it was built in
  std::vector<std::string> overrides;
};

// Blocks until all is done. Writes <out>/results.json {seed, wall_s, before, after}, <out>/report.html, and prints a
// table. CANCELLED: stopped; what was made stays. INVALID_ARGUMENT: `out` holds something else than a demo.
absl::Status Demo(const DemoOptions& options);

// Seeds of the training and the held-out scenes: never the same set, whatever the demo's seed.
uint64_t DemoTrainSeed(uint64_t seed);
uint64_t DemoHeldOutSeed(uint64_t seed);

// The table of before and after, from two `swerve eval --json` documents. INVALID_ARGUMENT: not such documents.
absl::StatusOr<std::string> DemoTable(const std::string& before_json, const std::string& after_json);

}  // namespace swerve

#endif  // SWERVE_ORCHESTRATOR_DEMO_H_
