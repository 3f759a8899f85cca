#include "cli/commands.h"

#include <CLI/CLI.hpp>

#include "certs/commands.h"
#include "evaluation/commands.h"
#include "learner/objective_commands.h"
#include "learner/sft_data_commands.h"
#include "policy/serve_command.h"
#include "policy/tokenizer_commands.h"
#include "reward_service/commands.h"
#include "scenes/commands.h"
#include "scenes/generator/commands.h"
#include "orchestrator/commands.h"
#include "rollout_workers/commands.h"
#include "teacher_gateway/commands.h"
#ifdef SWERVE_WITH_TORCH
#include "chaos/commands.h"
#include "learner/learner_commands.h"
#include "learner/sft_commands.h"
#include "learner/train_bench.h"
#include "policy/commands.h"
#endif

// Each room's registration, in the order of `swerve --help`. Rooms that need LibTorch are behind SWERVE_WITH_TORCH.

namespace swerve {

void AddAllCommands(CLI::App& app) {
  AddDemoCommand(app);
  AddCurateCommand(app);
  AddTrainCommand(app);
  AddOrchestratorCommands(app);
  AddObjectiveCommands(app);
  AddSftDataCommands(app);
  AddScenesCommands(app);
  AddGeneratorCommands(app);
  AddRewardCommands(app);
  AddReportCommands(app);
  AddEvalCommands(app);
  AddTeacherCommands(app);
  AddCompareCommand(*app.get_subcommand("teachers"));
  AddCertsCommand(app);
  AddRolloutCommands(app);
  AddTokenizerCommands(app);
  AddServePolicyCommand(app);
#ifdef SWERVE_WITH_TORCH
  AddSftCommands(app);
  AddLearnerCommands(app);
  AddPolicyCommands(app);
  AddTrainBenchCommand(*app.get_subcommand("policy"));
  AddChaosCommand(app);
#endif
}

}  // namespace swerve
