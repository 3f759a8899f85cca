#include "teacher_gateway/service.h"

#include <gmock/gmock.h>

#include "base/status_matchers.h"
#include "teacher_gateway/none.h"

namespace swerve {
namespace {

using ::testing::HasSubstr;

absl::StatusOr<std::shared_ptr<const v1::Scene>> OneScene(const std::string& id) {
  if (id != "known") return absl::NotFoundError("no such scene");
  return std::make_shared<const v1::Scene>();
}

TEST(TeacherServiceTest, FindsTheSceneByIdOrTakesItInline) {
  TeacherService service(std::make_unique<NoTeacher>(), OneScene);
  v1::DiagnoseRequest request;
  request.add_items();
  v1::DiagnoseReply reply;
  request.set_scene_id("known");
  EXPECT_TRUE(service.Diagnose(nullptr, &request, &reply).ok());
  EXPECT_EQ(reply.results_size(), 1);
  request.mutable_scene()->set_id("inline");
  EXPECT_TRUE(service.Diagnose(nullptr, &request, &reply).ok());
}

TEST(TeacherServiceTest, RefusesWhatItCannotAnswer) {
  TeacherService service(std::make_unique<NoTeacher>(), OneScene);
  v1::DiagnoseRequest request;
  v1::DiagnoseReply reply;
  request.set_scene_id("known");
  EXPECT_THAT(FromGrpc(service.Diagnose(nullptr, &request, &reply)),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("items")));
  request.add_items();
  request.set_scene_id("unknown");
  EXPECT_THAT(FromGrpc(service.Diagnose(nullptr, &request, &reply)),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("unknown")));
  request.clear_source();
  EXPECT_THAT(FromGrpc(service.Diagnose(nullptr, &request, &reply)),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("source")));
}

}  // namespace
}  // namespace swerve
