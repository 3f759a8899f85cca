// The reward service as a process: in a run (`swerve serve reward`) and by itself (`swerve reward`).
#ifndef SWERVE_REWARD_SERVICE_ROLE_H_
#define SWERVE_REWARD_SERVICE_ROLE_H_

#include <memory>
#include <vector>

#include "base/http_server.h"
#include "base/role_main.h"
#include "reward_service/heaps.h"
#include "reward_service/scoring_pool.h"
#include "reward_service/service.h"
#include "scenes/store.h"

namespace swerve {

// Sections reward, scenes.train and telemetry.listen of a run's configuration, at work. Serves HTTP from Make until
// the end of Run when reward.http_port is set.
class RewardRole final : public Role {
 public:
  // Without scenes.train only groups with an inline scene can be scored. Errors of SceneStore::Open and
  // HttpServer::Start.
  static absl::StatusOr<std::unique_ptr<RewardRole>> Make(const v1::RunConfig& config);

  std::vector<GrpcService> services() override { return service_.registrations(); }
  int http_port() const override { return http_ == nullptr ? 0 : http_->port(); }
  absl::Status Run() override;
  int scenes() const { return scenes_ == nullptr ? 0 : static_cast<int>(scenes_->ids().size()); }

 private:
  RewardRole(std::unique_ptr<SceneStore> scenes, const ScoringOptions& options);

  const std::unique_ptr<SceneStore> scenes_;  // may be null
  ScoringPool pool_;
  RewardService service_;
  HeapTrimmer trimmer_;
  std::unique_ptr<HttpServer> http_;  // may be null; ends first
};

struct StandaloneOptions {  // ports; 0: any free one
  int port = 50051;
  int http_port = 8901;
  int metrics_port = 0;
};

// Serves until asked to stop (base/stop.h). When it serves, prints {"grpc", "http", "metrics", "scenes", "pid"} as one
// line to stdout. Blocks; main thread. Errors carry a message for people.
absl::Status ServeRewardsAlone(v1::RunConfig config, const StandaloneOptions& options);

}  // namespace swerve

#endif  // SWERVE_REWARD_SERVICE_ROLE_H_
