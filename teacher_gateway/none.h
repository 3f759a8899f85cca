// Plain GRPO: nobody comments on anything.
#ifndef SWERVE_TEACHER_GATEWAY_NONE_H_
#define SWERVE_TEACHER_GATEWAY_NONE_H_

#include "teacher_gateway/teacher.h"

namespace swerve {

// Every item: outcome OK, no feedback.
class NoTeacher final : public Teacher {
 public:
  v1::DiagnoseReply Diagnose(const v1::DiagnoseRequest& request, const v1::Scene&) const override {
    v1::DiagnoseReply reply;
    for (int i = 0; i < request.items_size(); ++i) reply.add_results()->set_outcome(v1::OK);
    return reply;
  }
  std::string name() const override { return "none"; }
};

}  // namespace swerve

#endif  // SWERVE_TEACHER_GATEWAY_NONE_H_
