#include "orchestrator/scene_sampler.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/random.h"

namespace swerve {

double DifficultyWeight(const v1::DifficultyRecord& record) {
  if (record.attempts() == 0) return 1.0;
  const double variance = record.attempts() > 1 ? record.m2() / static_cast<double>(record.attempts() - 1) : 0.0;
  // Twice the standard deviation of a reward in [0, 1] is at most about 1.
  const double worth = std::max(1.0 - record.mean(), 2.0 * std::sqrt(std::max(0.0, variance)));
  return std::clamp(worth, 0.02, 1.0);
}

SceneSampler::SceneSampler(uint64_t seed, std::vector<std::string> scenes, double difficulty_weight)
    : seed_(seed), scenes_(std::move(scenes)), difficulty_weight_(difficulty_weight), weights_(scenes_.size(), 1.0) {
  for (size_t i = 0; i < scenes_.size(); ++i) index_[scenes_[i]] = i;
}

void SceneSampler::SetDifficulty(absl::Span<const v1::DifficultyRecord> records) {
  std::fill(weights_.begin(), weights_.end(), 1.0);
  for (const v1::DifficultyRecord& record : records) {
    const auto at = index_.find(record.scene_id());
    if (at != index_.end()) weights_[at->second] = DifficultyWeight(record);
  }
}

size_t SceneSampler::InOrder(uint64_t position) {
  const uint64_t pass = position / scenes_.size();
  if (pass != order_pass_) {
    order_.resize(scenes_.size());
    std::iota(order_.begin(), order_.end(), size_t{0});
    Random random(StreamSeed(seed_, HashName("scene order"), pass));
    for (size_t i = order_.size(); i > 1; --i) std::swap(order_[i - 1], order_[random.Below(i)]);
    order_pass_ = pass;
  }
  return order_[position % scenes_.size()];
}

std::string SceneSampler::Draw(uint64_t group, uint32_t redraw, const std::set<std::string>& busy) {
  Random random(StreamSeed(seed_, HashName("scene draw"), group, redraw));
  if (random.Chance(difficulty_weight_)) {
    std::vector<double> sums(scenes_.size());
    double sum = 0;
    for (size_t i = 0; i < scenes_.size(); ++i) {
      if (!busy.contains(scenes_[i])) sum += weights_[i];
      sums[i] = sum;
    }
    if (sum > 0) {
      const double at = random.Uniform(0, sum);
      return scenes_[static_cast<size_t>(std::upper_bound(sums.begin(), sums.end(), at) - sums.begin())];
    }
  }
  return scenes_[InOrder(group + redraw)];
}

}  // namespace swerve
