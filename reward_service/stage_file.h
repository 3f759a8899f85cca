// The JSON side of two-stage EPDMS: the mapping, and tables of rows scored elsewhere. Pure and thread-safe; no
// exception leaves. Errors are INVALID_ARGUMENT and name the row.
#ifndef SWERVE_REWARD_SERVICE_STAGE_FILE_H_
#define SWERVE_REWARD_SERVICE_STAGE_FILE_H_

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/status.h"
#include "pdm/two_stage.h"

namespace swerve {

// [[now, prev, [[now_i, prev_i], …]], …]
absl::StatusOr<std::vector<pdm::StageGroup>> ParseStageGroups(const nlohmann::json& mapping);

struct StageTable {
  std::vector<pdm::StageRow> rows;
  std::vector<pdm::StageGroup> groups;
};
// {"schema": 1, "rows": [{token, start_time, start_point, endpoint, states 41 x 11, NC … HC}], "mapping": …}.
// NOT_FOUND: the text is no such file.
absl::StatusOr<StageTable> ParseStageTable(const std::string& text);

}  // namespace swerve

#endif  // SWERVE_REWARD_SERVICE_STAGE_FILE_H_
