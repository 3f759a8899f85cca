// The scenes of the scorer's benchmarks, out of tests/golden: as light and as heavy as those of the official timings
// (6 polygons and 2 agents; 200 polygons and 60 agents). Deterministic.
#ifndef SWERVE_BENCH_SCORER_SCENES_H_
#define SWERVE_BENCH_SCORER_SCENES_H_

#include <string>
#include <vector>

#include "base/gzip.h"
#include "pdm/types.h"
#include "scenes/scene_json.h"

namespace swerve::bench {

inline constexpr int kLightPolygons = 6, kLightAgents = 2, kHeavyPolygons = 200, kHeavyAgents = 60;

// Adds copies of what the scene has, moved along and across the ego's heading, until it is heavy.
inline void MakeHeavy(const v1::Pose& ego, v1::ResolvedScene* r) {
  const pdm::Vec2 u = pdm::Direction(ego.heading());
  auto move = [&](double ahead, double left) { return pdm::Vec2{ahead * u.x - left * u.y, ahead * u.y + left * u.x}; };
  const int polygons = r->drivable_map_size(), agents = r->agents_size();
  constexpr double kSteps[][2] = {{0, 45}, {0, -45}, {60, 0}, {-60, 0}, {60, 45}, {60, -45}};
  for (int i = polygons; i < kHeavyPolygons; ++i) {
    const double* step = kSteps[(i / polygons - 1) % 6];
    const pdm::Vec2 by = move(step[0], step[1]);
    v1::MapPolygon* p = r->add_drivable_map();
    *p = r->drivable_map(i % polygons);
    p->set_token(p->token() + "_" + std::to_string(i));  // not on the route
    for (int k = 0; k < p->exterior().xy_size(); ++k) {
      p->mutable_exterior()->set_xy(k, p->exterior().xy(k) + (k % 2 == 0 ? by.x : by.y));
    }
  }
  for (int i = agents; i < kHeavyAgents; ++i) {
    const pdm::Vec2 by = move(14, 3);
    v1::Track* t = r->add_agents();
    *t = r->agents(i % agents);
    t->set_token(t->token() + "_" + std::to_string(i));
    for (v1::TrackState& s : *t->mutable_states()) {
      s.set_x(s.x() + by.x);
      s.set_y(s.y() + by.y);
    }
  }
}

struct Scenes {
  std::vector<v1::Scene> light, heavy;
};

inline Scenes LoadScenes() {
  const auto text = ReadMaybeGzip(SWERVE_SOURCE_DIR "/tests/golden/pdms/public/scenes.json.gz");
  SceneFile file = ParseSceneFile(text.value()).value();
  Scenes out;
  for (v1::Scene& s : file.scenes) {
    const v1::ResolvedScene& r = s.resolved_v1();
    if (r.drivable_map_size() == kLightPolygons && r.agents_size() == kLightAgents) out.light.push_back(s);
    if (s.family() != "crowd") continue;
    v1::Scene& heavy = out.heavy.emplace_back(std::move(s));
    MakeHeavy(heavy.ego().rear_axle(), heavy.mutable_resolved_v1());
    MakeHeavy(heavy.ego().rear_axle(), heavy.mutable_resolved_v2());
  }
  return out;
}

}  // namespace swerve::bench

#endif  // SWERVE_BENCH_SCORER_SCENES_H_
