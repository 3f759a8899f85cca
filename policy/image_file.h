// Pictures from disk or from memory: JPEG and PNG to 8-bit RGB, as Pillow's convert("RGB") gives them (alpha dropped,
// palettes and grey expanded, 16 bits cut to 8, EXIF orientation applied as transformers' load_image does). Stateless,
// thread-safe. What a file may make us allocate is bounded before anything is decoded.
#ifndef SWERVE_POLICY_IMAGE_FILE_H_
#define SWERVE_POLICY_IMAGE_FILE_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/image.h"

namespace swerve {

inline constexpr int64_t kMaxImageBytes = 64 << 20;    // of a file
inline constexpr int64_t kMaxImagePixels = 64 << 20;   // decoded; 192 MiB
inline constexpr int kMaxImageSide = 1 << 15;

// INVALID_ARGUMENT: neither JPEG nor PNG, broken or cut off, or larger than the limits above or max_pixels; the text says
// which.
absl::StatusOr<Image> DecodeImage(absl::string_view bytes, int64_t max_pixels = kMaxImagePixels);

// NOT_FOUND; otherwise as DecodeImage, the path first.
absl::StatusOr<Image> ReadImage(const std::string& path);

// Lossless, 8-bit RGB. INVALID_ARGUMENT: rgb does not hold height × width × 3 bytes.
absl::StatusOr<std::string> EncodePng(const Image& image);

}  // namespace swerve

#endif  // SWERVE_POLICY_IMAGE_FILE_H_
