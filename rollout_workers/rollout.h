// Step 1: n samples from the base prompt (spec: algorithm §3.1). Pure functions; the engine call lies between them, so
// that the worker can put several groups into one.
#ifndef SWERVE_ROLLOUT_WORKERS_ROLLOUT_H_
#define SWERVE_ROLLOUT_WORKERS_ROLLOUT_H_

#include "absl/strings/string_view.h"
#include "rollout_workers/types.h"
#include "swerve/v1/config.pb.h"

namespace swerve {

// Seed of one sample: a function of (run seed, scene, group, sample, prompt kind), never of who samples when.
uint64_t SampleSeed(uint64_t run_seed, const v1::Lease& lease, int sample, v1::PromptKind kind);

// Draws the scene and writes the base prompt. `image_size` 0: no picture. `ask`: the codec's, for the prompt.
LeasedGroup Prepare(v1::Lease lease, std::string run_id, std::shared_ptr<const v1::Scene> scene, int image_size,
                    absl::string_view ask = "");

GenerateRequest RolloutRequest(const LeasedGroup& group, const v1::RunConfig& config);

// `result` answers RolloutRequest; `policy` is what it was sampled from. A response without tokens, or cut off by a
// cancellation, is masked; a missing one too.
RolloutGroup FinishRollout(LeasedGroup group, const v1::RunConfig& config, GenerateResult result,
                           const v1::PolicyManifest& policy, double generate_seconds);

}  // namespace swerve

#endif  // SWERVE_ROLLOUT_WORKERS_ROLLOUT_H_
