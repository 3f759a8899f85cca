// Text of a response to a trajectory. Stateless, thread-safe, never fails on any bytes.
#ifndef SWERVE_POLICY_CODEC_H_
#define SWERVE_POLICY_CODEC_H_

#include <vector>

#include "absl/strings/string_view.h"
#include "swerve/v1/response.pb.h"

namespace swerve {

inline constexpr int kPoses = 8;  // 0.5 … 4.0 s in steps of 0.5 s

struct Parsed {
  v1::ParseStatus status = v1::FAILED;
  std::vector<v1::Pose> poses;  // 8, ego frame (m, m, rad); empty when FAILED
};

// Codec pose3_text: `<answer>[x,y,heading],…×8</answer>`.
// EXACT: one answer section, the last thing in the response (an end-of-turn mark and white space may follow), holding
// 8 triples of decimal numbers `-?digits(.digits)?` separated by single commas and nothing else.
// REPAIRED: 8 or more triples of finite numbers could be found in the last answer section, or, without one, after the
// think section, whatever stands between them (the first 8 count).
// FAILED: anything else.
Parsed ParsePose3(absl::string_view response_text);

}  // namespace swerve

#endif  // SWERVE_POLICY_CODEC_H_
