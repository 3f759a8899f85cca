// A scene made ready for scoring: local frame, prepared polygons, the object grid, and the reference trajectory
// already simulated and evaluated. Immutable and thread-safe; share it by shared_ptr, score on any thread.
#ifndef SWERVE_PDM_PREPARED_SCENE_H_
#define SWERVE_PDM_PREPARED_SCENE_H_

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "pdm/evaluate.h"
#include "pdm/occupancy.h"
#include "pdm/simulate.h"
#include "swerve/v1/scene.pb.h"

namespace swerve::pdm {

class PreparedScene {
 public:
  PreparedScene(const PreparedScene&) = delete;
  PreparedScene& operator=(const PreparedScene&) = delete;

  // From Scene.ego and Scene.resolved_v1 (rules v1.1 and v1.0) or resolved_v2, human and ego_past (rules v2).
  // INVALID_ARGUMENT names the field that is missing or unusable.
  static absl::StatusOr<std::shared_ptr<const PreparedScene>> Create(const v1::Scene& scene, Rules rules = Rules::kV1);

  Rules rules() const { return rules_; }
  const std::string& id() const { return id_; }
  Vec2 origin() const { return origin_; }  // global position of the local frame's origin
  int64_t time_us() const { return time_us_; }
  const EgoRow& ego() const { return start_.row; }
  const SimulationStart& start() const { return start_; }
  const DrivableMap& map() const { return map_; }
  const Observation& observation() const { return observation_; }
  const TimeGrid& grid() const { return grid_; }
  const Metrics& reference() const { return reference_; }
  const States& reference_states() const { return reference_states_; }
  const EvaluateOptions& options() const { return options_; }
  // Ego frame at t = 0 to local frame and back.
  Vec2 ToEgo(Vec2 local) const {
    const Vec2 d = local - Vec2{start_.row.x, start_.row.y}, u = start_.direction;
    return {Dot(d, u), Cross(u, d)};
  }
  // v2: metrics of the human's trajectory, of an original scene that has one.
  const std::optional<Metrics>& human() const { return human_; }
  const std::optional<States>& human_states() const { return human_states_; }

 private:
  PreparedScene() = default;
  absl::Status EvaluateReference(const v1::ResolvedScene& resolved);
  absl::Status PrepareV2(const v1::Scene& scene);

  Rules rules_ = Rules::kV1;
  std::string id_;
  Vec2 origin_;
  int64_t time_us_ = 0;
  SimulationStart start_;
  TimeGrid grid_;
  DrivableMap map_;
  Observation observation_;
  Metrics reference_;
  States reference_states_;
  EvaluateOptions options_;
  RedLights red_lights_;
  std::optional<Comfort> comfort_;
  std::optional<Metrics> human_;
  std::optional<States> human_states_;
};

// The parts, for callers that build a scene of their own (the reference planner). Errors as Create.
EgoRow LocalEgo(const v1::EgoState& ego);  // at the origin
absl::StatusOr<DrivableMap> MakeDrivableMap(const v1::ResolvedScene& resolved, Vec2 origin);
// Tracks on the 10 Hz grid.
absl::StatusOr<Observation> MakeObservation(const google::protobuf::RepeatedPtrField<v1::Track>& agents, Vec2 origin,
                                            int samples);

}  // namespace swerve::pdm

#endif  // SWERVE_PDM_PREPARED_SCENE_H_
