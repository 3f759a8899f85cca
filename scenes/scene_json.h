// Scene <-> the JSON of the golden PDM files (schema 1), the format `swerve score` reads and `swerve scenes export`
// writes. Keys beyond that schema carry what only our Scene has: command, gt, location, label, source, license,
// images, past_tracks; readers of the plain schema ignore them. JSON null stands for NaN in a candidate's pose.
// Pure functions, thread-safe. Errors are INVALID_ARGUMENT and name scene and field; no exception leaves.
#ifndef SWERVE_SCENES_SCENE_JSON_H_
#define SWERVE_SCENES_SCENE_JSON_H_

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "base/status.h"
#include "swerve/v1/scene.pb.h"

namespace swerve {

// One scene object of the schema. A candidate with a malformed pose (not three numbers) keeps its name and loses its
// poses, so that scoring calls it WRONG_SHAPE; everything else malformed is an error.
absl::StatusOr<v1::Scene> SceneFromJson(const nlohmann::json& json);
nlohmann::json SceneToJson(const v1::Scene& scene);

struct SceneFile {
  std::string seed_json = "null";  // of the file, copied to outputs
  std::string mapping_json;        // of the file, for scores over two stages; empty: none
  std::vector<v1::Scene> scenes;   // those that could be read, in order
  struct Broken {
    int index;         // in the file
    std::string name;  // if it has one
    absl::Status status;
  };
  std::vector<Broken> broken;
};

// A whole file: {"schema": 1, "scenes": […]}. Broken scenes are listed and lose nothing else; text that is not JSON,
// or of another schema, is an error.
absl::StatusOr<SceneFile> ParseSceneFile(const std::string& text);
// Indented by nothing: one line, numbers with all their digits.
std::string WriteSceneFile(const std::vector<v1::Scene>& scenes);

}  // namespace swerve

#endif  // SWERVE_SCENES_SCENE_JSON_H_
