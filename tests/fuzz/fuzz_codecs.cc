// A response of a policy, through every codec; and the same bytes as a codebook. What is read as a trajectory is eight
// finite poses, is written again by the codec as an exact answer, and that is read back.
#include <cmath>
#include <cstring>

#include "policy/codec.h"
#include "tests/fuzz/require.h"
#include "tests/fuzz/temporary_dir.h"
#include "tests/testing/codebook.h"

using swerve::testing::Require;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const swerve::testing::TemporaryDir dir("fuzz_codecs");
  static const auto codecs = [] {
    std::vector<std::shared_ptr<const swerve::Codec>> all;
    const std::string book = swerve::testing_policy::WriteCodebook(dir.path() + "/book.safetensors");
    for (const std::string& name : swerve::CodecNames()) all.push_back(*swerve::CreateCodec(name, name == "codebook" ? book : ""));
    return all;
  }();
  const absl::string_view bytes(reinterpret_cast<const char*>(data), size);
  for (const auto& codec : codecs) {
    const swerve::Parsed parsed = codec->Parse(bytes);
    Require(parsed.poses.size() == (parsed.status == swerve::v1::FAILED ? 0 : 8));
    bool near = !parsed.poses.empty();
    for (const swerve::v1::Pose& p : parsed.poses) {
      Require(std::isfinite(p.x()) && std::isfinite(p.y()) && std::isfinite(p.heading()));
      near = near && std::abs(p.x()) < 1e6 && std::abs(p.y()) < 1e6 && std::abs(p.heading()) < 1e6;
    }
    if (near) Require(codec->Parse("<answer>" + codec->Answer(parsed.poses) + "</answer>").status == swerve::v1::EXACT);
  }
  // A file only where its first eight bytes can be a header's length.
  uint64_t header = 0;
  if (size >= sizeof header) std::memcpy(&header, data, sizeof header);
  if (header > 0 && header < size) (void)swerve::CreateCodec("codebook", dir.Write("fuzzed.safetensors", bytes));
  return 0;
}
