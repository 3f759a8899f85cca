// The golden PDM files, read from tests/golden/pdms (gzip).
#ifndef SWERVE_TESTS_PDM_GOLDEN_FILES_H_
#define SWERVE_TESTS_PDM_GOLDEN_FILES_H_

#include <gtest/gtest.h>
#include <zlib.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "pdm/types.h"
#include "scenes/scene_json.h"

namespace swerve::testing {

inline std::string ReadGolden(const std::string& name) {
  std::string path = std::string(SWERVE_SOURCE_DIR) + "/tests/golden/pdms/" + name, out;
  gzFile file = gzopen(path.c_str(), "rb");
  if (file == nullptr) {
    ADD_FAILURE() << "cannot open " << path;
    return out;
  }
  char buffer[1 << 16];
  for (int n; (n = gzread(file, buffer, sizeof buffer)) > 0;) out.append(buffer, n);
  gzclose(file);
  return out;
}

inline const SceneFile& PublicScenes() {
  static const SceneFile file = ParseSceneFile(ReadGolden("public/scenes.json.gz")).value();
  return file;
}

inline std::vector<pdm::Pose2> PosesOf(const google::protobuf::RepeatedPtrField<v1::Pose>& poses) {
  std::vector<pdm::Pose2> out;
  for (const v1::Pose& p : poses) out.push_back({p.x(), p.y(), p.heading()});
  return out;
}

}  // namespace swerve::testing

#endif  // SWERVE_TESTS_PDM_GOLDEN_FILES_H_
