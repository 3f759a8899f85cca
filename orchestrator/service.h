// The orchestrator's gRPC service: the ledger behind one lock, its state on disk before any answer that depends on it,
// and what every role reports. Thread-safe. Blocks only on its own small state file.
#ifndef SWERVE_ORCHESTRATOR_SERVICE_H_
#define SWERVE_ORCHESTRATOR_SERVICE_H_

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "base/role_files.h"
#include "base/status.h"
#include "buffers/buffers.h"
#include "orchestrator/ledger.h"
#include "orchestrator/metrics.h"
#include "swerve/v1/config.pb.h"
#include "swerve/v1/orchestrator.grpc.pb.h"

namespace swerve {

class OrchestratorService : public v1::Orchestrator::Service {
 public:
  struct Options {
    RunDir run{""};
    std::string run_id;
    v1::RunConfig config;
    std::vector<std::string> scenes;  // ids to draw from; not empty
    std::function<absl::Time()> clock;
  };

  // Restores the ledger from <run>/ledger.pb and the episode store. `buffers` must outlive it.
  // INVALID_ARGUMENT: no scenes, or a state file that is not one. Errors of the store.
  static absl::StatusOr<std::unique_ptr<OrchestratorService>> Create(Options options, Buffers* buffers);

  grpc::Status LeaseScenes(grpc::ServerContext*, const v1::LeaseRequest*, v1::LeaseReply*) override;
  grpc::Status CompleteLease(grpc::ServerContext*, const v1::CompleteRequest*, v1::CompleteReply*) override;
  grpc::Status AnnouncePolicy(grpc::ServerContext*, const v1::AnnounceRequest*, v1::AnnounceReply*) override;
  grpc::Status GetPolicy(grpc::ServerContext*, const v1::GetPolicyRequest*, v1::PolicyManifest*) override;
  grpc::Status Report(grpc::ServerContext*, const v1::ReportRequest*, v1::ReportReply*) override;
  grpc::Status GetStatus(grpc::ServerContext*, const v1::StatusRequest*, v1::StatusReply*) override;
  grpc::Status Drain(grpc::ServerContext*, const v1::DrainRequest*, v1::DrainReply*) override;

  // FAILED_PRECONDITION, with the commonest reason, when nothing but drops comes back.
  absl::Status Health() ABSL_LOCKS_EXCLUDED(mu_);

 private:
  OrchestratorService(Options options, Buffers* buffers, Ledger ledger);
  absl::Status Save() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void SetStep(uint64_t step) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void CountMetrics() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  double Elapsed() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void RefreshDifficulty();

  const Options options_;
  Buffers* const buffers_;
  const absl::Time started_;
  OrchestratorMetrics metrics_;
  absl::Mutex mu_;
  Ledger ledger_ ABSL_GUARDED_BY(mu_);
  v1::PolicyManifest policy_ ABSL_GUARDED_BY(mu_);
  uint64_t step_ ABSL_GUARDED_BY(mu_) = 0;
  bool finished_ ABSL_GUARDED_BY(mu_) = false;
  bool draining_ ABSL_GUARDED_BY(mu_) = false;
  double elapsed_before_ ABSL_GUARDED_BY(mu_) = 0;  // seconds, of earlier processes of this run
  std::map<std::string, v1::RoleStatus> roles_ ABSL_GUARDED_BY(mu_);
};

// The ids a run draws from: all of scenes.train, or those that scenes.curated names. A curated file has one scene per
// line, its id first (up to a tab); lines that begin with # are comments.
// INVALID_ARGUMENT: nothing to train on, or a curated id that the data sets lack.
absl::StatusOr<std::vector<std::string>> TrainingScenes(const v1::ScenesConfig& config);

// The ids in such a file, in its order.
absl::StatusOr<std::vector<std::string>> ReadCurated(const std::string& path);

}  // namespace swerve

#endif  // SWERVE_ORCHESTRATOR_SERVICE_H_
