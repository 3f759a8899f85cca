// The gateway's second gRPC face: what is in force, and changes to it (teachers.proto says how each can be refused).
#ifndef SWERVE_TEACHER_GATEWAY_ADMIN_H_
#define SWERVE_TEACHER_GATEWAY_ADMIN_H_

#include <memory>

#include "swerve/v1/teachers.grpc.pb.h"
#include "teacher_gateway/gateway.h"

namespace swerve {

// Thread-safe.
class TeacherAdminService final : public v1::TeacherAdmin::Service {
 public:
  explicit TeacherAdminService(std::shared_ptr<Gateway> gateway) : gateway_(std::move(gateway)) {}

  grpc::Status ListTeachers(grpc::ServerContext*, const v1::ListTeachersRequest*, v1::ListTeachersReply*) override;
  grpc::Status AddTeacher(grpc::ServerContext*, const v1::AddTeacherRequest*, v1::TeachersChanged*) override;
  grpc::Status RemoveTeacher(grpc::ServerContext*, const v1::RemoveTeacherRequest*, v1::TeachersChanged*) override;
  grpc::Status SetTeacherWeight(grpc::ServerContext*, const v1::SetTeacherWeightRequest*, v1::TeachersChanged*) override;
  grpc::Status DrainTeacher(grpc::ServerContext*, const v1::DrainTeacherRequest*, v1::TeachersChanged*) override;
  grpc::Status ReloadTeachers(grpc::ServerContext*, const v1::ReloadTeachersRequest*, v1::TeachersChanged*) override;

 private:
  const std::shared_ptr<Gateway> gateway_;
};

}  // namespace swerve

#endif  // SWERVE_TEACHER_GATEWAY_ADMIN_H_
