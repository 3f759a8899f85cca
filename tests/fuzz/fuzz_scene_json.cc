// Scene files as text: read, validated, resolved, scored, written and read again.
#include "scenes/scene_json.h"
#include "tests/fuzz/score_everything.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto file = swerve::ParseSceneFile(std::string(reinterpret_cast<const char*>(data), size));
  if (!file.ok()) return 0;
  for (const auto& broken : file->broken) swerve::testing::Require(!broken.status.ok());
  for (const auto& scene : file->scenes) swerve::testing::ScoreEverything(scene);
  const auto again = swerve::ParseSceneFile(swerve::WriteSceneFile(file->scenes));
  swerve::testing::Require(again.ok() && again->scenes.size() + again->broken.size() == file->scenes.size());
  return 0;
}
