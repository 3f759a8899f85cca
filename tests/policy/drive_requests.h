// Requests to the shipped policy, some with a picture, for tests that compare one engine with another.
#ifndef SWERVE_TESTS_POLICY_DRIVE_REQUESTS_H_
#define SWERVE_TESTS_POLICY_DRIVE_REQUESTS_H_

#include <memory>
#include <string>
#include <vector>

#include "base/random.h"
#include "policy/engine.h"

namespace swerve {

inline std::shared_ptr<const Image> Picture() {
  auto image = std::make_shared<Image>(Image{112, 112, {}});
  for (int i = 0; i < 112 * 112 * 3; ++i) image->rgb.push_back(static_cast<uint8_t>((7 * i + i / 256) % 256));
  return image;
}

// The i-th asks for i + 1 samples of at most least + i · more tokens each.
inline std::vector<GenerateRequest> DriveRequests(int count, double temperature, int least, int more) {
  std::vector<GenerateRequest> out;
  for (int i = 0; i < count; ++i) {
    GenerateRequest r{.prompt = {.text = "command move forward. speed " + std::to_string(i) + ".5. drive."},
                      .temperature = temperature,
                      .max_new_tokens = least + more * i};
    if (i != 1) r.prompt.image = Picture();
    for (int s = 0; s <= i; ++s) r.seeds.push_back(StreamSeed(7, i, s));
    out.push_back(std::move(r));
  }
  return out;
}

}  // namespace swerve

#endif  // SWERVE_TESTS_POLICY_DRIVE_REQUESTS_H_
