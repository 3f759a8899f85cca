#include "pdm/tracker.h"

#include <Eigen/Dense>
#include <algorithm>

namespace swerve::pdm {
namespace {

constexpr int kPreview = 10;
constexpr double kJerkPenalty = 1e-4, kCurvatureRatePenalty = 1e-2, kInitialCurvaturePenalty = 1e-10;
constexpr double kStoppingGain = 0.5, kStoppingSpeed = 0.2;
constexpr double kLongitudinalGain = 10.0 / 11.0;

using SpeedMatrix = std::array<std::array<double, kSteps>, kSteps>;

// The least-squares fit of speeds is linear in the displacements along the reference headings: speed = M e. The
// penalty is the one NAVSIM really applies (§5.1, "Trap"), not a penalty on jerk.
SpeedMatrix MakeSpeedMatrix() {
  using Matrix = Eigen::Matrix<long double, kSteps, kSteps>;
  Matrix profile = Matrix::Zero();  // speeds as a function of (v_0, a_0 … a_38)
  for (int i = 0; i < kSteps; ++i) {
    profile(i, 0) = 1;
    for (int j = 0; j < i; ++j) profile(i, 1 + j) = kDt;
  }
  Matrix design = kDt * profile;
  Matrix normal = design.transpose() * design;
  for (int j = 0; j <= 36; ++j) normal(1 + j, 1 + j) += kJerkPenalty;
  normal(38, 38) += kJerkPenalty;
  normal(39, 39) += kJerkPenalty;
  normal(38, 39) -= kJerkPenalty;
  normal(39, 38) -= kJerkPenalty;
  Matrix solution = profile * normal.ldlt().solve(design.transpose());
  SpeedMatrix out;
  for (int i = 0; i < kSteps; ++i) {
    for (int j = 0; j < kSteps; ++j) out[j][i] = static_cast<double>(solution(i, j));  // column after column
  }
  return out;
}

}  // namespace

Tracker::Tracker(const TenHertz& reference) : reference_(reference) {
  for (int i = 0; i < kSteps; ++i) direction_[i] = Direction(reference[i].heading);
  FitSpeed();
  FitCurvature();
}

void Tracker::FitSpeed() {
  static const SpeedMatrix matrix = MakeSpeedMatrix();
  speed_.fill(0);
  for (int j = 0; j < kSteps; ++j) {
    double along = (reference_[j + 1].x - reference_[j].x) * direction_[j].x +
                   (reference_[j + 1].y - reference_[j].y) * direction_[j].y;
    for (int i = 0; i < kSteps; ++i) speed_[i] += matrix[j][i] * along;
  }
}

// In the curvatures themselves the normal equations are a chain: node i has weight (v_i dt)^2, neighbours are coupled
// by lambda/dt^2. Eliminating from the end, each node hands its predecessor a weight and a load; every term is
// positive, so nothing cancels even when all speeds are almost zero.
void Tracker::FitCurvature() {
  constexpr double kCoupling = kCurvatureRatePenalty / (kDt * kDt);
  std::array<double, kSteps> load, inverse;  // inverse of (coupling + weight)
  double weight_next = 0, load_next = 0;
  for (int i = kSteps - 1; i >= 0; --i) {
    double a = speed_[i] * kDt;
    double turn = WrapAngle(reference_[i + 1].heading - reference_[i].heading);
    double weight = a * a, l = a * turn;
    if (i < kSteps - 1) {
      double share = kCoupling * inverse[i + 1];
      weight += weight_next * share;
      l += load_next * share;
    }
    inverse[i] = 1 / (kCoupling + weight);
    load[i] = l;
    weight_next = weight;
    load_next = l;
  }
  curvature_[0] = load[0] / (weight_next + kInitialCurvaturePenalty);
  for (int i = 1; i < kSteps; ++i) curvature_[i] = (kCoupling * curvature_[i - 1] + load[i]) * inverse[i];
}

Command Tracker::At(int k, const EgoRow& row) const {
  double v = row.vx, v_ref = speed_[std::min(k + kPreview, kSteps - 1)];
  if (v_ref <= kStoppingSpeed && v <= kStoppingSpeed) return {-kStoppingGain * (v - v_ref), 0};

  Command out;
  out.acceleration = -kLongitudinalGain * (v - v_ref);
  Vec2 d{row.x - reference_[k].x, row.y - reference_[k].y};
  // Roll the lateral errors forward without steering (lateral, heading) and the response to a unit steering rate.
  double lateral = Cross(direction_[k], d);
  double heading = WrapAngle(row.heading - reference_[k].heading);
  double b_lateral = 0, b_heading = 0, b_steering = 0;
  for (int i = 0; i < kPreview; ++i) {
    double w = (v + i * kDt * out.acceleration) * kDt;
    double curvature = curvature_[std::min(k + i, kSteps - 1)];
    lateral += w * heading;
    heading += w / kWheelBase * row.steering - w * curvature;
    b_lateral += w * b_heading;
    b_heading += w / kWheelBase * b_steering;
    b_steering += kDt;
  }
  heading = WrapAngle(heading);
  out.steering_rate =
      -(b_lateral * lateral + 10 * b_heading * heading) / (b_lateral * b_lateral + 10 * b_heading * b_heading + 1);
  return out;
}

}  // namespace swerve::pdm
