#include "teacher_gateway/service.h"

#include <utility>

namespace swerve {

TeacherService::TeacherService(std::unique_ptr<Teacher> teacher, SceneLookup scenes)
    : teacher_(std::move(teacher)), scenes_(std::move(scenes)) {}

grpc::Status TeacherService::Diagnose(grpc::ServerContext*, const v1::DiagnoseRequest* request,
                                      v1::DiagnoseReply* reply) {
  if (request->items().empty()) {
    return ToGrpc(absl::InvalidArgumentError("DiagnoseRequest.items is empty; send the scored group"));
  }
  switch (request->source_case()) {
    case v1::DiagnoseRequest::kScene:
      *reply = teacher_->Diagnose(*request, request->scene());
      return grpc::Status::OK;
    case v1::DiagnoseRequest::kSceneId: {
      auto scene = scenes_(request->scene_id());
      if (!scene.ok()) return ToGrpc(Annotate(scene.status(), absl::StrCat("scene ", request->scene_id())));
      *reply = teacher_->Diagnose(*request, **scene);
      return grpc::Status::OK;
    }
    default:
      return ToGrpc(absl::InvalidArgumentError("DiagnoseRequest.source is not set; give scene_id or scene"));
  }
}

}  // namespace swerve
