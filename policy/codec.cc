#include "policy/codec.h"

#include <cmath>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "base/status.h"
#include "policy/codec_codebook.h"
#include "policy/codec_json.h"
#include "policy/codec_text.h"
#include "policy/trajectory.h"

namespace swerve {
namespace {

using codec::Fixed;
using codec::Section;
using codec::Tuple;

constexpr size_t kFewest = 6, kMost = 10;  // 3 s and 5 s
constexpr double kStep = 0.5;              // s

bool KnownHorizon(size_t n) { return n == 6 || n == 8 || n == 10; }

Parsed Finish(v1::ParseStatus status, std::vector<v1::Pose> poses) {
  if (!FitHorizon(&poses)) return {};
  return {status, std::move(poses)};
}

class PoseText final : public Codec {
 public:
  absl::string_view name() const override { return "pose3_text"; }
  absl::string_view Ask() const override { return ""; }

  Parsed Parse(absl::string_view text) const override {
    const Section section = codec::FindAnswer(text);
    std::vector<Tuple> tuples;
    if (section.tagged && section.alone && codec::StrictTuples(section.body, {}, &tuples) && tuples.size() == kPoses) {
      return Finish(v1::EXACT, PosesOf(tuples));
    }
    tuples = codec::LooseTuples(section.body, 3, kPoses);
    return tuples.size() == kPoses ? Finish(v1::REPAIRED, PosesOf(tuples)) : Parsed{};
  }

  std::string Answer(absl::Span<const v1::Pose> poses) const override {
    return absl::StrJoin(poses, ",", [](std::string* out, const v1::Pose& p) {
      absl::StrAppend(out, "[", Fixed(p.x(), 1), ",", Fixed(p.y(), 1), ",", Fixed(p.heading(), 2), "]");
    });
  }

 private:
  static std::vector<v1::Pose> PosesOf(const std::vector<Tuple>& tuples) {
    std::vector<v1::Pose> poses;
    for (const Tuple& t : tuples) poses.push_back(MakePose(t[0], t[1], t[2]));
    return poses;
  }
};

class XyText final : public Codec {
 public:
  absl::string_view name() const override { return "xy_text"; }
  absl::string_view Ask() const override { return "answer with 8 points [x, y], one every 0.5 s, x forward and y left in metres."; }

  Parsed Parse(absl::string_view text) const override {
    const Section section = codec::FindAnswer(text);
    std::vector<Tuple> tuples;
    if (section.alone && codec::StrictTuples(section.body, {.values = 2, .spaces = true}, &tuples) && KnownHorizon(tuples.size())) {
      return Finish(v1::EXACT, PosesOf(tuples));
    }
    tuples = codec::LooseTuples(section.body, 2, kMost);
    return tuples.size() >= kFewest ? Finish(v1::REPAIRED, PosesOf(tuples)) : Parsed{};
  }

  std::string Answer(absl::Span<const v1::Pose> poses) const override {
    return absl::StrJoin(poses, ", ", [](std::string* out, const v1::Pose& p) { absl::StrAppend(out, "[", Fixed(p.x(), 2), ", ", Fixed(p.y(), 2), "]"); });
  }

 private:
  static std::vector<v1::Pose> PosesOf(const std::vector<Tuple>& tuples) {
    std::vector<std::array<double, 2>> points;
    for (const Tuple& t : tuples) points.push_back({t[0], t[1]});
    return PosesAlong(points);
  }
};

// OpenDriveVLA's form and frame (spec systems.md 1.3): x right, y front.
class XyParenthesised final : public Codec {
 public:
  absl::string_view name() const override { return "xy_parenthesised"; }
  absl::string_view Ask() const override { return "answer with 6 points [(x,y),...], one every 0.5 s, x right and y front in metres."; }

  Parsed Parse(absl::string_view text) const override {
    const Section section = codec::FindAnswer(text);
    absl::string_view body = section.body;
    const bool begun = absl::ConsumePrefix(&body, "<traj_start>"), ended = absl::ConsumeSuffix(&body, "<traj_end>");
    std::vector<Tuple> tuples;
    absl::string_view list = body;
    if (section.alone && begun == ended && absl::ConsumePrefix(&list, "[") && absl::ConsumeSuffix(&list, "]") &&
        codec::StrictTuples(list, {'(', ')', 2, true}, &tuples) && tuples.size() == kFewest) {
      return Finish(v1::EXACT, PosesOf(tuples));
    }
    tuples = codec::LooseTuples(body, 2, kMost);
    if (tuples.empty()) return {};
    while (tuples.size() < kFewest) tuples.push_back(tuples.back());
    return Finish(v1::REPAIRED, PosesOf(tuples));
  }

  std::string Answer(absl::Span<const v1::Pose> poses) const override {
    return absl::StrCat("[", absl::StrJoin(poses.subspan(0, kFewest), ",", [](std::string* out, const v1::Pose& p) {
      absl::StrAppend(out, "(", Fixed(-p.y(), 2), ",", Fixed(p.x(), 2), ")");
    }), "]");
  }

 private:
  static std::vector<v1::Pose> PosesOf(const std::vector<Tuple>& tuples) {
    std::vector<std::array<double, 2>> points;
    for (const Tuple& t : tuples) points.push_back({t[1], -t[0]});
    return PosesAlong(points);
  }
};

// OpenEMMA's form (spec systems.md 1.5): what is held over each step, integrated along arcs. Curvature is not scaled.
class SpeedCurvature final : public Codec {
 public:
  absl::string_view name() const override { return "speed_curvature"; }
  absl::string_view Ask() const override { return "answer with 8 pairs [(speed, curvature), ...], one every 0.5 s, in m/s and 1/m, left is positive."; }

  Parsed Parse(absl::string_view text) const override {
    const Section section = codec::FindAnswer(text);
    std::vector<Tuple> tuples;
    absl::string_view list = section.body;
    if (section.alone && absl::ConsumePrefix(&list, "[") && absl::ConsumeSuffix(&list, "]") &&
        codec::StrictTuples(list, {'(', ')', 2, true}, &tuples) && KnownHorizon(tuples.size())) {
      return Finish(v1::EXACT, PosesOf(tuples));
    }
    tuples = codec::LooseTuples(section.body, 2, kMost);
    return tuples.size() >= kFewest ? Finish(v1::REPAIRED, PosesOf(tuples)) : Parsed{};
  }

  // Follows the poses with what the text will say, so that rounding does not add up.
  std::string Answer(absl::Span<const v1::Pose> poses) const override {
    constexpr double kSharpest = 0.5;  // 1/m; no car turns more sharply
    v1::Pose at = MakePose(0, 0, 0);
    std::string out = "[";
    for (const v1::Pose& target : poses) {
      const v1::Pose way = Between(at, target);
      const double sign = way.x() < 0 ? -1 : 1;
      const double chord = std::hypot(way.x(), way.y());
      double turn = 0;
      // Half way between the arc that ends at the point and the turn that ends in the heading: errors of both vanish
      // within two steps.
      if (chord > 0.02) turn = (way.heading() + 2 * std::atan2(sign * way.y(), sign * way.x())) / 2;
      const double length = std::abs(turn) < 1e-6 ? chord : chord * (turn / 2) / std::sin(turn / 2);
      double speed = Round(sign * length / kStep, 2);
      const double curvature = speed == 0 ? 0 : Round(std::clamp(turn / (speed * kStep), -kSharpest, kSharpest), 4);
      at = Chain(at, ArcMotion(speed * kStep, curvature * speed * kStep));
      absl::StrAppend(&out, out.size() > 1 ? ", (" : "(", Fixed(speed, 2), ", ", Fixed(curvature, 4), ")");
    }
    return out + "]";
  }

 private:
  static double Round(double value, int decimals) {
    const double unit = std::pow(10.0, decimals);
    return std::round(value * unit) / unit;
  }
  static std::vector<v1::Pose> PosesOf(const std::vector<Tuple>& tuples) {
    std::vector<v1::Pose> poses;
    v1::Pose at = MakePose(0, 0, 0);
    for (const Tuple& t : tuples) poses.push_back(at = Chain(at, ArcMotion(t[0] * kStep, t[1] * t[0] * kStep)));
    return poses;
  }
};

}  // namespace

void Decode(const Codec& codec, v1::Response* response) {
  Parsed parsed = codec.Parse(response->text());
  response->set_parse(parsed.status);
  response->clear_poses();
  for (v1::Pose& pose : parsed.poses) *response->add_poses() = std::move(pose);
}

std::vector<std::string> CodecNames() { return {"pose3_text", "xy_text", "xy_parenthesised", "json_traj", "codebook", "speed_curvature"}; }

const Codec& PoseTextCodec() {
  static const PoseText codec;
  return codec;
}

absl::StatusOr<std::shared_ptr<const Codec>> CreateCodec(absl::string_view name, const std::string& codebook) {
  if (name == "codebook") return CreateCodebookCodec(codebook);
  if (!codebook.empty()) return absl::InvalidArgumentError(absl::StrCat("a codebook is of the codec codebook alone, not of ", name));
  if (name == "pose3_text") return std::make_shared<PoseText>();
  if (name == "xy_text") return std::make_shared<XyText>();
  if (name == "xy_parenthesised") return std::make_shared<XyParenthesised>();
  if (name == "json_traj") return CreateJsonCodec();
  if (name == "speed_curvature") return std::make_shared<SpeedCurvature>();
  return absl::InvalidArgumentError(absl::StrCat("unknown codec '", name, "'; known: ", absl::StrJoin(CodecNames(), ", ")));
}

}  // namespace swerve
