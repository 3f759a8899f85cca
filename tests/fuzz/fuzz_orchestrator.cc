// Bytes as the requests of the orchestrator's service, called directly: the first byte chooses the call. A service and its
// files live for 64 inputs.
#include <memory>

#include "orchestrator/service.h"
#include "tests/fuzz/require.h"
#include "tests/fuzz/rpc_call.h"
#include "tests/fuzz/temporary_dir.h"

namespace {
using namespace swerve;
using swerve::testing::Require;

class Fixture {
 public:
  Fixture() : dir_("fuzz_orchestrator") {
    Require(RunDir(dir_.path()).Create().ok());
    buffers_ = OpenBuffers("sqlite", dir_.path(), "run").value();
    OrchestratorService::Options options;
    options.run = RunDir(dir_.path());
    options.run_id = "run";
    options.config.mutable_learner()->set_batch_groups(2);
    options.scenes = {"a", "b", "c"};
    options.clock = [this] { return now_ += absl::Seconds(1); };
    service_ = OrchestratorService::Create(std::move(options), buffers_.get()).value();
  }
  OrchestratorService* service() const { return service_.get(); }

 private:
  const swerve::testing::TemporaryDir dir_;
  absl::Time now_ = absl::FromUnixSeconds(1000);
  std::unique_ptr<Buffers> buffers_;
  std::unique_ptr<OrchestratorService> service_;
};

template <typename Method>
void Call(OrchestratorService* service, Method method, const uint8_t* data, size_t size) {
  const std::optional<grpc::Status> answer = swerve::testing::CallWithBytes(service, method, data, size);
  if (!answer.has_value()) return;
  const grpc::Status& status = *answer;
  const auto code = status.error_code();
  Require(code == grpc::StatusCode::OK || code == grpc::StatusCode::INVALID_ARGUMENT || code == grpc::StatusCode::NOT_FOUND ||
          code == grpc::StatusCode::ALREADY_EXISTS || code == grpc::StatusCode::FAILED_PRECONDITION);
  Require(status.ok() || !status.error_message().empty());
  v1::StatusReply now;
  Require(service->GetStatus(nullptr, nullptr, &now).ok());
  Require(now.groups_running() <= 4);  // (1 + 0 + 1) · 2, whoever asks for what
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
  OrchestratorService* service = fixture->service();
  const uint8_t* rest = data + 1;
  --size;
  switch (data[0] % 7) {
    case 0: Call(service, &OrchestratorService::LeaseScenes, rest, size); break;
    case 1: Call(service, &OrchestratorService::CompleteLease, rest, size); break;
    case 2: Call(service, &OrchestratorService::AnnouncePolicy, rest, size); break;
    case 3: Call(service, &OrchestratorService::GetPolicy, rest, size); break;
    case 4: Call(service, &OrchestratorService::Report, rest, size); break;
    case 5: Call(service, &OrchestratorService::GetStatus, rest, size); break;
    default: Call(service, &OrchestratorService::Drain, rest, size); break;
  }
  return 0;
}
