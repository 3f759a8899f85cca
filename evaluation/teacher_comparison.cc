#include "evaluation/teacher_comparison.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "base/progress.h"
#include "evaluation/eval.h"
#include "policy/codec.h"
#include "rollout_workers/diagnose.h"
#include "rollout_workers/episode.h"
#include "rollout_workers/refine.h"
#include "rollout_workers/rollout.h"
#include "rollout_workers/score.h"

namespace swerve {
namespace {

v1::RunConfig ConfigOf(const ComparisonOptions& options) {
  v1::RunConfig config;
  config.set_seed(options.seed);
  v1::RolloutConfig& rollout = *config.mutable_rollout();
  rollout.set_num_generations(options.samples);
  rollout.set_temperature(options.temperature);
  rollout.set_refine_temperature(options.refine_temperature);
  rollout.set_success_threshold(options.success_threshold);
  rollout.set_max_new_tokens(options.max_new_tokens);
  rollout.set_refine_correct(false);  // only failures are compared
  return config;
}

absl::StatusOr<std::vector<GenerateResult>> Generate(Engine& engine, const std::vector<GenerateRequest>& requests) {
  if (requests.empty()) return std::vector<GenerateResult>{};
  SWERVE_ASSIGN_OR_RETURN(std::vector<GenerateResult> results, engine.Generate(requests));
  if (results.size() != requests.size()) {
    return absl::InternalError(absl::StrCat("the engine answered ", results.size(), " of ", requests.size(), " requests"));
  }
  return results;
}

int Failures(const ScoredGroup& group, double s) {
  int failures = 0;
  for (const v1::Sample& sample : group.rollout.samples) {
    failures += sample.outcome() == v1::OK && sample.reward().traj() < s;
  }
  return failures;
}

// Compares one batch of scenes after the other.
class Comparer {
 public:
  Comparer(Engine& engine, const SceneStore& store, RewardClient& reward, const std::array<ComparedTeacher, 2>& teachers,
           const ComparisonOptions& options)
      : engine_(engine), store_(store), reward_(reward), teachers_(teachers), s_(options.success_threshold),
        config_(ConfigOf(options)) {}

  absl::Status Add(absl::Span<const std::string> ids) {
    std::vector<ScoredGroup> failing;
    SWERVE_RETURN_IF_ERROR(Answer(ids, &failing));
    const size_t first = groups.size();
    for (const ScoredGroup& group : failing) {
      groups.emplace_back();
      for (ComparedGroup& arm : groups.back()) arm.failures = Failures(group, s_);
    }
    for (size_t arm = 0; arm < 2; ++arm) SWERVE_RETURN_IF_ERROR(Refine(arm, failing, first));
    return absl::OkStatus();
  }

  std::vector<std::array<ComparedGroup, 2>> groups;
  int responses = 0;

 private:
  // Groups in which something failed, sampled and scored.
  absl::Status Answer(absl::Span<const std::string> ids, std::vector<ScoredGroup>* failing) {
    std::vector<LeasedGroup> leased;
    std::vector<GenerateRequest> requests;
    for (const std::string& id : ids) {
      SWERVE_ASSIGN_OR_RETURN(std::shared_ptr<const v1::Scene> scene, store_.Get(id));
      if (scene->gt_size() != kPoses) {
        return absl::InvalidArgumentError(absl::StrCat("scene ", id, " has ", scene->gt_size(),
                                                       " ground-truth poses; a teacher needs ", kPoses));
      }
      v1::Lease lease;
      lease.set_scene_id(id);
      lease.set_group(next_group_++);
      leased.push_back(Prepare(std::move(lease), "compare", std::move(scene), engine_.image_size(), engine_.codec().Ask()));
      requests.push_back(RolloutRequest(leased.back(), config_));
    }
    SWERVE_ASSIGN_OR_RETURN(std::vector<GenerateResult> results, Generate(engine_, requests));
    for (size_t i = 0; i < leased.size(); ++i) {
      RolloutGroup group = FinishRollout(std::move(leased[i]), config_, std::move(results[i]), engine_.policy(), 0);
      auto scored = Score(std::move(group), config_, reward_);
      if (!scored.ok()) return Annotate(scored.status(), absl::StrCat("scene ", ids[i]));
      responses += config_.rollout().num_generations();
      if (Failures(*scored, s_) > 0) failing->push_back(*std::move(scored));
    }
    return absl::OkStatus();
  }

  absl::Status Refine(size_t arm, const std::vector<ScoredGroup>& failing, size_t first) {
    std::vector<DiagnosedGroup> diagnosed;
    std::vector<std::vector<RefineRequest>> asked;
    std::vector<GenerateRequest> requests;
    for (const ScoredGroup& group : failing) {
      diagnosed.push_back(Diagnose(group, config_, *teachers_[arm].client));
      asked.push_back(RefineRequests(diagnosed.back(), config_));
      std::erase_if(asked.back(), [this](const RefineRequest& r) { return !engine_.Check(r.generate).ok(); });
      for (const RefineRequest& r : asked.back()) requests.push_back(r.generate);
    }
    SWERVE_ASSIGN_OR_RETURN(std::vector<GenerateResult> results, Generate(engine_, requests));
    size_t next = 0;
    for (size_t i = 0; i < diagnosed.size(); ++i) {
      std::vector<std::optional<v1::Response>> answers(asked[i].size());
      for (auto& answer : answers) {
        GenerateResult& result = results[next++];
        if (result.responses.size() == 1) answer = std::move(result.responses[0]);
      }
      absl::Status failure;
      RefinedGroup refined =
          FinishRefine(std::move(diagnosed[i]), asked[i], std::move(answers), config_, engine_, reward_, &failure);
      if (!failure.ok()) return Annotate(failure, absl::StrCat(teachers_[arm].name, ": refining"));
      const v1::Episode episode = MakeEpisode(std::move(refined), config_, absl::UnixEpoch());
      for (const auto& [name, tally] : TallyTeachers(episode, s_)) groups[first + i][arm].tally.Add(tally);
    }
    return absl::OkStatus();
  }

  Engine& engine_;
  const SceneStore& store_;
  RewardClient& reward_;
  const std::array<ComparedTeacher, 2>& teachers_;
  const double s_;
  const v1::RunConfig config_;
  uint64_t next_group_ = 0;
};

absl::Status Check(const ComparisonOptions& options) {
  if (options.samples < 2) return absl::InvalidArgumentError("samples must be at least 2");
  if (options.batch_scenes < 1) return absl::InvalidArgumentError("batch_scenes must be at least 1");
  if (options.limit < 0) return absl::InvalidArgumentError("limit must not be negative");
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Comparison> CompareTeachers(Engine& engine, const SceneStore& store, RewardClient& reward,
                                           const std::array<ComparedTeacher, 2>& teachers,
                                           const ComparisonOptions& options) {
  SWERVE_RETURN_IF_ERROR(Check(options));
  const std::vector<std::string> ids = ChooseScenes(store, options.limit, options.seed);
  if (ids.empty()) return absl::InvalidArgumentError("no scenes to compare teachers on");
  Comparer comparer(engine, store, reward, teachers, options);
  Comparison out;
  Progress progress("comparing", ids.size(), "scenes");
  const size_t step = static_cast<size_t>(options.batch_scenes);
  for (size_t begin = 0; begin < ids.size(); begin += step) {
    const size_t count = std::min(step, ids.size() - begin);
    SWERVE_RETURN_IF_ERROR(comparer.Add(absl::MakeConstSpan(ids).subspan(begin, count)));
    for (size_t arm = 0; arm < 2; ++arm) {
      out.totals[arm] = TeacherTally();
      for (const auto& group : comparer.groups) out.totals[arm].Add(group[arm].tally);
    }
    progress.Add(count);
    progress.Note(absl::StrFormat("successes: %s %.0f, %s %.0f", teachers[0].name, out.totals[0].successes,
                                  teachers[1].name, out.totals[1].successes));
  }
  if (comparer.groups.empty()) {
    return absl::FailedPreconditionError(
        absl::StrCat("none of ", comparer.responses, " responses failed: there is nothing to ask a teacher about"));
  }
  out.names = {teachers[0].name, teachers[1].name};
  out.scenes = static_cast<int>(ids.size());
  out.groups = static_cast<int>(comparer.groups.size());
  out.responses = comparer.responses;
  for (const auto& group : comparer.groups) out.failures += static_cast<int>(group[0].failures);
  out.seed = options.seed;
  out.figures = FiguresOf(comparer.groups, options.seed);
  return out;
}

}  // namespace swerve
