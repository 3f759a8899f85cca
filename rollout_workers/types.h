// One scene's group on its way through the worker. Every step takes the type of the step before and returns its own,
// so that none can be skipped or taken out of order:
//
//   LeasedGroup ─rollout─▶ RolloutGroup ─score─▶ ScoredGroup ─diagnose─▶ DiagnosedGroup ─refine─▶ RefinedGroup
//               ─episode─▶ v1::Episode
//
// Plain values, moved from step to step; only the steps make them.
#ifndef SWERVE_ROLLOUT_WORKERS_TYPES_H_
#define SWERVE_ROLLOUT_WORKERS_TYPES_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "policy/engine.h"
#include "swerve/v1/episode.pb.h"
#include "swerve/v1/orchestrator.pb.h"
#include "swerve/v1/scene.pb.h"

namespace swerve {

struct LeasedGroup {
  v1::Lease lease;
  std::string run_id;
  std::shared_ptr<const v1::Scene> scene;
  Prompt prompt;  // base prompt: text and picture
};

struct RolloutGroup {
  LeasedGroup leased;
  std::vector<int32_t> prompt_ids;  // of the base prompt, image tokens expanded
  std::vector<v1::Sample> samples;  // n, in order; outcome OK, or masked with a detail
  v1::PolicyManifest policy;        // sampled from
  double generate_seconds = 0;
};

// Every sample with outcome OK has a reward; at least two have.
struct ScoredGroup {
  RolloutGroup rollout;
  double score_seconds = 0;
};

// Samples the teacher spoke on have a feedback; others say why not in feedback_outcome.
struct DiagnosedGroup {
  ScoredGroup scored;
  std::string teacher;
  uint64_t teacher_set_version = 0;  // 0: none was asked, or the gateway did not say
  double diagnose_seconds = 0;
};

// All refinements that were sampled (or injected) and scored, the selected ones marked.
struct RefinedGroup {
  DiagnosedGroup diagnosed;
  std::vector<v1::Refinement> refinements;
};

}  // namespace swerve

#endif  // SWERVE_ROLLOUT_WORKERS_TYPES_H_
