#include "pdm/best_plan.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "pdm/planner.h"
#include "pdm/score.h"

namespace swerve::pdm {
namespace {

constexpr double kFine = 0.1;          // s, integration of speed profiles
constexpr int kFineSteps = 40;
constexpr double kLateralAcc = 3.0;    // m/s^2 in bends
constexpr double kYawRate = 0.75;      // rad/s, below the comfort limit
constexpr double kBendBraking = 2.0;   // m/s^2 towards a bend
constexpr double kJerk = 4.0;          // m/s^3 of the profiles
constexpr double kUnknownLimit = 15.0;
constexpr double kBrakingFails = 0.8;  // PDMS below which steering round is looked at

struct SpeedProfile {
  double start = 0, accel = 0, target = 0;  // from `start` s, m/s^2, until this speed
  double again = 99, recover = 0;           // from `again` s on, back to cruising speed at this acceleration
};
struct LateralProfile {
  double to = 0, reach = 20;              // m left of the centreline, m of road to get there
  double hold = 1e9, back = 20;           // m held, m of road to return to 0
};

// Smooth step with slope `m0` at 0: value 0 at u <= 0, 1 at u >= 1.
double Blend(double from, double slope, double to, double s, double length) {
  if (s >= length) return to;
  const double u = s / length, u3 = u * u * u;
  const double rise = u3 * (10 + u * (-15 + 6 * u));
  const double kick = u - 6 * u3 + 8 * u3 * u - 3 * u3 * u * u;  // slope 1 at 0, flat otherwise
  return from + (to - from) * rise + slope * length * kick;
}

struct Plan {
  std::vector<Pose2> poses;
  double pdms = 0, cost = 0, robust = 0;
};

class Search {
 public:
  Search(const PreparedScene& scene, const v1::Scene& proto, const BestPlanOptions& options = {})
      : scene_(scene), options_(options), path_(Centerline(proto, scene.origin()), 0) {
    const EgoRow& ego = scene.ego();
    const auto projection = path_.line().Project({ego.x, ego.y});
    s0_ = projection.arc;
    const Pose2 foot = At(s0_);
    d0_ = Cross(Direction(foot.heading), Vec2{ego.x - foot.x, ego.y - foot.y});
    slope0_ = std::tan(std::clamp(WrapAngle(ego.heading - foot.heading), -0.5, 0.5));
    v0_ = std::max(0.0, ego.vx);
    limit_ = kUnknownLimit;
    double best = 1e9;
    for (const v1::Lane& lane : proto.map().lanes()) {
      if (!lane.has_speed_limit() || std::find(proto.resolved_v1().route_lane_ids().begin(), proto.resolved_v1().route_lane_ids().end(), lane.id()) == proto.resolved_v1().route_lane_ids().end()) continue;
      for (const v1::Pose& p : lane.baseline()) {
        const double d = std::hypot(p.x() - scene.origin().x, p.y() - scene.origin().y);
        if (d < best) best = d, limit_ = lane.speed_limit();
      }
    }
    cruise_ = std::max(v0_, limit_);
    LimitByBends();
  }

  Plan Run() {
    std::vector<Plan> plans;
    const std::vector<SpeedProfile> speeds = Speeds();
    for (double reach : {18.0, 30.0}) {
      for (const SpeedProfile& speed : speeds) Try({.to = 0, .reach = reach}, speed, &plans);
      if (reach < 20 && std::abs(d0_) < 0.2 && std::abs(slope0_) < 0.01) break;
    }
    // Braking is what a driver does first; steering round is for what stands in the way, or when braking is too late.
    if (options_.go_around || BestPdms(plans) < kBrakingFails) Sidestep(&plans);
    return Choose(&plans);
  }

  std::vector<Pose2> Naive(bool straight) const {
    std::vector<Pose2> poses;
    for (int k = 1; k <= kPoses; ++k) {
      if (straight) {
        poses.push_back({0.5 * k * v0_, 0, 0});
      } else {
        poses.push_back(ToEgoFrame(s0_ + 0.5 * k * v0_, d0_, 0));
      }
    }
    return poses;
  }

 private:
  static std::vector<Pose2> Centerline(const v1::Scene& proto, Vec2 origin) {
    std::vector<Pose2> out;
    for (const v1::Pose& p : proto.resolved_v1().centerline()) out.push_back({p.x() - origin.x, p.y() - origin.y, p.heading()});
    return out;
  }

  Pose2 At(double s) const {
    Pose2 p = path_.At(s);
    const double beyond = s - path_.line().length();
    if (beyond > 0) p.x += beyond * std::cos(p.heading), p.y += beyond * std::sin(p.heading);
    return p;
  }

  Pose2 ToEgoFrame(double s, double d, double slope) const {
    const Pose2 foot = At(s);
    const Vec2 n = Direction(foot.heading + M_PI / 2);
    const Vec2 p = scene_.ToEgo({foot.x + d * n.x, foot.y + d * n.y});
    return {p.x, p.y, WrapAngle(foot.heading + std::atan(slope) - scene_.ego().heading)};
  }

  // Speed allowed every metre ahead, so that bends are entered slowly enough.
  void LimitByBends() {
    const int n = 1 + static_cast<int>(kFine * kFineSteps * cruise_) + 20;
    ceiling_.assign(n, 1e9);
    for (int i = 0; i < n; ++i) {
      const double turn = std::abs(WrapAngle(At(s0_ + i + 2).heading - At(s0_ + i - 2).heading)) / 4;
      if (turn > 1e-3) ceiling_[i] = std::min(std::sqrt(kLateralAcc / turn), kYawRate / turn);
    }
    for (int i = n - 2; i >= 0; --i) {
      ceiling_[i] = std::min(ceiling_[i], std::sqrt(ceiling_[i + 1] * ceiling_[i + 1] + 2 * kBendBraking));
    }
  }

  double Ceiling(double travelled) const {
    return ceiling_[std::clamp<int>(static_cast<int>(travelled), 0, static_cast<int>(ceiling_.size()) - 1)];
  }

  std::vector<SpeedProfile> Speeds() const {
    std::vector<SpeedProfile> out{{0, 0, v0_}};
    if (v0_ < limit_ - 0.2) {
      for (double a : {0.5, 1.0, 1.5, 2.0}) out.push_back({0, a, limit_});
      out.push_back({0, 1.0, 0.5 * (v0_ + limit_)});
    }
    for (double share : {0.85, 0.7, 0.5, 0.3, 0.0}) {
      for (double b : {0.7, 1.3, 2.0, 2.8, 3.8}) out.push_back({0, -b, share * v0_});
    }
    for (double start : {0.6, 1.2}) {
      for (double b : {1.5, 2.8}) out.push_back({start, -b, 0});
    }
    for (double until : {1.0, 1.6, 2.3}) {
      for (double b : {1.2, 2.2, 3.4}) out.push_back({0, -b, 0, until, 1.5});
    }
    return out;
  }

  // Travelled metres at 0, 0.1, … 4 s.
  std::array<double, kFineSteps + 1> Roll(const SpeedProfile& profile) const {
    std::array<double, kFineSteps + 1> s;
    double x = 0, v = v0_, a = std::clamp(scene_.ego().ax, -3.0, 2.0);
    s[0] = 0;
    for (int k = 0; k < kFineSteps; ++k) {
      const double t = k * kFine;
      double want = 0, target = profile.target;
      if (t >= profile.again) {
        want = profile.recover, target = cruise_;
      } else if (t >= profile.start) {
        want = profile.accel;
      }
      // Ease into the target speed instead of hitting it.
      if (want > 0) want = std::clamp((target - v) / 0.6, 0.0, want);
      if (want < 0) want = std::clamp((target - v) / 0.6, want, 0.0);
      const double cap = Ceiling(x);
      if (v + want * kFine > cap) want = std::max((cap - v) / 0.4, -3.5);
      a += std::clamp(want - a, -kJerk * kFine, kJerk * kFine);
      const double next = std::max(0.0, v + a * kFine);
      x += 0.5 * (v + next) * kFine;
      v = next;
      if (v == 0) a = std::max(a, 0.0);
      s[k + 1] = x;
    }
    return s;
  }

  void Lateral(const LateralProfile& p, double s, double* d, double* slope) const {
    auto value = [&](double u) {
      double y = Blend(d0_, slope0_, p.to, u, p.reach);
      const double gone = u - p.reach - p.hold;
      if (gone > 0) y = Blend(p.to, 0, 0, gone, p.back);
      return y;
    };
    *d = value(s);
    *slope = (value(s + 0.1) - value(std::max(0.0, s - 0.1))) / (s < 0.1 ? s + 0.1 : 0.2);
  }

  std::vector<Pose2> Make(const LateralProfile& lateral, const SpeedProfile& speed) const {
    const auto s = Roll(speed);
    std::vector<Pose2> poses;
    for (int k = 1; k <= kPoses; ++k) {
      double d, slope;
      Lateral(lateral, s[5 * k], &d, &slope);
      poses.push_back(ToEgoFrame(s0_ + s[5 * k], d, slope));
    }
    return poses;
  }

  double Pdms(const std::vector<Pose2>& poses) const { return ScoreTrajectory(scene_, poses, false).scores.pdms(); }

  void Try(const LateralProfile& lateral, const SpeedProfile& speed, std::vector<Plan>* plans) const {
    Plan plan{Make(lateral, speed)};
    plan.pdms = Pdms(plan.poses);
    if (plan.pdms <= 0) return;
    // Small preferences among equals: no detours, no needless braking, no hurry.
    plan.cost = 0.010 * std::abs(lateral.to) + 0.004 * std::abs(speed.accel) + (speed.start > 0 ? 0.006 : 0.0) +
                (speed.again < 9 ? 0.012 : 0.0) + (lateral.hold < 1e6 ? 0.004 : 0.0);
    if (options_.go_around) {
      const Pose2& end = plan.poses.back();
      plan.cost += 0.12 * std::max(0.0, 1 - std::hypot(end.x, end.y) / std::max(4 * v0_, 1.0));
    }
    plans->push_back(std::move(plan));
  }

  static double BestPdms(const std::vector<Plan>& plans) {
    double best = 0;
    for (const Plan& p : plans) best = std::max(best, p.pdms);
    return best;
  }

  // Round an obstacle, on either side.
  void Sidestep(std::vector<Plan>* plans) const {
    const std::vector<SpeedProfile> speeds{{0, 0, v0_}, {0, 1.0, limit_}, {0, -0.7, 0.8 * v0_}, {0, -1.5, 0.6 * v0_}, {0, -2.8, 0.5 * v0_}};
    for (double to : {-3.6, -2.9, -2.3, -1.7, -1.1, -0.6, 0.6, 1.1, 1.7, 2.3, 2.9, 3.6}) {
      for (double seconds : {1.3, 1.9, 2.7}) {
        const double reach = std::max(7.0, seconds * v0_);
        for (const SpeedProfile& speed : speeds) {
          const size_t before = plans->size();
          Try({.to = to, .reach = reach}, speed, plans);
          // Where shifting for good works, returning may too; where it fails it fails on the way.
          if (plans->size() > before && v0_ > 3) Try({.to = to, .reach = reach, .hold = 12, .back = std::max(10.0, 2.2 * v0_)}, speed, plans);
        }
      }
    }
  }

  // Mean score of the plan driven a little wrong, and as its rounded text says.
  double Robust(const std::vector<Pose2>& poses) const {
    double sum = 0;
    for (int variant = 0; variant < 5; ++variant) {
      std::vector<Pose2> p = poses;
      for (int k = 0; k < kPoses; ++k) {
        const double grown = std::min(1.0, 0.5 * (k + 1));
        const Vec2 n = Direction(p[k].heading + M_PI / 2);
        const double side = variant == 0 ? 0.35 * grown : variant == 1 ? -0.35 * grown : 0.0;
        const double stretch = variant == 2 ? 1.06 : variant == 3 ? 0.94 : 1.0;
        p[k] = {stretch * p[k].x + side * n.x, stretch * p[k].y + side * n.y, p[k].heading};
        if (variant == 4) p[k] = {std::round(p[k].x * 10) / 10, std::round(p[k].y * 10) / 10, std::round(p[k].heading * 100) / 100};
      }
      sum += (variant == 4 ? 2 : 1) * Pdms(p);
    }
    return sum / 6;
  }

  Plan Choose(std::vector<Plan>* plans) const {
    if (plans->empty()) return Plan{Make({}, {0, -3, 0})};
    auto value = [](const Plan& p) { return p.pdms - p.cost; };
    std::sort(plans->begin(), plans->end(), [&](const Plan& a, const Plan& b) { return value(a) > value(b); });
    const size_t finalists = std::min<size_t>(plans->size(), 14);
    size_t best = 0;
    double top = -1;
    for (size_t i = 0; i < finalists; ++i) {
      if (value((*plans)[i]) + 0.5 <= top) break;  // cannot win any more
      (*plans)[i].robust = Robust((*plans)[i].poses);
      const double total = value((*plans)[i]) + 0.5 * (*plans)[i].robust;
      if (total > top + 1e-9) top = total, best = i;
    }
    return (*plans)[best];
  }

  const PreparedScene& scene_;
  const BestPlanOptions options_;
  PosePath path_;
  double s0_ = 0, d0_ = 0, slope0_ = 0, v0_ = 0, limit_ = 0, cruise_ = 0;
  std::vector<double> ceiling_;  // m/s per metre ahead
};

absl::Status CheckCenterline(const v1::Scene& scene) {
  if (scene.resolved_v1().centerline_size() >= 2) return absl::OkStatus();
  return absl::InvalidArgumentError("scene.resolved_v1.centerline: needs two points; run pdm::Resolve first");
}

}  // namespace

absl::StatusOr<std::vector<Pose2>> BestPlan(const v1::Scene& scene, const BestPlanOptions& options,
                                            BestPlanQuality* quality) {
  SWERVE_RETURN_IF_ERROR(CheckCenterline(scene));
  SWERVE_ASSIGN_OR_RETURN(auto prepared, Prepare(scene));
  Plan plan = Search(*prepared, scene, options).Run();
  if (quality != nullptr) *quality = {plan.pdms, plan.robust};
  return plan.poses;
}

absl::StatusOr<std::vector<Pose2>> BestPlan(const v1::Scene& scene, double* pdms) {
  BestPlanQuality quality;
  SWERVE_ASSIGN_OR_RETURN(std::vector<Pose2> poses, BestPlan(scene, {}, &quality));
  if (pdms != nullptr) *pdms = quality.pdms;
  return poses;
}

absl::StatusOr<std::vector<Pose2>> NaivePlan(const v1::Scene& scene, bool straight) {
  SWERVE_RETURN_IF_ERROR(CheckCenterline(scene));
  SWERVE_ASSIGN_OR_RETURN(auto prepared, Prepare(scene));
  return Search(*prepared, scene).Naive(straight);
}

}  // namespace swerve::pdm
