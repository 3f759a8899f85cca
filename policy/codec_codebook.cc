#include "policy/codec_codebook.h"

#include <cmath>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status.h"
#include "policy/codec_text.h"
#include "policy/safetensors.h"
#include "policy/trajectory.h"

namespace swerve {
namespace {

constexpr int64_t kFrames = 6, kMaxTokens = 1 << 16;
constexpr absl::string_view kToken = "<action_";

class Codebook final : public Codec {
 public:
  explicit Codebook(std::vector<v1::Pose> motions) : motions_(std::move(motions)) {}
  absl::string_view name() const override { return "codebook"; }
  absl::string_view Ask() const override { return "answer with 8 action tokens, one every 0.5 s."; }

  Parsed Parse(absl::string_view text) const override {
    const codec::Section section = codec::FindAnswer(text);
    std::vector<v1::Pose> poses;
    v1::Pose at = MakePose(0, 0, 0);
    absl::string_view rest = section.body;
    bool whole = true;
    while (poses.size() < 11) {
      const size_t open = rest.find(kToken);
      if (open == absl::string_view::npos) break;
      whole = whole && open == 0;
      rest.remove_prefix(open + kToken.size());
      const size_t digits = std::min(rest.find_first_not_of("0123456789"), rest.size());
      uint32_t token = 0;
      if (digits == 0 || digits > 6 || !absl::SimpleAtoi(rest.substr(0, digits), &token) || token >= motions_.size() ||
          !absl::StartsWith(rest.substr(digits), ">") || (digits > 1 && rest[0] == '0')) {
        whole = false;
        continue;
      }
      rest.remove_prefix(digits + 1);
      poses.push_back(at = Chain(at, motions_[token]));
    }
    const size_t n = poses.size();
    if (n < 6 || !FitHorizon(&poses)) return {};
    const bool exact = section.alone && whole && rest.empty() && (n == 6 || n == 8 || n == 10);
    return {exact ? v1::EXACT : v1::REPAIRED, std::move(poses)};
  }

  // Each step takes the token whose box lies nearest to the target's, seen from where the tokens before it lead.
  std::string Answer(absl::Span<const v1::Pose> poses) const override {
    constexpr double kRadiusSquared = (4.8 * 4.8 + 2.0 * 2.0) / 4;  // m², of the corners of a car about its centre
    std::string out;
    v1::Pose at = MakePose(0, 0, 0);
    for (const v1::Pose& target : poses) {
      const v1::Pose way = Between(at, target);
      size_t best = 0;
      double least = HUGE_VAL;
      for (size_t i = 0; i < motions_.size(); ++i) {
        const v1::Pose& m = motions_[i];
        const double dx = m.x() - way.x(), dy = m.y() - way.y();
        // The mean squared distance of corresponding corners.
        const double d = dx * dx + dy * dy + 2 * kRadiusSquared * (1 - std::cos(m.heading() - way.heading()));
        if (d < least) least = d, best = i;
      }
      at = Chain(at, motions_[best]);
      absl::StrAppend(&out, kToken, best, ">");
    }
    return out;
  }

 private:
  const std::vector<v1::Pose> motions_;  // over the whole step, by token
};

absl::Status Refuse(const std::string& path, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("codebook ", path, ": ", what));
}

}  // namespace

absl::StatusOr<std::shared_ptr<const Codec>> CreateCodebookCodec(const std::string& path) {
  if (path.empty()) return absl::InvalidArgumentError("the codec codebook needs a file: policy.codebook");
  SWERVE_ASSIGN_OR_RETURN(const std::unique_ptr<SafetensorsFile> file, SafetensorsFile::Open(path));
  const auto& tensors = file->tensors();
  auto it = tensors.find("codebook");
  if (it == tensors.end() && tensors.size() == 1) it = tensors.begin();
  if (it == tensors.end()) return Refuse(path, "holds no tensor named codebook");
  const TensorView& view = it->second;
  const std::vector<int64_t>& shape = view.shape;
  const bool corners = shape.size() == 4 && shape[1] == kFrames && shape[2] == 4 && shape[3] == 2;
  const bool poses = shape.size() == 3 && shape[1] == kFrames && shape[2] == 3;
  if (!corners && !poses) return Refuse(path, absl::StrCat("has shape [", absl::StrJoin(shape, ", "), "], not [tokens, 6, 4, 2] or [tokens, 6, 3]"));
  if (shape[0] < 1 || shape[0] > kMaxTokens) return Refuse(path, absl::StrCat("holds ", shape[0], " tokens, not 1 to ", kMaxTokens));
  if (view.dtype == DType::kOther) return Refuse(path, absl::StrCat("has dtype ", view.dtype_name, ", not F32, F16 or BF16"));
  const std::vector<float> values = view.ToFloat();
  const size_t per_frame = corners ? 8 : 3, per_token = kFrames * per_frame;
  std::vector<v1::Pose> motions;
  for (int64_t i = 0; i < shape[0]; ++i) {
    const float* last = values.data() + i * per_token + (kFrames - 1) * per_frame;
    v1::Pose& motion = motions.emplace_back();
    if (poses) {
      motion = MakePose(last[0], last[1], last[2]);
    } else {
      // Rear left to front left is where the box faces.
      const double dx = double{last[0]} - last[6], dy = double{last[1]} - last[7];
      if (!(std::hypot(dx, dy) > 1e-3)) return Refuse(path, absl::StrCat("token ", i, " has a box without a length"));
      motion = MakePose((double{last[0]} + last[2] + last[4] + last[6]) / 4, (double{last[1]} + last[3] + last[5] + last[7]) / 4, std::atan2(dy, dx));
    }
    if (!(std::abs(motion.x()) < 1e3 && std::abs(motion.y()) < 1e3 && std::abs(motion.heading()) < 10)) {
      return Refuse(path, absl::StrCat("the motion of token ", i, " is not finite or of more than 1 km"));
    }
  }
  return std::make_shared<Codebook>(std::move(motions));
}

}  // namespace swerve
