#include "policy/bench_input.h"

#include <sys/resource.h>

#include <algorithm>

#include "base/random.h"
#include "policy/prompt_input.h"

namespace swerve {

std::shared_ptr<const Image> BenchPicture(const ModelConfig& config) {
  const int side = ImageSize(config);
  return std::make_shared<Image>(Image{side, side, std::vector<uint8_t>(static_cast<size_t>(3) * side * side, 99)});
}

std::vector<int32_t> BenchIds(const ModelConfig& config, int length, uint64_t seed) {
  std::vector<int32_t> ids;
  Random random(seed);
  while (static_cast<int>(ids.size()) < length) {
    const int32_t id = static_cast<int32_t>(random.Below(config.text.vocab));
    if (id != config.image_token_id) ids.push_back(id);
  }
  const int slots = config.has_vision ? ImageTokens(config.processor, ImageSize(config), ImageSize(config)).value_or(length) : length;
  if (length > slots + 2) std::fill_n(ids.begin() + 1, slots, config.image_token_id);
  return ids;
}

int64_t PeakMemoryBytes() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss * 1024;
}

}  // namespace swerve
