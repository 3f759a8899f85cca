// An 8-bit RGB picture in memory: what the vision tower's preprocessor takes. Plain value.
#ifndef SWERVE_BASE_IMAGE_H_
#define SWERVE_BASE_IMAGE_H_

#include <cstdint>
#include <vector>

namespace swerve {

struct Image {
  int height = 0;
  int width = 0;
  std::vector<uint8_t> rgb;  // height × width × 3, row-major, top row first
};

}  // namespace swerve

#endif  // SWERVE_BASE_IMAGE_H_
