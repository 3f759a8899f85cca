// Packed sequences as padded rows: where LibTorch's attention, which wants rows of one length, finds them.
#ifndef SWERVE_POLICY_PADDED_INDICES_H_
#define SWERVE_POLICY_PADDED_INDICES_H_

#include <algorithm>
#include <cstdint>
#include <vector>

#include "policy/torch_attention.h"

namespace swerve {

// U prompts, padded to P tokens each, come first in the packed order; then R responses, padded to T, in the order in which
// they lie.
struct PaddedIndices {
  explicit PaddedIndices(const PackedSequences& sequences) : prompts(static_cast<int64_t>(sequences.groups.size())) {
    struct Response {
      PackedSequences::Stretch own, prompt;
    };
    std::vector<Response> responses;
    for (const auto& group : sequences.groups) {
      prompt_pad = std::max(prompt_pad, group.prompt.length);
      for (const auto& answer : group.answers) {
        responses.push_back({answer, group.prompt});
        response_pad = std::max(response_pad, answer.length);
      }
    }
    // By where they begin; one of no tokens begins where the next does, and goes before it.
    std::stable_sort(responses.begin(), responses.end(), [](const Response& a, const Response& b) { return a.own.first < b.own.first; });
    for (int64_t u = 0; u < prompts; ++u) {
      const PackedSequences::Stretch& prompt = sequences.groups[u].prompt;
      for (int64_t p = 0; p < prompt_pad; ++p) {
        prompt_index.push_back(prompt.first + std::min(p, prompt.length - 1));
        if (p < prompt.length) prompt_valid.push_back(u * prompt_pad + p);
      }
    }
    for (size_t r = 0; r < responses.size(); ++r) {
      const auto& [own, prompt] = responses[r];
      row_prompt_length.push_back(prompt.length);
      for (int64_t p = 0; p < prompt_pad; ++p) keys_index.push_back(prompt.first + std::min(p, prompt.length - 1));
      for (int64_t t = 0; t < response_pad; ++t) {
        // Padding points at a token that exists; nothing valid ever looks at it.
        const int64_t at = t < own.length ? own.first + t : prompt.first;
        response_index.push_back(at);
        keys_index.push_back(at);
        if (t < own.length) response_valid.push_back(static_cast<int64_t>(r) * response_pad + t);
      }
    }
  }

  int64_t prompts = 0, prompt_pad = 0, response_pad = 0;
  std::vector<int64_t> prompt_index, prompt_valid;      // [U·P] into packed; packed order from [U·P]
  std::vector<int64_t> response_index, response_valid;  // [R·T], likewise
  std::vector<int64_t> keys_index;                      // [R·(P+T)]: a row's prompt, then itself
  std::vector<int64_t> row_prompt_length;
};

}  // namespace swerve

#endif  // SWERVE_POLICY_PADDED_INDICES_H_
