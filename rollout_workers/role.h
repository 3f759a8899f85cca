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

}  // namespace swerve

#endif  // SWERVE_ROLLOUT_WORKERS_ROLE_H_
