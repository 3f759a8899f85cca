#include "evaluation/open_loop.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <numbers>

#include "absl/strings/str_cat.h"
#include "evaluation/bev_occupancy.h"
#include "scenes/view.h"

namespace swerve {
namespace {

std::vector<v1::Pose> PosesOf(const google::protobuf::RepeatedPtrField<v1::Pose>& poses) {
  return {poses.begin(), poses.end()};
}

bool Complete(absl::Span<const v1::Pose> plan) {
  return plan.size() == kOpenLoopSteps && std::all_of(plan.begin(), plan.end(), [](const v1::Pose& p) {
           return std::isfinite(p.x()) && std::isfinite(p.y()) && std::isfinite(p.heading());
         });
}

// Where the benchmarks' reference point is when the rear axle is at `p`, in their frame of the present.
Vec2 Reference(const v1::Pose& p) {
  return {p.x() + kLidarAheadOfRearAxle * (std::cos(p.heading()) - 1),
          p.y() + kLidarAheadOfRearAxle * std::sin(p.heading())};
}

void MarkHits(const SceneView& view, absl::Span<const v1::Pose> plan, absl::Span<const v1::Pose> gt, OpenLoopScene* out) {
  for (int step = 0; step < kOpenLoopSteps; ++step) {
    BevOccupancy vehicles, all;
    for (const ViewObject& o : view.objects()) {
      const bool vehicle = o.type == v1::VEHICLE || o.type == v1::BICYCLE;
      const std::optional<ObjectState>& s = o.at(step + 1);
      if ((!vehicle && o.type != v1::PEDESTRIAN) || !s) continue;
      const auto box = BoxCorners(s->x - kLidarAheadOfRearAxle, s->y, s->heading, o.length, o.width);
      if (vehicle) vehicles.FillBox(box);
      all.FillBox(box);
    }
    const Vec2 planned = Reference(plan[step]), driven = Reference(gt[step]);
    out->hit_uniad[step] = vehicles.EgoHits(planned) && !vehicles.EgoHits(driven);
    out->hit_st_p3[step] = all.EgoHits(planned) && !all.EgoHits(driven);
  }
}

double MeanOfPublished(const std::array<double, kOpenLoopHorizons>& at) { return (at[0] + at[1] + at[2]) / 3; }

// Adds one scene's judgement.
void Add(bool speed, bool path, PlanningAccuracy* sum) {
  sum->speed += speed;
  sum->path += path;
  sum->joint += speed && path;
}

void Divide(PlanningAccuracy* sum, int n) {
  for (double* v : {&sum->speed, &sum->path, &sum->joint}) *v /= n;
}

}  // namespace

Horizons AtTheTime(const PerStep<double>& steps) {
  Horizons h;
  for (int i = 0; i < kOpenLoopHorizons; ++i) h.at[i] = steps[2 * i + 1];
  h.mean = MeanOfPublished(h.at);
  return h;
}

Horizons UpToTheTime(const PerStep<double>& steps) {
  Horizons h;
  double sum = 0;
  for (int i = 0; i < kOpenLoopSteps; ++i) {
    sum += steps[i];
    if (i % 2 == 1) h.at[i / 2] = sum / (i + 1);
  }
  h.mean = MeanOfPublished(h.at);
  return h;
}

MetaAction ImpromptuAction(absl::Span<const v1::Pose> plan) {
  if (plan.size() < 5) return {"stop", "keep"};
  // Step i goes from point i to point i + 1; point 0 is the origin.
  const auto point = [&](int i) { return i == 0 ? Vec2{0, 0} : Vec2{plan[i - 1].x(), plan[i - 1].y()}; };
  const auto step = [&](int i) { return Vec2{point(i + 1).x - point(i).x, point(i + 1).y - point(i).y}; };
  const auto speed = [&](int i) { return std::hypot(step(i).x, step(i).y) / 0.5; };
  MetaAction out;
  const double change = speed(4) - speed(0);
  out.longitudinal = speed(0) < 2 ? "stop" : change >= 3 ? "accelerate" : change <= -3 ? "decelerate" : "maintain";

  const Vec2 first = step(0), last = step(2), at = point(3);
  const double length = std::hypot(first.x, first.y);
  const double off = length > 0 ? std::abs(first.x * at.y - first.y * at.x) / length : 0;
  const double turn = std::atan2(first.x * last.y - first.y * last.x, first.x * last.x + first.y * last.y);
  const char* side = turn < 0 ? "right" : "left";
  out.lateral = off < 1 ? "keep" : absl::StrCat(std::abs(turn) >= 5 * std::numbers::pi / 180 ? "turn " : "change ", side);
  return out;
}

absl::StatusOr<OpenLoopScene> MeasureOpenLoop(const v1::Scene& scene, absl::Span<const v1::Pose> plan) {
  const std::vector<v1::Pose> gt = PosesOf(scene.gt());
  if (!Complete(gt)) {
    return absl::InvalidArgumentError(absl::StrCat("scene ", scene.id(), " has ", gt.size(),
                                                   " ground-truth poses or one that is not finite; open-loop metrics need ",
                                                   kOpenLoopSteps));
  }
  OpenLoopScene out;
  out.family = scene.family();
  out.answered = Complete(plan);
  if (!out.answered) return out;
  for (int i = 0; i < kOpenLoopSteps; ++i) out.l2[i] = std::hypot(plan[i].x() - gt[i].x(), plan[i].y() - gt[i].y());
  MarkHits(SceneView(scene), plan, gt, &out);
  const MetaAction planned = MetaActionOf(scene, plan), driven = MetaActionOf(scene, gt);
  out.swerve_speed_ok = planned.longitudinal == driven.longitudinal;
  out.swerve_path_ok = planned.lateral == driven.lateral;
  const MetaAction planned_i = ImpromptuAction(plan), driven_i = ImpromptuAction(gt);
  out.impromptu_speed_ok = planned_i.longitudinal == driven_i.longitudinal;
  out.impromptu_path_ok = planned_i.lateral == driven_i.lateral;
  return out;
}

AnswerSink MeasureGreedyAnswers(const SceneStore& store, std::vector<OpenLoopScene>* out) {
  return [&store, out](const EvalAnswer& answer) -> absl::Status {
    if (answer.sample != 0) return absl::OkStatus();
    SWERVE_ASSIGN_OR_RETURN(const std::shared_ptr<const v1::Scene> scene, store.Get(answer.scene_id));
    SWERVE_ASSIGN_OR_RETURN(OpenLoopScene measured, MeasureOpenLoop(*scene, PosesOf(answer.response.poses())));
    out->push_back(std::move(measured));
    return absl::OkStatus();
  };
}

OpenLoopSummary SummariseOpenLoop(absl::Span<const OpenLoopScene> scenes) {
  OpenLoopSummary s;
  PerStep<double> l2{}, hit_uniad{}, hit_st_p3{};
  for (const OpenLoopScene& scene : scenes) {
    ++s.scenes;
    s.answered += scene.answered;
    s.miss_nuscenes += !scene.answered || *std::max_element(scene.l2.begin(), scene.l2.end()) > kMissDistance;
    s.miss_argoverse += !scene.answered || scene.l2.back() > kMissDistance;
    Add(scene.swerve_speed_ok, scene.swerve_path_ok, &s.planning_swerve);
    Add(scene.impromptu_speed_ok, scene.impromptu_path_ok, &s.planning_impromptu);
    if (!scene.answered) continue;
    for (int i = 0; i < kOpenLoopSteps; ++i) {
      l2[i] += scene.l2[i];
      hit_uniad[i] += scene.hit_uniad[i];
      hit_st_p3[i] += scene.hit_st_p3[i];
    }
  }
  for (PerStep<double>* sum : {&l2, &hit_uniad, &hit_st_p3}) {
    for (double& v : *sum) v = s.answered > 0 ? v / s.answered : std::numeric_limits<double>::quiet_NaN();
  }
  s.l2_uniad = AtTheTime(l2);
  s.l2_st_p3 = UpToTheTime(l2);
  s.collision_uniad = AtTheTime(hit_uniad);
  s.collision_st_p3 = UpToTheTime(hit_st_p3);
  s.ade = s.l2_st_p3.at.back();
  s.fde = l2.back();
  if (s.scenes == 0) return s;
  s.miss_nuscenes /= s.scenes;
  s.miss_argoverse /= s.scenes;
  Divide(&s.planning_swerve, s.scenes);
  Divide(&s.planning_impromptu, s.scenes);
  return s;
}

OpenLoopResult SummariseOpenLoopByFamily(absl::Span<const OpenLoopScene> scenes) {
  std::map<std::string, std::vector<OpenLoopScene>> by_family;
  for (const OpenLoopScene& scene : scenes) by_family[scene.family].push_back(scene);
  OpenLoopResult result;
  result.overall = SummariseOpenLoop(scenes);
  for (const auto& [family, members] : by_family) result.families[family] = SummariseOpenLoop(members);
  return result;
}

}  // namespace swerve
