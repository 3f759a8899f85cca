// A scene and responses that every teacher's test can use.
#ifndef SWERVE_TESTS_TEACHER_GATEWAY_TEST_CASES_H_
#define SWERVE_TESTS_TEACHER_GATEWAY_TEST_CASES_H_

#include <vector>

#include "scenes/prompt.h"
#include "swerve/v1/feedback.pb.h"
#include "swerve/v1/scene.pb.h"
#include "teacher_gateway/per_item.h"

namespace swerve {

inline void AddPose(double x, double y, double heading, google::protobuf::RepeatedPtrField<v1::Pose>* poses) {
  v1::Pose* p = poses->Add();
  p->set_x(x);
  p->set_y(y);
  p->set_heading(heading);
}

// 8 m/s along a straight lane; a vehicle stands 20 m ahead (its centre); GT stops before it.
inline v1::Scene StoppedLead() {
  v1::Scene s;
  s.set_id("stopped-lead");
  s.mutable_ego()->set_vx(8);
  s.mutable_ego()->mutable_rear_axle();
  for (double x : {3.5, 6.5, 9.0, 10.8, 11.8, 12.1, 12.1, 12.1}) AddPose(x, 0, 0, s.mutable_gt());
  for (int x = -20; x <= 100; x += 2) AddPose(x, 0, 0, s.mutable_resolved_v1()->mutable_centerline());
  v1::Track* t = s.add_tracks();
  t->set_token("lead");
  t->set_type(v1::VEHICLE);
  t->set_length(4.6);
  t->set_width(1.9);
  for (int i = 0; i <= 10; ++i) {
    v1::TrackState* state = t->add_states();
    state->set_index(i);
    state->set_x(20);
  }
  return s;
}

// Drives on at 8 m/s into the vehicle.
inline v1::DiagnoseItem Crash(const std::string& think) {
  v1::DiagnoseItem item;
  for (int i = 1; i <= 8; ++i) AddPose(4.0 * i, 0, 0, item.mutable_response()->mutable_poses());
  const std::vector<v1::Pose> plan = PosesOf(item.response().poses());
  item.mutable_response()->set_text(ResponseText(think, plan));
  v1::Reward* reward = item.mutable_reward();
  reward->mutable_scores()->set_ddc(1);
  v1::CollisionFact* hit = reward->mutable_facts()->add_collisions();
  hit->set_object("lead");
  hit->set_type(v1::VEHICLE);
  hit->set_time_s(1.8);
  hit->set_ego_part(v1::FRONT);
  hit->set_at_fault(true);
  reward->mutable_facts()->mutable_ttc()->set_object("lead");
  reward->mutable_facts()->mutable_ttc()->set_time_s(1.0);
  reward->mutable_facts()->mutable_progress()->set_candidate(32);
  reward->mutable_facts()->mutable_progress()->set_reference(12);
  return item;
}

inline v1::DiagnoseItem Good() {
  v1::DiagnoseItem item;
  item.mutable_reward()->set_traj(1);
  return item;
}

inline v1::DiagnoseRequest Request(std::vector<v1::DiagnoseItem> items, uint64_t group = 3) {
  v1::DiagnoseRequest r;
  r.set_success_threshold(0.8);
  r.set_group(group);
  for (auto& item : items) *r.add_items() = std::move(item);
  return r;
}

}  // namespace swerve

#endif  // SWERVE_TESTS_TEACHER_GATEWAY_TEST_CASES_H_
