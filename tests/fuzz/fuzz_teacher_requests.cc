// Bytes as the requests of the teacher gateway's two services, called directly: the first byte chooses the call. Asked are
// the embedded teachers, and a gateway whose endpoint answers well; changes to the teachers meet a gateway that lives for
// 64 inputs.
#include <memory>

#include <nlohmann/json.hpp>

#include "teacher_gateway/admin.h"
#include "teacher_gateway/gateway.h"
#include "teacher_gateway/ground_truth.h"
#include "teacher_gateway/oracle.h"
#include "teacher_gateway/rule.h"
#include "teacher_gateway/service.h"
#include "tests/fuzz/require.h"
#include "tests/fuzz/rpc_call.h"
#include "tests/fuzz/temporary_dir.h"
#include "tests/testing/fake_http.h"
#include "tests/teacher_gateway/test_cases.h"

namespace {
using namespace swerve;
using swerve::testing::Require;

constexpr char kReport[] =
    R"({"meta_action": "stop", "think_process": "missed", "safety": "hit", "efficiency": "fine",
        "correction": {"lateral": "keep", "longitudinal": "brake"}})";

absl::StatusOr<HttpReply> GoodAnswer(const HttpRequest&) {
  HttpReply reply;
  reply.status = 200;
  reply.body = nlohmann::json({{"choices", {{{"message", {{"content", kReport}}}, {"finish_reason", "stop"}}}}}).dump();
  return reply;
}

absl::StatusOr<std::shared_ptr<const v1::Scene>> Find(const std::string& id) {
  static const auto scene = std::make_shared<const v1::Scene>(StoppedLead());
  if (id != "known") return absl::NotFoundError("no such scene");
  return scene;
}

class Fixture {
 public:
  Fixture() : dir_("fuzz_teacher_requests") {
    dir_.Write("teachers.yaml", "teachers:\n  - name: vlm\n    url: http://127.0.0.1:1/v1\n    model: m\n    image_size: 0\n");
    Gateway::Options options;
    options.run_root = dir_.path();
    options.clock = time_.clock();
    options.http = std::make_shared<FakeHttp>(GoodAnswer);
    gateway_ = Gateway::Open(std::move(options)).value();
  }
  std::shared_ptr<Gateway> gateway() const { return gateway_; }

 private:
  const swerve::testing::TemporaryDir dir_;
  FakeTime time_;
  std::shared_ptr<Gateway> gateway_;
};

void Typed(const grpc::Status& status) {
  const auto code = status.error_code();
  Require(code == grpc::StatusCode::OK || code == grpc::StatusCode::INVALID_ARGUMENT || code == grpc::StatusCode::NOT_FOUND ||
          code == grpc::StatusCode::ALREADY_EXISTS || code == grpc::StatusCode::FAILED_PRECONDITION);
  Require(status.ok() || !status.error_message().empty());
}

void Diagnose(std::shared_ptr<const Teacher> teacher, const uint8_t* data, size_t size) {
  v1::DiagnoseRequest request;
  if (!request.ParseFromArray(data, static_cast<int>(size)) || request.items_size() > 64) return;
  v1::DiagnoseReply reply;
  TeacherService service(std::move(teacher), Find);
  const grpc::Status status = service.Diagnose(nullptr, &request, &reply);
  Typed(status);
  if (!status.ok()) return;
  Require(reply.results_size() == request.items_size());
  for (const v1::DiagnoseResult& result : reply.results()) {
    Require(result.outcome() != v1::OUTCOME_UNSPECIFIED);
    // Nothing here is at fault but an inline scene without ground truth.
    Require(result.outcome() != v1::INTERNAL || (request.has_scene() && !HasGroundTruth(request.scene())));
    Require(result.outcome() == v1::OK || !result.detail().empty());
    Require((result.outcome() == v1::OK) == result.has_feedback());
    const v1::Feedback& feedback = result.feedback();
    Require(result.outcome() != v1::OK || !feedback.prompt_text().empty() || feedback.injected_size() > 0);
  }
}

template <typename Method>
void Call(TeacherAdminService* service, Method method, const uint8_t* data, size_t size) {
  const std::optional<grpc::Status> answer = swerve::testing::CallWithBytes(service, method, data, size);
  if (answer.has_value()) Typed(*answer);
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static std::unique_ptr<Fixture> fixture;
  static int inputs = 0;
  if (size == 0) return 0;
  if (inputs++ % 64 == 0) {
    fixture.reset();
    fixture = std::make_unique<Fixture>();
  }
  TeacherAdminService admin(fixture->gateway());
  const uint8_t* rest = data + 1;
  --size;
  switch (data[0] % 9) {
    case 0: Diagnose(std::make_shared<OracleTeacher>(1.0), rest, size); break;
    case 1: Diagnose(std::make_shared<RuleTeacher>(), rest, size); break;
    case 2: Diagnose(std::make_shared<GroundTruthTeacher>(), rest, size); break;
    case 3: Diagnose(fixture->gateway(), rest, size); break;
    case 4: Call(&admin, &TeacherAdminService::ListTeachers, rest, size); break;
    case 5: Call(&admin, &TeacherAdminService::AddTeacher, rest, size); break;
    case 6: Call(&admin, &TeacherAdminService::RemoveTeacher, rest, size); break;
    case 7: Call(&admin, &TeacherAdminService::SetTeacherWeight, rest, size); break;
    default: Call(&admin, &TeacherAdminService::DrainTeacher, rest, size); break;
  }
  return 0;
}
