#include "teacher_gateway/service.h"

#include <algorithm>
#include <utility>

#include "absl/time/clock.h"

namespace swerve {

TeacherService::TeacherService(std::shared_ptr<const Teacher> teacher, SceneLookup scenes, absl::Duration patience)
    : teacher_(std::move(teacher)), scenes_(std::move(scenes)), patience_(patience) {}

grpc::Status TeacherService::Diagnose(grpc::ServerContext* context, const v1::DiagnoseRequest* request,
                                      v1::DiagnoseReply* reply) {
  if (request->items().empty()) {
    return ToGrpc(absl::InvalidArgumentError("DiagnoseRequest.items is empty; send the scored group"));
  }
  absl::Time deadline = absl::Now() + patience_;
  if (context != nullptr) deadline = std::min(deadline, absl::FromChrono(context->deadline()));
  switch (request->source_case()) {
    case v1::DiagnoseRequest::kScene:
      *reply = teacher_->DiagnoseBy(*request, request->scene(), deadline);
      return grpc::Status::OK;
    case v1::DiagnoseRequest::kSceneId: {
      auto scene = scenes_(request->scene_id());
      if (!scene.ok()) return ToGrpc(Annotate(scene.status(), absl::StrCat("scene ", request->scene_id())));
      *reply = teacher_->DiagnoseBy(*request, **scene, deadline);
      return grpc::Status::OK;
    }
    default:
      return ToGrpc(absl::InvalidArgumentError("DiagnoseRequest.source is not set; give scene_id or scene"));
  }
}

}  // namespace swerve
