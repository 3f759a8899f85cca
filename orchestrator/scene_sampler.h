// Which scene a group gets. Half (orchestrator.difficulty_weight) of the groups are drawn by difficulty, the others
// walk a fresh random order of all scenes per pass, so that every scene is met. Pure: the draw depends on the seed,
// the group and the weights set, on nothing else. Not thread-safe.
#ifndef SWERVE_ORCHESTRATOR_SCENE_SAMPLER_H_
#define SWERVE_ORCHESTRATOR_SCENE_SAMPLER_H_

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/types/span.h"
#include "swerve/v1/episode.pb.h"

namespace swerve {

// How much a group of this scene may teach, in (0, 1]: high for scenes that fail (feedback may rescue them) or are
// ambiguous (the group has a spread), low for those that always succeed; 1 for one never tried.
double DifficultyWeight(const v1::DifficultyRecord& record);

class SceneSampler {
 public:
  // `difficulty_weight` is the share drawn by difficulty; 0 in deterministic mode, where weights arrive in an order
  // that timing decides. `scenes` is not empty.
  SceneSampler(uint64_t seed, std::vector<std::string> scenes, double difficulty_weight);

  // Replaces all weights; scenes without a record weigh 1. Unknown scenes are ignored.
  void SetDifficulty(absl::Span<const v1::DifficultyRecord> records);

  // The scene of `group`; `redraw` counts the scenes given up under this number; scenes in `busy` are not drawn by
  // difficulty again.
  std::string Draw(uint64_t group, uint32_t redraw, const std::set<std::string>& busy);

 private:
  size_t InOrder(uint64_t position);

  const uint64_t seed_;
  const std::vector<std::string> scenes_;
  const double difficulty_weight_;
  absl::flat_hash_map<std::string, size_t> index_;
  std::vector<double> weights_;
  uint64_t order_pass_ = ~0ull;  // the pass that order_ holds
  std::vector<size_t> order_;
};

}  // namespace swerve

#endif  // SWERVE_ORCHESTRATOR_SCENE_SAMPLER_H_
