// Small episodes for tests. Pure functions.
#ifndef SWERVE_TESTS_TESTING_MAKE_EPISODE_H_
#define SWERVE_TESTS_TESTING_MAKE_EPISODE_H_

#include <string>
#include <vector>

#include "swerve/v1/episode.pb.h"

namespace swerve {

// Of run "run".
inline v1::Episode MakeEpisode(uint64_t group, const std::string& scene = "scene", uint32_t attempt = 1) {
  v1::Episode e;
  e.set_run_id("run");
  e.set_scene_id(scene);
  e.set_group(group);
  e.set_attempt(attempt);
  e.add_prompt_ids(7);
  e.add_samples()->mutable_response()->set_text("response of group " + std::to_string(group));
  return e;
}

inline std::vector<uint64_t> GroupsOf(const std::vector<v1::Episode>& episodes) {
  std::vector<uint64_t> groups;
  for (const auto& e : episodes) groups.push_back(e.group());
  return groups;
}

}  // namespace swerve

#endif  // SWERVE_TESTS_TESTING_MAKE_EPISODE_H_
