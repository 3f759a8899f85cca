// Text of a response to a trajectory, and a trajectory to text. A codec is immutable, thread-safe and never fails on any
// bytes. Poses: ego frame at t = 0 (x forward, y left, metres, radians), 0.5 … 4.0 s.
//
// Where the trajectory is looked for: between the last <answer> and </answer>; where there is no such section, after the
// think section, or in the whole text. An end-of-turn mark and white space at the end do not count.
//
//   codec             answer section as written by Answer            EXACT takes            precision of a round trip
//   pose3_text        [x,y,heading],…                                8, in <answer> alone   0.05 m, 0.005 rad
//   xy_text           [x, y], …                                      6, 8 or 10             0.005 m
//   xy_parenthesised  [(x,y),…], x right and y front                 6                      0.005 m, of the first 3 s
//   json_traj         {"future_trajectory": "[PT, (+x, +y, +h), …]"} 6, 8 or 10             0.005 m, 0.005 rad
//   codebook          <action_17><action_1024>…                      6, 8 or 10             the codebook's
//   speed_curvature   [(speed, curvature), …], m/s and 1/m           6, 8 or 10             0.02 m, 0.01 rad of arcs
//
// Their steps are 0.5 s. EXACT: written so and nothing else. REPAIRED: as many items could be read, whatever stands
// between them (pose3_text: 8; xy_parenthesised: 1, what is missing up to 6 repeats the last as OpenDriveVLA's reader
// does; else 6). FAILED: anything else, a pose that is not finite included.
// Ten steps: the first eight count. Six: the motion of the last step (speed and yaw rate) goes on for one second.
// Points without headings face along the way: at each the mean of the directions before and after it; where the way is
// shorter than 0.25 m the heading stays, and a way that leads backwards is driven in reverse.
#ifndef SWERVE_POLICY_CODEC_H_
#define SWERVE_POLICY_CODEC_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "swerve/v1/response.pb.h"

namespace swerve {

inline constexpr int kPoses = 8;  // 0.5 … 4.0 s in steps of 0.5 s

struct Parsed {
  v1::ParseStatus status = v1::FAILED;
  std::vector<v1::Pose> poses;  // 8; empty when FAILED
};

class Codec {
 public:
  virtual ~Codec() = default;
  virtual absl::string_view name() const = 0;
  virtual Parsed Parse(absl::string_view response_text) const = 0;
  // What stands between <answer> and </answer>; `poses` are finite, kPoses of them. Parse reads it as EXACT.
  virtual std::string Answer(absl::Span<const v1::Pose> poses) const = 0;
  // What a prompt says of the answer's form; empty for pose3_text, the form of whoever is not told.
  virtual absl::string_view Ask() const = 0;
};

// Fills parse and poses from the text.
void Decode(const Codec& codec, v1::Response* response);

std::vector<std::string> CodecNames();

// pose3_text.
const Codec& PoseTextCodec();

// `codebook`: safetensors file of the codec of that name. It holds one tensor (or one named "codebook") of the motions of
// action tokens, [tokens, 6, 4, 2]: corners of the vehicle's box (front left, front right, rear right, rear left) at 0.0,
// 0.1 … 0.5 s in the frame of the step's begin, as AutoVLA has it (spec systems.md 1.5), or [tokens, 6, 3]: its poses.
// INVALID_ARGUMENT: an unknown name (the known ones are told), a codebook missing, superfluous or malformed; NOT_FOUND.
absl::StatusOr<std::shared_ptr<const Codec>> CreateCodec(absl::string_view name, const std::string& codebook = "");

}  // namespace swerve

#endif  // SWERVE_POLICY_CODEC_H_
