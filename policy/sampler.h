// Draws tokens from logits. Stateless and thread-safe; `scratch` is the caller's and may be shared by its calls in turn.
#ifndef SWERVE_POLICY_SAMPLER_H_
#define SWERVE_POLICY_SAMPLER_H_

#include <vector>

#include "policy/engine.h"

namespace swerve {

struct DrawnToken {
  TokenLogprob token;
  std::vector<TokenLogprob> top;  // GenerateRequest::top_logprobs, best first
};

// As `request` asks by temperature, top_p and top_logprobs; `uniform` in [0, 1) decides. Log-probabilities are in nats and
// those of the distribution that is drawn from; where temperature is 0, of temperature 1. `logits`: `vocab` floats.
DrawnToken DrawToken(const float* logits, int vocab, const GenerateRequest& request, double uniform, std::vector<float>* scratch);

}  // namespace swerve

#endif  // SWERVE_POLICY_SAMPLER_H_
