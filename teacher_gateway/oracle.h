// The teacher that knows the truth: it compares the response with the scene, the failure facts of the scorer and the
// ground truth, and writes the five sections of algorithm §3.3 in a small, regular, lower-case language (at most
// about 70 words) that a policy of a million parameters can learn to read:
//
//   wrong. action: should be decelerate, keep, not maintain, keep. think: lead is at 12 m, not 20 m.
//   safety: front hits vehicle at 2.5 s. efficiency: progress 100 percent.
//   fix: speed 3.2 at 2 s, 0.0 at 4 s. travel 8.1 at 2 s, 10.2 at 4 s.
//   shift left 0.0 at 2 s, left 0.0 at 4 s. heading left 0.00 at 2 s, left 0.00 at 4 s.
#ifndef SWERVE_TEACHER_GATEWAY_ORACLE_H_
#define SWERVE_TEACHER_GATEWAY_ORACLE_H_

#include "teacher_gateway/teacher.h"

namespace swerve {

class OracleTeacher final : public Teacher {
 public:
  // `report_noise`: standard deviation, m, of an error added to every distance it names, drawn from a stream of
  // (scene, group, sample): a teacher that sees less well. 0: exact.
  explicit OracleTeacher(double report_noise = 0) : report_noise_(report_noise) {}

  v1::DiagnoseReply Diagnose(const v1::DiagnoseRequest& request, const v1::Scene& scene) const override;
  std::string name() const override { return "oracle"; }

 private:
  const double report_noise_;
};

}  // namespace swerve

#endif  // SWERVE_TEACHER_GATEWAY_ORACLE_H_
