// The least a teacher can say: right or wrong, and what a good driver does here (the ground truth's meta-action).
#ifndef SWERVE_TEACHER_GATEWAY_RULE_H_
#define SWERVE_TEACHER_GATEWAY_RULE_H_

#include "teacher_gateway/teacher.h"

namespace swerve {

class RuleTeacher final : public Teacher {
 public:
  v1::DiagnoseReply Diagnose(const v1::DiagnoseRequest& request, const v1::Scene& scene) const override;
  std::string name() const override { return "rule"; }
};

}  // namespace swerve

#endif  // SWERVE_TEACHER_GATEWAY_RULE_H_
