// A small straight-road scene for the tests of this folder: ego at global (100, 50) facing north (heading π/2), so that
// frame mistakes show; lane 3.5 m wide, a second one to the left, a lead 24 m ahead, a pedestrian crossing from the left.
#ifndef SWERVE_TESTS_SCENES_TEST_SCENES_H_
#define SWERVE_TESTS_SCENES_TEST_SCENES_H_

#include <cmath>
#include <numbers>
#include <string>

#include "scenes/view.h"
#include "swerve/v1/scene.pb.h"

namespace swerve {

inline void SetPose(v1::Pose* p, double x, double y, double h) {
  p->set_x(x);
  p->set_y(y);
  p->set_heading(h);
}

class TestSceneBuilder {
 public:
  TestSceneBuilder() {
    scene.set_id("t1");
    scene.set_family("test");
    scene.set_location("nowhere");
    scene.set_recording("r1");
    scene.set_source("test");
    scene.set_license("none");
    scene.set_label(v1::POSITIVE);
    scene.set_command(v1::MOVE_FORWARD);
    scene.mutable_ego()->set_time_us(1000000);
    SetPose(scene.mutable_ego()->mutable_rear_axle(), 100, 50, std::numbers::pi / 2);
    scene.mutable_ego()->set_vx(8);
    scene.mutable_ego()->set_ax(-0.04);
    for (int i = 3; i >= 1; --i) {
      auto* e = scene.add_ego_past();
      e->set_time_us(1000000 - i * 500000);
      *e->mutable_rear_axle() = Global(-4.0 * i, 0, 0);
      e->set_vx(8);
    }
    for (int i = 1; i <= 8; ++i) SetPose(scene.add_gt(), 4.0 * i, 0, 0);
    auto* r = scene.mutable_resolved_v1();
    for (double x = -20; x <= 120; x += 2) *r->add_centerline() = Global(x, 0, 0);
    AddRect("road", v1::ROADBLOCK, -20, 120, -1.75, 5.25);
    AddRect("lane0", v1::LANE, -20, 120, -1.75, 1.75);
    AddRect("lane1", v1::LANE, -20, 120, 1.75, 5.25);
    r->add_route_lane_ids("lane0");
  }

  v1::Pose Global(double x, double y, double h) const {
    v1::Pose p;
    SetPose(&p, x, y, h);
    return EgoFrame(scene.ego().rear_axle()).ToGlobal(p);
  }

  void AddRect(const std::string& token, v1::MapType type, double x0, double x1, double y0, double y1) {
    auto* p = scene.mutable_resolved_v1()->add_drivable_map();
    p->set_token(token);
    p->set_type(type);
    for (auto [x, y] : {std::pair{x0, y0}, {x1, y0}, {x1, y1}, {x0, y1}}) {
      v1::Pose g = Global(x, y, 0);
      p->mutable_exterior()->add_xy(g.x());
      p->mutable_exterior()->add_xy(g.y());
    }
  }

  // Constant velocity (vx, vy in the ego frame) from (x, y), -1.5 s … 5 s; `brake` m/s² along the velocity after t = 0.
  void AddObject(const std::string& token, v1::ObjectType type, double length, double width, double x, double y,
                 double vx, double vy, double brake = 0) {
    double speed = std::hypot(vx, vy), heading = speed > 0 ? std::atan2(vy, vx) : 0;
    for (bool past : {true, false}) {
      auto* t = past ? scene.add_past_tracks() : scene.add_tracks();
      t->set_token(token);
      t->set_type(type);
      t->set_length(length);
      t->set_width(width);
      t->set_height(1.6);
      for (int i = past ? -3 : 0; i <= (past ? 0 : 10); ++i) {
        double time = 0.5 * i, v = speed, s = speed * time;
        if (time > 0 && brake > 0) {
          double stop = std::min(time, speed / brake);
          v = std::max(0.0, speed - brake * time);
          s = speed * stop - 0.5 * brake * stop * stop;
        }
        v1::Pose g = Global(x + s * std::cos(heading), y + s * std::sin(heading), heading);
        auto* st = t->add_states();
        st->set_index(i);
        st->set_x(g.x());
        st->set_y(g.y());
        st->set_heading(g.heading());
        st->set_vx(v * std::cos(g.heading()));
        st->set_vy(v * std::sin(g.heading()));
      }
    }
  }

  v1::Scene scene;
};

}  // namespace swerve

#endif  // SWERVE_TESTS_SCENES_TEST_SCENES_H_
