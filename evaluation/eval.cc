#include "evaluation/eval.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/progress.h"
#include "base/random.h"
#include "reward_service/rewards.h"
#include "scenes/prompt.h"
#include "scenes/raster.h"

namespace swerve {
namespace {

constexpr int kPlanPoses = 8;

// A scene while its answers are on their way.
struct Pending {
  std::shared_ptr<const v1::Scene> scene;
  std::shared_ptr<const RewardTarget> target;
};

absl::StatusOr<Pending> Load(const SceneStore& store, const std::string& id) {
  Pending p;
  SWERVE_ASSIGN_OR_RETURN(p.scene, store.Get(id));
  if (p.scene->gt_size() != kPlanPoses) {
    return absl::InvalidArgumentError(absl::StrCat("scene ", id, " has ", p.scene->gt_size(),
                                                   " ground-truth poses; an evaluation needs ", kPlanPoses));
  }
  auto target = PrepareTarget(*p.scene);
  if (!target.ok()) return Annotate(target.status(), absl::StrCat("scene ", id));
  p.target = *std::move(target);
  return p;
}

// The greedy request and the sampled one of a scene.
void AddRequests(const v1::Scene& scene, const Engine& engine, const EvalOptions& options,
                 std::vector<GenerateRequest>* requests) {
  GenerateRequest greedy;
  greedy.prompt.text = BasePromptText(scene, engine.codec().Ask());
  if (const int size = engine.image_size(); size > 0) greedy.prompt.image = std::make_shared<const Image>(Rasterise(scene, size));
  greedy.max_new_tokens = options.max_new_tokens;
  GenerateRequest sampled = greedy;
  greedy.temperature = 0;
  greedy.seeds = {0};
  sampled.temperature = options.temperature;
  for (int i = 1; i <= options.samples; ++i) {
    sampled.seeds.push_back(StreamSeed(options.seed, HashName("eval"), HashName(scene.id()), i));
  }
  requests->push_back(std::move(greedy));
  if (options.samples > 0) requests->push_back(std::move(sampled));
}

std::vector<v1::Pose> PosesOf(const google::protobuf::RepeatedPtrField<v1::Pose>& poses) {
  return {poses.begin(), poses.end()};
}

SceneResult Reduce(const v1::Scene& scene, absl::Span<const EvalAnswer> answers) {
  SceneResult r;
  r.scene_id = scene.id();
  r.family = scene.family();
  r.total_failure = answers.size() > 1;
  for (const EvalAnswer& a : answers) {
    if (a.sample > 0) {
      r.total_failure = r.total_failure && a.reward.traj() == 0;
      continue;
    }
    r.greedy = a.reward.scores();
    r.format_ok = a.reward.fmt() == 1.0;
    r.planning_ok = a.response.poses_size() == kPlanPoses &&
                    MetaActionOf(scene, PosesOf(a.response.poses())) == MetaActionOf(scene, PosesOf(scene.gt()));
  }
  return r;
}

// Scores all answers of one scene in one call, as the reward service does.
absl::StatusOr<std::vector<EvalAnswer>> ScoreAnswers(const Pending& pending, absl::Span<const GenerateResult> results,
                                                     double temperature) {
  std::vector<EvalAnswer> answers;
  v1::ScoreGroupRequest request;
  request.set_scene_id(pending.scene->id());
  for (const GenerateResult& result : results) {
    for (const v1::Response& response : result.responses) {
      EvalAnswer& a = answers.emplace_back();
      a.scene_id = pending.scene->id();
      a.family = pending.scene->family();
      a.sample = static_cast<int>(answers.size()) - 1;
      a.temperature = a.sample == 0 ? 0 : temperature;
      a.response = response;
      v1::ScoreCandidate* candidate = request.add_candidates();
      *candidate->mutable_poses() = response.poses();
      candidate->set_text(response.text());
      candidate->set_parse(response.parse());
    }
  }
  SWERVE_ASSIGN_OR_RETURN(v1::ScoreGroupReply reply, ScoreGroup(*pending.target, request, UnitWeights()));
  for (size_t i = 0; i < answers.size(); ++i) answers[i].reward = std::move(*reply.mutable_rewards(static_cast<int>(i)));
  return answers;
}

}  // namespace

absl::StatusOr<EvalResult> Evaluate(Engine& engine, const SceneStore& store, const EvalOptions& options,
                                    const AnswerSink& sink) {
  const std::vector<std::string> ids = ChooseScenes(store, options.max_scenes, options.seed);
  if (ids.empty()) return absl::InvalidArgumentError("no scenes to evaluate on");
  if (options.samples < 0 || options.batch_scenes < 1) {
    return absl::InvalidArgumentError("samples must be at least 0 and batch_scenes at least 1");
  }
  const size_t per_scene = options.samples > 0 ? 2 : 1;
  std::vector<SceneResult> done;
  double pdms = 0;
  int failures = 0;
  Progress progress("evaluating", ids.size(), "scenes");
  for (size_t begin = 0; begin < ids.size(); begin += options.batch_scenes) {
    const size_t end = std::min(ids.size(), begin + options.batch_scenes);
    std::vector<Pending> batch;
    std::vector<GenerateRequest> requests;
    for (size_t i = begin; i < end; ++i) {
      SWERVE_ASSIGN_OR_RETURN(batch.emplace_back(), Load(store, ids[i]));
      AddRequests(*batch.back().scene, engine, options, &requests);
    }
    SWERVE_ASSIGN_OR_RETURN(const std::vector<GenerateResult> results, engine.Generate(requests));
    if (results.size() != requests.size()) {
      return absl::InternalError(absl::StrCat("the engine answered ", results.size(), " of ", requests.size(), " requests"));
    }
    for (size_t i = 0; i < batch.size(); ++i) {
      SWERVE_ASSIGN_OR_RETURN(
          const std::vector<EvalAnswer> answers,
          ScoreAnswers(batch[i], absl::MakeConstSpan(results).subspan(i * per_scene, per_scene), options.temperature));
      if (sink) {
        for (const EvalAnswer& answer : answers) SWERVE_RETURN_IF_ERROR(sink(answer));
      }
      done.push_back(Reduce(*batch[i].scene, answers));
      pdms += done.back().greedy.pdms();
      failures += done.back().total_failure;
      progress.Add(1);
    }
    const double n = static_cast<double>(done.size());
    progress.Note(absl::StrFormat("PDMS %.3f, all failed %.1f %%", pdms / n, 100 * failures / n));
  }
  return SummariseByFamily(done, options.seed);
}

}  // namespace swerve
