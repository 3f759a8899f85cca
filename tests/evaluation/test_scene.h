// A hand-made scene for tests of evaluation and fine-tuning data: a straight two-lane road, far from the map's origin,
// optionally with a car standing ahead in the ego's lane. Everything the scorer and the prompt read is filled in.
#ifndef SWERVE_TESTS_EVALUATION_TEST_SCENE_H_
#define SWERVE_TESTS_EVALUATION_TEST_SCENE_H_

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "swerve/v1/scene.pb.h"

namespace swerve {

inline constexpr double kTestX = 664000, kTestY = 3998000;  // ego's place on the map

inline void AddTestPolygon(const std::string& token, v1::MapType type, double y0, double y1,
                           google::protobuf::RepeatedPtrField<v1::MapPolygon>* out) {
  v1::MapPolygon* polygon = out->Add();
  polygon->set_token(token);
  polygon->set_type(type);
  for (const auto& [x, y] : {std::pair{-50.0, y0}, {150.0, y0}, {150.0, y1}, {-50.0, y1}}) {
    polygon->mutable_exterior()->add_xy(kTestX + x);
    polygon->mutable_exterior()->add_xy(kTestY + y);
  }
}

inline void SetTestPose(double x, double y, double heading, v1::Pose* pose) {
  pose->set_x(x);
  pose->set_y(y);
  pose->set_heading(heading);
}

inline double TestDistance(double speed, double stop_at, double t) {
  // Constant deceleration so as to stand at stop_at; without one, constant speed.
  if (stop_at <= 0) return speed * t;
  const double a = speed * speed / (2 * stop_at);
  const double u = std::min(t, speed / a);
  return speed * u - 0.5 * a * u * u;
}

// `car_ahead`: m from the rear axle to the centre of a standing car; 0: a free road.
inline v1::Scene MakeTestScene(const std::string& id, const std::string& family, double speed, double car_ahead) {
  v1::Scene scene;
  scene.set_id(id);
  scene.set_family(family);
  scene.set_location("nowhere");
  scene.set_label(v1::POSITIVE);
  scene.set_command(v1::MOVE_FORWARD);
  scene.mutable_ego()->set_time_us(1'600'000'000'000'000);
  SetTestPose(kTestX, kTestY, 0, scene.mutable_ego()->mutable_rear_axle());
  scene.mutable_ego()->set_vx(speed);
  for (int i = 3; i >= 1; --i) {
    v1::EgoState* past = scene.add_ego_past();
    *past = scene.ego();
    past->set_time_us(scene.ego().time_us() - i * 500'000);
    past->mutable_rear_axle()->set_x(kTestX - speed * i * 0.5);
  }
  // Front bumper 4.05 m ahead of the axle, half a car 2.3 m: the good driver stops 2.5 m short.
  const double stop_at = car_ahead > 0 ? car_ahead - 4.05 - 2.3 - 2.5 : 0;
  for (int i = 1; i <= 8; ++i) SetTestPose(TestDistance(speed, stop_at, 0.5 * i), 0, 0, scene.add_gt());

  v1::ResolvedScene* r = scene.mutable_resolved_v1();
  AddTestPolygon("road", v1::ROADBLOCK, -1.8, 5.4, r->mutable_drivable_map());
  AddTestPolygon("lane0", v1::LANE, -1.8, 1.8, r->mutable_drivable_map());
  AddTestPolygon("lane1", v1::LANE, 1.8, 5.4, r->mutable_drivable_map());
  *scene.mutable_map()->mutable_polygons() = r->drivable_map();
  r->add_route_lane_ids("lane0");
  r->add_route_lane_ids("lane1");
  for (int x = -40; x <= 140; ++x) SetTestPose(kTestX + x, kTestY, 0, r->add_centerline());
  for (int k = 0; k <= 50; ++k) {
    SetTestPose(kTestX + TestDistance(speed, stop_at, 0.1 * k), kTestY, 0, r->add_pdm_reference());
  }
  if (car_ahead <= 0) return scene;
  v1::Track car;
  car.set_token("parked");
  car.set_type(v1::VEHICLE);
  car.set_length(4.6);
  car.set_width(1.9);
  car.set_height(1.6);
  v1::Track* fine = r->add_agents();
  v1::Track* coarse = scene.add_tracks();
  *fine = *coarse = car;
  for (int k = 0; k <= 50; ++k) {
    v1::TrackState state;
    state.set_index(k);
    state.set_x(kTestX + car_ahead);
    state.set_y(kTestY);
    *fine->add_states() = state;
    state.set_index(k / 5);
    if (k % 5 == 0) *coarse->add_states() = state;
  }
  return scene;
}

}  // namespace swerve

#endif  // SWERVE_TESTS_EVALUATION_TEST_SCENE_H_
