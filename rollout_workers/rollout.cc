#include "rollout_workers/rollout.h"

#include <utility>

#include "base/random.h"
#include "scenes/prompt.h"
#include "scenes/raster.h"

namespace swerve {

uint64_t SampleSeed(uint64_t run_seed, const v1::Lease& lease, int sample, v1::PromptKind kind) {
  return StreamSeed(run_seed, HashName(lease.scene_id()), lease.group(), sample, kind);
}

LeasedGroup Prepare(v1::Lease lease, std::string run_id, std::shared_ptr<const v1::Scene> scene, int image_size,
                    absl::string_view ask) {
  LeasedGroup group{std::move(lease), std::move(run_id), std::move(scene), {}};
  group.prompt.text = BasePromptText(*group.scene, ask);
  if (image_size > 0) group.prompt.image = std::make_shared<const Image>(Rasterise(*group.scene, image_size));
  return group;
}

GenerateRequest RolloutRequest(const LeasedGroup& group, const v1::RunConfig& config) {
  GenerateRequest request;
  request.prompt = group.prompt;
  for (int i = 0; i < config.rollout().num_generations(); ++i) {
    request.seeds.push_back(SampleSeed(config.seed(), group.lease, i, v1::BASE));
  }
  request.temperature = config.rollout().temperature();
  request.max_new_tokens = config.rollout().max_new_tokens();
  return request;
}

RolloutGroup FinishRollout(LeasedGroup leased, const v1::RunConfig& config, GenerateResult result,
                           const v1::PolicyManifest& policy, double generate_seconds) {
  RolloutGroup group;
  group.leased = std::move(leased);
  group.prompt_ids = std::move(result.prompt_ids);
  group.policy = policy;
  group.generate_seconds = generate_seconds;
  group.samples.resize(config.rollout().num_generations());
  for (size_t i = 0; i < group.samples.size(); ++i) {
    v1::Sample& sample = group.samples[i];
    sample.set_outcome(v1::OK);
    if (i >= result.responses.size()) {
      sample.set_outcome(v1::INTERNAL);
      sample.set_detail("the engine returned no response");
      continue;
    }
    *sample.mutable_response() = std::move(result.responses[i]);
    if (sample.response().finish() == v1::CANCELLED || sample.response().token_ids().empty()) {
      sample.set_outcome(v1::UNAVAILABLE);
      sample.set_detail("sampling was cut off");
    }
  }
  return group;
}

}  // namespace swerve
