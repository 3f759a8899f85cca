// A straight road of 200 x 8 m with a car ahead and one beside it, the ego at 10 m/s; rules v1 and v2 resolved.
#ifndef SWERVE_TESTS_FUZZ_ROAD_H_
#define SWERVE_TESTS_FUZZ_ROAD_H_

#include <initializer_list>
#include <string>

#include "swerve/v1/scene.pb.h"

namespace swerve::testing {

inline v1::Scene FuzzRoad() {
  v1::Scene scene;
  scene.set_id("road");
  scene.mutable_ego()->mutable_rear_axle();
  scene.mutable_ego()->set_vx(10);
  scene.mutable_ego()->set_time_us(1000000);
  v1::ResolvedScene* r = scene.mutable_resolved_v1();
  const auto area = [r](v1::MapType type, const char* token, std::initializer_list<double> xy) {
    v1::MapPolygon* p = r->add_drivable_map();
    p->set_type(type);
    p->set_token(token);
    for (double v : xy) p->mutable_exterior()->add_xy(v);
  };
  area(v1::ROADBLOCK, "b", {-50, -2, 150, -2, 150, 6, -50, 6});
  area(v1::LANE, "l", {-50, -2, 150, -2, 150, 2, -50, 2});
  area(v1::LANE, "m", {-50, 2, 150, 2, 150, 6, -50, 6});
  area(v1::INTERSECTION, "i", {30, -2, 50, -2, 50, 6, 30, 6});
  r->add_route_lane_ids("l");
  for (int x = -50; x <= 150; x += 10) r->add_centerline()->set_x(x);
  for (int i = 0; i <= 50; ++i) r->add_pdm_reference()->set_x(i);
  for (double y : {0.0, 4.0}) {
    v1::Track* t = r->add_agents();
    t->set_token(y == 0 ? "ahead" : "beside");
    t->set_type(v1::VEHICLE);
    t->set_length(4);
    t->set_width(2);
    for (int i = 0; i <= 40; ++i) {
      v1::TrackState* s = t->add_states();
      s->set_index(i);
      s->set_x(y == 0 ? 35 + 0.2 * i : 0.8 * i);
      s->set_y(y);
      s->set_vx(y == 0 ? 2 : 8);
    }
  }
  *scene.mutable_resolved_v2() = *r;
  return scene;
}

}  // namespace swerve::testing

#endif  // SWERVE_TESTS_FUZZ_ROAD_H_
