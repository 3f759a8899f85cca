// Offline scoring of candidate trajectories: the JSON of the golden PDM files in, their scores out.
// Pure and thread-safe. One broken scene or candidate costs nothing but itself.
#ifndef SWERVE_REWARD_SERVICE_SCORE_FILE_H_
#define SWERVE_REWARD_SERVICE_SCORE_FILE_H_

#include <functional>
#include <string>
#include <vector>

#include "base/status.h"
#include "reward_service/score_rows.h"
#include "reward_service/submission.h"
#include "scenes/store.h"

namespace swerve {

struct ScoreFileOptions {
  bool diag = false;         // add "diag" to every candidate
  bool resolve = false;      // build resolved.v1 and v2 from the raw scene, whether or not the file has them
  bool v1_0 = false;         // "v1" scores by the rules of v1.0
  bool reactive = false;     // v2 in reactive traffic; needs the map's lanes
  bool pair_frames = false;  // EC also across scenes of one recording
  const Submission* submission = nullptr;  // scored instead of the scenes' own candidates; scenes it leaves out are too
  std::function<void(int done, int total)> progress;  // may be empty; called after every scene
};

struct ScoreFileResult {
  std::string json;                      // docs/scores.md
  std::string pdms_csv, epdms_csv;       // empty for a file of rows; epdms_csv also without any v2 score
  int scenes = 0, candidates = 0;
  int rows = 0;                     // of a file that holds rows scored elsewhere
  int invalid = 0;                  // candidates with "valid": false
  int unanswered = 0;               // scenes that the submission leaves out
  std::vector<std::string> broken;  // one line per scene, stage or prediction that could not be scored
};

// Two kinds of file. Scenes: v1 where a scene has resolved.v1, v2 where it has resolved.v2, and the two-stage result of
// every candidate name where the file, or the submission, has a "mapping". Rows scored elsewhere with a mapping: their two-stage result.
// INVALID_ARGUMENT when the text is neither, or when its rows or its mapping cannot be read.
absl::StatusOr<ScoreFileResult> ScoreSceneFile(const std::string& text, const ScoreFileOptions& options);

// The same for the scenes of data sets, read one by one. Errors of ParseStageGroups alone.
absl::StatusOr<ScoreFileResult> ScoreSceneStore(const SceneStore& store, const ScoreFileOptions& options);

}  // namespace swerve

#endif  // SWERVE_REWARD_SERVICE_SCORE_FILE_H_
