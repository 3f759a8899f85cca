// Reads pictures from disk. Stateless.
#ifndef SWERVE_POLICY_IMAGE_FILE_H_
#define SWERVE_POLICY_IMAGE_FILE_H_

#include <string>

#include "absl/status/statusor.h"
#include "base/image.h"

namespace swerve {

// NOT_FOUND, INVALID_ARGUMENT (not a PNG).
absl::StatusOr<Image> ReadPng(const std::string& path);

}  // namespace swerve

#endif  // SWERVE_POLICY_IMAGE_FILE_H_
