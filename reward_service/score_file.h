// Offline scoring of candidate trajectories: the JSON of the golden PDM files in, their scores out.
// Pure and thread-safe. One broken scene or candidate costs nothing but itself.
#ifndef SWERVE_REWARD_SERVICE_SCORE_FILE_H_
#define SWERVE_REWARD_SERVICE_SCORE_FILE_H_

#include <functional>
#include <string>
#include <vector>

#include "base/status.h"

namespace swerve {

struct ScoreFileOptions {
  bool diag = false;     // add "diag" to every candidate
  bool resolve = false;  // build resolved.v1 from the raw scene, whether or not the file has one
  std::function<void(int done, int total)> progress;  // may be empty; called after every scene
};

struct ScoreFileResult {
  std::string json;  // {"schema": 1, "seed": …, "scenes": [{name, family, candidates: [{name, v1, v2}]}]}
  int scenes = 0, candidates = 0;
  int invalid = 0;                 // candidates with "valid": false
  std::vector<std::string> broken;  // one line per scene that could not be scored; in the output it has "error"
};

// v1 always, v2 where the scene has resolved.v2. INVALID_ARGUMENT when the text is not such a file at all.
absl::StatusOr<ScoreFileResult> ScoreSceneFile(const std::string& text, const ScoreFileOptions& options);

}  // namespace swerve

#endif  // SWERVE_REWARD_SERVICE_SCORE_FILE_H_
