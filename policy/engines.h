// Flags that choose an engine, one set for all commands that generate; CreateEngine (engine.h) makes what they say.
#ifndef SWERVE_POLICY_ENGINES_H_
#define SWERVE_POLICY_ENGINES_H_

#include "policy/engine.h"

namespace CLI {
class App;
}

namespace swerve {

// --engine, --engine-url and what goes with them. `options` outlives `command`.
void AddEngineFlags(CLI::App* command, EngineOptions* options);

}  // namespace swerve

#endif  // SWERVE_POLICY_ENGINES_H_
