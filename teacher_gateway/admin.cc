#include "teacher_gateway/admin.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_join.h"

namespace swerve {
namespace {

// NOT_FOUND names the teachers that there are.
absl::StatusOr<v1::TeacherSpec*> Find(v1::TeachersFile* file, const std::string& name) {
  std::vector<std::string> names;
  for (v1::TeacherSpec& spec : *file->mutable_teachers()) {
    if (spec.name() == name) return &spec;
    names.push_back(spec.name());
  }
  return absl::NotFoundError(absl::StrCat("no teacher \"", name, "\"; there are: ", absl::StrJoin(names, ", ")));
}

grpc::Status Answer(const absl::StatusOr<uint64_t>& version, v1::TeachersChanged* reply) {
  if (!version.ok()) return ToGrpc(version.status());
  reply->set_set_version(*version);
  return grpc::Status::OK;
}

}  // namespace

grpc::Status TeacherAdminService::ListTeachers(grpc::ServerContext*, const v1::ListTeachersRequest*,
                                               v1::ListTeachersReply* reply) {
  *reply = gateway_->List();
  return grpc::Status::OK;
}

grpc::Status TeacherAdminService::AddTeacher(grpc::ServerContext*, const v1::AddTeacherRequest* request,
                                             v1::TeachersChanged* reply) {
  const v1::TeacherSpec& spec = request->teacher();
  const auto add = [&spec](v1::TeachersFile* file) -> absl::Status {
    if (Find(file, spec.name()).ok()) {
      return absl::AlreadyExistsError(absl::StrCat("there is a teacher \"", spec.name(), "\"; remove it first"));
    }
    *file->add_teachers() = spec;
    return absl::OkStatus();
  };
  return Answer(gateway_->Edit(add, absl::StrCat("add ", spec.name())), reply);
}

grpc::Status TeacherAdminService::RemoveTeacher(grpc::ServerContext*, const v1::RemoveTeacherRequest* request,
                                                v1::TeachersChanged* reply) {
  const auto remove = [request](v1::TeachersFile* file) -> absl::Status {
    SWERVE_ASSIGN_OR_RETURN(const v1::TeacherSpec* spec, Find(file, request->name()));
    for (const v1::TeacherSpec& other : file->teachers()) {
      const auto& chain = other.fallback();
      if (&other != spec && !IsEmbeddedFallback(request->name()) &&
          std::find(chain.begin(), chain.end(), request->name()) != chain.end()) {
        return absl::InvalidArgumentError(
            absl::StrCat("\"", request->name(), "\" is a fallback of \"", other.name(), "\"; change that one first"));
      }
    }
    v1::TeachersFile kept;
    for (const v1::TeacherSpec& other : file->teachers()) {
      if (other.name() != request->name()) *kept.add_teachers() = other;
    }
    *file = std::move(kept);
    return absl::OkStatus();
  };
  return Answer(gateway_->Edit(remove, absl::StrCat("remove ", request->name())), reply);
}

grpc::Status TeacherAdminService::SetTeacherWeight(grpc::ServerContext*, const v1::SetTeacherWeightRequest* request,
                                                   v1::TeachersChanged* reply) {
  if (!request->has_weight()) return ToGrpc(absl::InvalidArgumentError("SetTeacherWeightRequest.weight is not set"));
  const auto weigh = [request](v1::TeachersFile* file) -> absl::Status {
    SWERVE_ASSIGN_OR_RETURN(v1::TeacherSpec* const spec, Find(file, request->name()));
    spec->set_weight(request->weight());
    spec->clear_draining();
    return absl::OkStatus();
  };
  return Answer(gateway_->Edit(weigh, absl::StrCat("weight ", request->name(), " ", request->weight())), reply);
}

grpc::Status TeacherAdminService::DrainTeacher(grpc::ServerContext*, const v1::DrainTeacherRequest* request,
                                               v1::TeachersChanged* reply) {
  const auto drain = [request](v1::TeachersFile* file) -> absl::Status {
    SWERVE_ASSIGN_OR_RETURN(v1::TeacherSpec* const spec, Find(file, request->name()));
    spec->set_draining(true);
    return absl::OkStatus();
  };
  return Answer(gateway_->Edit(drain, absl::StrCat("drain ", request->name())), reply);
}

grpc::Status TeacherAdminService::ReloadTeachers(grpc::ServerContext*, const v1::ReloadTeachersRequest*,
                                                 v1::TeachersChanged* reply) {
  return Answer(gateway_->Reload(), reply);
}

}  // namespace swerve
