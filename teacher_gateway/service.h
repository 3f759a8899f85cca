// The teacher gateway's gRPC face: finds the scene a request names, asks the teacher, answers for the whole group.
#ifndef SWERVE_TEACHER_GATEWAY_SERVICE_H_
#define SWERVE_TEACHER_GATEWAY_SERVICE_H_

#include <functional>
#include <memory>

#include "base/status.h"
#include "swerve/v1/feedback.grpc.pb.h"
#include "teacher_gateway/teacher.h"

namespace swerve {

// Scene by id; NOT_FOUND for an unknown one. Must be thread-safe.
using SceneLookup = std::function<absl::StatusOr<std::shared_ptr<const v1::Scene>>(const std::string& id)>;

// Thread-safe. Diagnose: INVALID_ARGUMENT when the request names no scene or has no items, NOT_FOUND for an unknown
// scene; everything else is a typed outcome inside the reply.
class TeacherService final : public v1::TeacherGateway::Service {
 public:
  // `patience`: longest time for one group; a shorter deadline of the caller wins.
  TeacherService(std::shared_ptr<const Teacher> teacher, SceneLookup scenes,
                 absl::Duration patience = absl::InfiniteDuration());
  grpc::Status Diagnose(grpc::ServerContext* context, const v1::DiagnoseRequest* request,
                        v1::DiagnoseReply* reply) override;

 private:
  const std::shared_ptr<const Teacher> teacher_;
  const SceneLookup scenes_;
  const absl::Duration patience_;
};

}  // namespace swerve

#endif  // SWERVE_TEACHER_GATEWAY_SERVICE_H_
