#include "teacher_gateway/teacher.h"

#include "teacher_gateway/ground_truth.h"
#include "teacher_gateway/none.h"
#include "teacher_gateway/oracle.h"
#include "teacher_gateway/rule.h"

namespace swerve {

absl::StatusOr<std::unique_ptr<Teacher>> CreateTeacher(const v1::TeacherConfig& config) {
  const std::string& kind = config.kind();
  if (kind == "oracle") return std::make_unique<OracleTeacher>(config.report_noise());
  if (kind == "rule") return std::make_unique<RuleTeacher>();
  if (kind == "ground_truth") return std::make_unique<GroundTruthTeacher>();
  if (kind == "none") return std::make_unique<NoTeacher>();
  return absl::InvalidArgumentError(
      absl::StrCat("teacher.kind: \"", kind, "\" is unknown; use oracle, rule, ground_truth or none"));
}

}  // namespace swerve
