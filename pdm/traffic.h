// Reactive traffic of EPDMS (spec: PDM score, Appendix B): vehicles follow their lane by the Intelligent Driver Model,
// answering to the simulated ego and to each other; all other objects replay the log. What the ego does changes what it
// meets, so every candidate is scored in a future of its own. Immutable and thread-safe once built.
#ifndef SWERVE_PDM_TRAFFIC_H_
#define SWERVE_PDM_TRAFFIC_H_

#include <memory>
#include <optional>
#include <vector>

#include "absl/types/span.h"
#include "base/status.h"
#include "pdm/occupancy.h"
#include "pdm/planner.h"
#include "pdm/prepared_scene.h"
#include "pdm/score_v2.h"
#include "swerve/v1/scene.pb.h"

namespace swerve::pdm {

class ReactiveTraffic {
 public:
  // From Scene.ego, Scene.map and resolved_v2.agents. INVALID_ARGUMENT: one of them is missing or unusable.
  static absl::StatusOr<ReactiveTraffic> Create(const v1::Scene& scene);

  // The 41 samples of a future in which the ego drives `ego` (local frame). Objects that overlap the ego at t = 0 stay.
  Observation React(const States& ego) const;

 private:
  // A vehicle of t = 0.
  struct Vehicle {
    int object = 0;  // in logged_
    Box box;         // as logged
    Vec2 velocity;
    int driver = -1;      // index in drivers_; -1: does not drive
    bool stands = false;  // kept at its pose as long as no driving vehicle touches it
  };
  // A vehicle snapped to its lane.
  struct Driver {
    std::shared_ptr<const PosePath> path;
    double arc = 0, speed = 0, target = 0;
    Box box;  // on the path
  };
  class Rollout;

  std::vector<Vehicle> vehicles_;
  std::vector<Driver> drivers_;
  Observation logged_{kSamples};  // what replays, and the vehicles at t = 0
};

// A scene whose candidates are scored in reactive traffic.
class ReactiveScene {
 public:
  // `prepared`: of the same scene, by Rules::kV2. Errors as ReactiveTraffic::Create.
  static absl::StatusOr<std::shared_ptr<const ReactiveScene>> Create(const v1::Scene& scene,
                                                                     std::shared_ptr<const PreparedScene> prepared);

  // As ScoreTrajectoryV2. The reference is scored in the candidate's traffic, the human in its own.
  ScoreV2 Score(absl::Span<const Pose2> poses, const PreviousPlan* previous = nullptr) const;

 private:
  ReactiveScene(std::shared_ptr<const PreparedScene> prepared, ReactiveTraffic traffic)
      : prepared_(std::move(prepared)), traffic_(std::move(traffic)) {}

  std::shared_ptr<const PreparedScene> prepared_;
  ReactiveTraffic traffic_;
  std::optional<Metrics> human_;
};

}  // namespace swerve::pdm

#endif  // SWERVE_PDM_TRAFFIC_H_
