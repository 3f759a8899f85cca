// Codec codebook (policy/codec.h): AutoVLA's action tokens, chained motions of 0.5 s.
#ifndef SWERVE_POLICY_CODEC_CODEBOOK_H_
#define SWERVE_POLICY_CODEC_CODEBOOK_H_

#include <memory>
#include <string>

#include "policy/codec.h"

namespace swerve {

// Reads the whole file. Errors as CreateCodec.
absl::StatusOr<std::shared_ptr<const Codec>> CreateCodebookCodec(const std::string& path);

}  // namespace swerve

#endif  // SWERVE_POLICY_CODEC_CODEBOOK_H_
