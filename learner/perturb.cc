#include "learner/perturb.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"

namespace swerve {
namespace {

constexpr int kPlanPoses = 8;
constexpr double kStep = 0.5;  // s
constexpr double kEnd = 4.0;   // s

v1::Pose MakePose(double x, double y, double heading) {
  v1::Pose pose;
  pose.set_x(std::round(x * 10) / 10);
  pose.set_y(std::round(y * 10) / 10);
  pose.set_heading(std::round(std::remainder(heading, 2 * M_PI) * 100) / 100);
  return pose;
}

// A plan's path by arc length, from the ego's place on; straight beyond the last pose.
class Path {
 public:
  explicit Path(absl::Span<const v1::Pose> plan) {
    points_.push_back({0, 0, 0, 0});
    for (const v1::Pose& p : plan) {
      const double s = points_.back().s + std::hypot(p.x() - points_.back().x, p.y() - points_.back().y);
      points_.push_back({s, p.x(), p.y(), p.heading()});
    }
  }
  // Arc length of pose i (1 … 8), 0 for i = 0.
  double S(size_t i) const { return points_[i].s; }

  v1::Pose At(double s, double offset = 0, double slope = 0) const {
    size_t i = 1;
    while (i + 1 < points_.size() && points_[i].s < s) ++i;
    const Point& a = points_[i - 1];
    const Point& b = points_[i];
    Point p = b;
    if (s > b.s) {
      p.x += (s - b.s) * std::cos(b.heading);
      p.y += (s - b.s) * std::sin(b.heading);
    } else if (b.s - a.s > 1e-6) {
      const double f = (s - a.s) / (b.s - a.s);
      p.x = a.x + f * (b.x - a.x);
      p.y = a.y + f * (b.y - a.y);
      p.heading = a.heading + f * std::remainder(b.heading - a.heading, 2 * M_PI);
    }
    return MakePose(p.x - offset * std::sin(p.heading), p.y + offset * std::cos(p.heading), p.heading + slope);
  }

 private:
  struct Point {
    double s, x, y, heading;
  };
  std::vector<Point> points_;
};

// Distance travelled at `t` that holds `speed` until `brake_at` and then slows by `deceleration` to a stop.
double Braking(double speed, double brake_at, double deceleration, double t) {
  if (t <= brake_at) return speed * t;
  const double braking = std::min(t - brake_at, speed / deceleration);
  return speed * brake_at + speed * braking - 0.5 * deceleration * braking * braking;
}

// The path of `plan`, at distance s(t).
template <typename Distance>
std::vector<v1::Pose> Along(const Path& path, Distance s) {
  std::vector<v1::Pose> out;
  for (int i = 1; i <= kPlanPoses; ++i) out.push_back(path.At(s(i * kStep)));
  return out;
}

// `plan` moved sideways, smoothly, by `offset` at 4 s (left positive).
std::vector<v1::Pose> Shifted(const Path& path, double offset) {
  std::vector<v1::Pose> out;
  for (int i = 1; i <= kPlanPoses; ++i) {
    const double u = i * kStep / kEnd;
    const double ds = std::max(0.3, path.S(i) - path.S(i - 1));
    const double du = kStep / kEnd;
    const double slope = std::atan(offset * (u * u - (u - du) * (u - du)) / ds);
    out.push_back(path.At(path.S(i), offset * u * u, slope));
  }
  return out;
}

double Sign(Random& random) { return random.Chance(0.5) ? 1 : -1; }

std::vector<v1::Pose> WrongTurn(const Path& path, absl::Span<const v1::Pose> plan, double speed, Random& random) {
  const double pace = std::max({path.S(8) / kEnd, 0.6 * speed, 3.0});
  double curvature = Sign(random) * random.Uniform(0.02, 0.12);
  // Where a turn is due, most of the wrong ones do not turn enough.
  const double turned = std::remainder(plan[7].heading(), 2 * M_PI);
  if (std::abs(turned) > 0.25 && random.Chance(0.7)) {
    curvature = turned / std::max(path.S(8), 1.0) * random.Uniform(0.0, 0.55);
  }
  std::vector<v1::Pose> out;
  for (int i = 1; i <= kPlanPoses; ++i) {
    const double s = pace * i * kStep;
    const double h = curvature * s;
    out.push_back(std::abs(curvature) < 1e-6 ? MakePose(s, 0, 0)
                                             : MakePose(std::sin(h) / curvature, (1 - std::cos(h)) / curvature, h));
  }
  return out;
}

}  // namespace

std::vector<v1::Pose> MakeMistake(Mistake mistake, absl::Span<const v1::Pose> plan, double speed, Random& random) {
  const Path path(plan);
  switch (mistake) {
    case Mistake::kSpeed: {
      const double pace = random.Chance(0.4) ? random.Uniform(0.5, 0.85) : random.Uniform(1.15, 1.6);
      // A plan that stands still is driven off by adding to it, not by scaling it.
      const double extra = path.S(8) < 4 && pace > 1 ? random.Uniform(1, 4) : 0;
      return Along(path, [&](double t) {
        const size_t i = static_cast<size_t>(t / kStep + 0.5);
        return pace * path.S(i) + extra * t;
      });
    }
    case Mistake::kConstantVelocity: {
      const double v = speed * random.Uniform(0.9, 1.1);
      return Along(Path(std::vector<v1::Pose>(8, MakePose(0, 0, 0))), [&](double t) { return v * t; });
    }
    case Mistake::kDrift:
      return Shifted(path, Sign(random) * random.Uniform(1.2, 4.5));
    case Mistake::kWrongTurn:
      return WrongTurn(path, plan, speed, random);
    case Mistake::kLateBraking: {
      const double brake_at = random.Uniform(1.2, 3.2);
      const double v = std::max(speed, 2.0);
      const double deceleration = random.Uniform(2.5, 6);
      return Along(path, [&](double t) { return Braking(v, brake_at, deceleration, t); });
    }
    case Mistake::kStops: {
      const double v = std::max(speed, path.S(1) / kStep);
      const double brake_at = random.Uniform(0, 1);
      const double deceleration = random.Uniform(1.5, 4.5);
      return Along(path, [&](double t) { return Braking(v, brake_at, deceleration, t); });
    }
    case Mistake::kJitter: {
      const double size = random.Uniform(0.4, 1.5);
      std::vector<v1::Pose> out;
      for (const v1::Pose& p : plan) {
        out.push_back(MakePose(p.x() + size * random.Normal(), p.y() + 0.5 * size * random.Normal(),
                               p.heading() + 0.08 * size * random.Normal()));
      }
      return out;
    }
  }
  return {plan.begin(), plan.end()};
}

std::vector<v1::Pose> OtherPlan(absl::Span<const v1::Pose> plan, double speed, Random& random) {
  const Path path(plan);
  const double kind = random.Uniform();
  if (kind < 0.35) {
    const double pace = random.Uniform(0.35, 1.35);
    return Along(path, [&](double t) {
      // The first second blends from the present pace, so that the speed does not jump.
      const double blend = std::min(1.0, 0.25 + 0.25 * t);
      return path.S(static_cast<size_t>(t / kStep + 0.5)) * (1 + (pace - 1) * blend);
    });
  }
  if (kind < 0.7) return Shifted(path, Sign(random) * random.Uniform(0.6, 3.5));
  const double v = std::max(speed, path.S(1) / kStep);
  const double brake_at = random.Uniform(0, 1.2);
  const double deceleration = random.Uniform(1.0, 4.0);
  return Along(path, [&](double t) { return Braking(v, brake_at, deceleration, t); });
}

std::string MisjudgeThink(const std::string& think, Random& random) {
  std::string out;
  for (size_t i = 0; i < think.size();) {
    if (!absl::ascii_isdigit(think[i])) {
      out.push_back(think[i++]);
      continue;
    }
    size_t end = i;
    int decimals = -1;
    while (end < think.size() &&
           (absl::ascii_isdigit(think[end]) ||
            (decimals < 0 && think[end] == '.' && end + 1 < think.size() && absl::ascii_isdigit(think[end + 1])))) {
      decimals = think[end] == '.' ? 0 : decimals < 0 ? -1 : decimals + 1;
      ++end;
    }
    const std::string number = think.substr(i, end - i);
    if (random.Chance(0.6)) {
      double value = 0;
      (void)absl::SimpleAtod(number, &value);
      const double wrong = value * random.Uniform(0.4, 1.9) + random.Uniform(0, 4);
      out += absl::StrFormat("%.*f", std::max(0, decimals), wrong);
    } else {
      out += number;
    }
    i = end;
  }
  if (random.Chance(0.35)) {
    static constexpr std::array<const char*, 4> kWords = {"accelerate", "decelerate", "maintain", "stop"};
    const char* other = kWords[random.Below(kWords.size())];
    const size_t at = out.rfind("plan ");
    for (const char* word : kWords) {
      const size_t found = out.find(word, at == std::string::npos ? 0 : at);
      if (found == std::string::npos) continue;
      out.replace(found, std::char_traits<char>::length(word), other);
      break;
    }
  }
  if (random.Chance(0.25)) {
    std::vector<std::string> sentences = absl::StrSplit(out, ". ");
    if (sentences.size() > 2) {
      sentences.erase(sentences.begin() + static_cast<std::ptrdiff_t>(random.Below(sentences.size() - 1)));
      out = absl::StrJoin(sentences, ". ");
    }
  }
  return out;
}

std::string BreakFormat(const std::string& response, Random& random) {
  switch (random.Below(3)) {
    case 0: {  // the end is missing
      const size_t from = response.size() / 2;
      return response.substr(0, from + random.Below(std::max<size_t>(1, response.size() - from - 12)));
    }
    case 1:
      return absl::StrReplaceAll(response, {{"</think><answer>", ""}});
    default: {  // one pose too few
      const size_t at = response.rfind(",[");
      return at == std::string::npos ? "" : response.substr(0, at) + "</answer>";
    }
  }
}

}  // namespace swerve
