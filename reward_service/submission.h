// A NAVSIM submission as `swerve score --submission` reads it: what tools/navsim_export.py makes of the official pickle.
//
//   {"schema": 1, "name": "team", "submission": {token: [[x, y, heading] × 8], …}, "mapping": [[now, prev, […]], …]}
//
// `name` (optional) is the candidate's name in the scores, `mapping` (optional) asks for EPDMS over two stages
// (docs/scores.md). Pure functions, thread-safe.
#ifndef SWERVE_REWARD_SERVICE_SUBMISSION_H_
#define SWERVE_REWARD_SERVICE_SUBMISSION_H_

#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/status.h"
#include "swerve/v1/scene.pb.h"

namespace swerve {

struct Submission {
  std::string name = "submission";
  std::map<std::string, std::vector<v1::Pose>> plans;  // by token; empty: malformed, which scoring calls WRONG_SHAPE
  std::string mapping_json;                            // empty: none
};

// null in a pose stands for NaN. INVALID_ARGUMENT: not JSON, another schema, or no object of predictions.
absl::StatusOr<Submission> ParseSubmission(const std::string& text);

// Gives the scene the submission's plan as its one candidate. False, and the scene unchanged, when there is no plan for its token (its id,
// where it has no token). Adds the token to `answered`.
bool Answer(const Submission& submission, v1::Scene* scene, std::set<std::string>* answered);

}  // namespace swerve

#endif  // SWERVE_REWARD_SERVICE_SUBMISSION_H_
