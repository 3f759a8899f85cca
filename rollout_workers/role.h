// The process around a worker: its scenes, buffers, clients and engine, opened from the run's configuration.
#ifndef SWERVE_ROLLOUT_WORKERS_ROLE_H_
#define SWERVE_ROLLOUT_WORKERS_ROLE_H_

#include <functional>
#include <memory>

#include "base/role_main.h"
#include "policy/engine.h"

namespace swerve {

using EngineFactory = std::function<absl::StatusOr<std::unique_ptr<Engine>>(const EngineOptions&)>;

// Errors of opening any of them, with a message for people. Loading the model blocks for as long as it takes.
absl::StatusOr<std::unique_ptr<Role>> MakeRolloutRole(const RoleContext& context, const EngineFactory& make_engine);

// rollout.servers of the worker with this role: rollout-3 of 4 has every fourth url, for a server that two workers gave weights
// would serve neither.
ServerOptions ServersOf(const v1::RunConfig& config, const std::string& role, const std::string& run_id);

}  // namespace swerve

#endif  // SWERVE_ROLLOUT_WORKERS_ROLE_H_
