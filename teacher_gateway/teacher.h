// A teacher looks at one group's responses and says, in a typed report, what went wrong and what to do instead
// (spec: algorithm §3.3). Embedded teachers: oracle, rule, ground_truth, none; openai_teacher.h asks a language model, and
// gateway.h routes between several.
//
// A teacher that fails answers with a typed outcome per item; it never turns a failure into a reward.
#ifndef SWERVE_TEACHER_GATEWAY_TEACHER_H_
#define SWERVE_TEACHER_GATEWAY_TEACHER_H_

#include <memory>
#include <string>

#include "absl/time/time.h"
#include "base/status.h"
#include "swerve/v1/config.pb.h"
#include "swerve/v1/feedback.pb.h"
#include "swerve/v1/scene.pb.h"

namespace swerve {

// Thread-safe. Embedded teachers are stateless: the same request and scene give the same reply.
class Teacher {
 public:
  virtual ~Teacher() = default;

  // One result per item, in order. Every result has an outcome; OK with a feedback, OK without one (teacher `none`),
  // or a failure with a detail: SCHEMA_INVALID for an item without a reward, INTERNAL for a scene without the
  // 8 ground-truth poses that a report needs, REFUSED for a NEGATIVE scene, whose recording must not be taught. `scene` is the scene the request names. Never throws; embedded teachers do
  // not block.
  virtual v1::DiagnoseReply Diagnose(const v1::DiagnoseRequest& request, const v1::Scene& scene) const = 0;

  // The same with an answer by `deadline`; what is not done by then has a typed outcome.
  virtual v1::DiagnoseReply DiagnoseBy(const v1::DiagnoseRequest& request, const v1::Scene& scene,
                                       absl::Time deadline) const {
    return Diagnose(request, scene);
  }

  // "oracle", "rule", …: what episodes and metrics call it.
  virtual std::string name() const = 0;
};

// An embedded teacher. INVALID_ARGUMENT for an unknown kind; the message lists the known ones.
absl::StatusOr<std::unique_ptr<Teacher>> CreateTeacher(const v1::TeacherConfig& config);

}  // namespace swerve

#endif  // SWERVE_TEACHER_GATEWAY_TEACHER_H_
