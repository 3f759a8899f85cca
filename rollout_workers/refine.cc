#include "rollout_workers/refine.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/random.h"
#include "rollout_workers/rollout.h"
#include "rollout_workers/score.h"
#include "scenes/prompt.h"

namespace swerve {
namespace {

constexpr double kSamePose = 0.05;  // m, rad

// First original for which the teacher injects an answer; -1: none.
int InjectedFor(const DiagnosedGroup& group) {
  const auto& samples = group.scored.rollout.samples;
  for (size_t i = 0; i < samples.size(); ++i) {
    if (samples[i].outcome() == v1::OK && samples[i].feedback().injected_size() > 0) return static_cast<int>(i);
  }
  return -1;
}

// Teachers write pose3_text; a policy of another codec learns its own form of the same plan.
std::string InjectedText(const v1::Feedback& feedback, const Codec& codec) {
  const std::string& text = feedback.injected_text();
  const size_t answer = text.rfind("<answer>");
  if (codec.name() == PoseTextCodec().name() || answer == std::string::npos || feedback.injected_size() != kPoses) return text;
  const std::vector<v1::Pose> poses(feedback.injected().begin(), feedback.injected().end());
  return absl::StrCat(absl::string_view(text).substr(0, answer), "<answer>", codec.Answer(poses), "</answer>");
}

absl::StatusOr<v1::Response> Injected(const v1::Feedback& feedback, const Engine& engine) {
  v1::Response response;
  response.set_text(InjectedText(feedback, engine.codec()));
  SWERVE_ASSIGN_OR_RETURN(const std::vector<int32_t> ids, engine.Tokenize(response.text()));
  response.mutable_token_ids()->Assign(ids.begin(), ids.end());
  response.add_weight_versions(engine.policy().version());
  response.set_finish(v1::STOP);
  Decode(engine.codec(), &response);
  return response;
}

// The scene's ground truth as a response of the policy writes it; empty when the scene has none.
std::vector<v1::Pose> WrittenGroundTruth(const v1::Scene& scene, const Codec& codec) {
  const std::vector<v1::Pose> gt(scene.gt().begin(), scene.gt().end());
  const bool finite = std::all_of(gt.begin(), gt.end(), [](const v1::Pose& p) {
    return std::isfinite(p.x()) && std::isfinite(p.y()) && std::isfinite(p.heading());
  });
  if (gt.size() != kPoses || !finite) return {};
  return codec.Parse(absl::StrCat("<answer>", codec.Answer(gt), "</answer>")).poses;
}

bool SamePoses(const v1::Response& response, const std::vector<v1::Pose>& poses) {
  if (poses.empty() || response.poses_size() != static_cast<int>(poses.size())) return false;
  for (size_t i = 0; i < poses.size(); ++i) {
    const v1::Pose& pose = response.poses(static_cast<int>(i));
    const double turn = std::remainder(pose.heading() - poses[i].heading(), 2 * M_PI);
    // Written so that a pose that is not finite differs.
    if (!(std::abs(pose.x() - poses[i].x()) < kSamePose && std::abs(pose.y() - poses[i].y()) < kSamePose &&
          std::abs(turn) < kSamePose)) {
      return false;
    }
  }
  return true;
}

double BestOriginal(const DiagnosedGroup& group) {
  double best = 0;
  for (const v1::Sample& sample : group.scored.rollout.samples) {
    if (sample.outcome() == v1::OK) best = std::max(best, sample.reward().traj());
  }
  return best;
}

// Scores `refinements` in one call and drops those without a usable reward. Functions of a group judge them by the
// originals: a refinement is no member of the group that was sampled.
absl::Status ScoreAll(const RolloutGroup& originals, const v1::RunConfig& config, RewardClient& service,
                      std::vector<v1::Refinement>* refinements) {
  std::vector<const v1::Response*> responses;
  for (const v1::Refinement& r : *refinements) responses.push_back(&r.response());
  v1::ScoreGroupRequest request = ScoreRequest(originals.leased.lease.scene_id(), responses, config.reward());
  for (const v1::Sample& sample : originals.samples) {
    if (sample.outcome() != v1::OK || config.reward().rules().functions().empty()) continue;
    v1::GroupPeer* peer = request.add_peers();
    peer->set_text(sample.response().text());
    peer->set_traj(sample.reward().traj());
  }
  SWERVE_ASSIGN_OR_RETURN(const v1::ScoreGroupReply reply, service.ScoreGroup(request));
  if (reply.rewards_size() != static_cast<int>(refinements->size())) {
    return absl::DataLossError("the reward service answered for another number of refinements than it was asked");
  }
  std::vector<v1::Refinement> scored;
  for (int i = 0; i < reply.rewards_size(); ++i) {
    const v1::Reward& reward = reply.rewards(i);
    if (!std::isfinite(reward.total()) || !std::isfinite(reward.traj())) continue;
    scored.push_back(std::move((*refinements)[i]));
    *scored.back().mutable_reward() = reward;
  }
  *refinements = std::move(scored);
  return absl::OkStatus();
}

}  // namespace

std::vector<RefineRequest> RefineRequests(const DiagnosedGroup& group, const v1::RunConfig& config) {
  std::vector<RefineRequest> requests;
  const RolloutGroup& rollout = group.scored.rollout;
  for (size_t i = 0; i < rollout.samples.size(); ++i) {
    const v1::Sample& sample = rollout.samples[i];
    if (sample.outcome() != v1::OK || !sample.has_feedback() || sample.feedback().injected_size() > 0) continue;
    if (sample.feedback().positive() && !config.rollout().refine_correct()) continue;
    RefineRequest& request = requests.emplace_back();
    request.of_sample = static_cast<int>(i);
    request.generate.prompt.text =
        FeedbackPromptText(rollout.leased.prompt.text, sample.response().text(), sample.feedback().prompt_text());
    request.generate.prompt.image = rollout.leased.prompt.image;
    request.generate.seeds = {SampleSeed(config.seed(), rollout.leased.lease, static_cast<int>(i), v1::FEEDBACK)};
    request.generate.temperature = config.rollout().refine_temperature();
    request.generate.max_new_tokens = config.rollout().max_new_tokens();
  }
  return requests;
}

bool WantsRefinement(const DiagnosedGroup& group, const v1::RunConfig& config) {
  return config.rollout().k() > 0 && (InjectedFor(group) >= 0 || !RefineRequests(group, config).empty());
}

std::vector<int> SelectRefinements(absl::Span<const double> r_traj, double best_original, int k, uint64_t run_seed,
                                   uint64_t group) {
  std::vector<int> better;
  for (size_t i = 0; i < r_traj.size(); ++i) {
    if (r_traj[i] > best_original) better.push_back(static_cast<int>(i));
  }
  Random random(StreamSeed(run_seed, HashName("select refinements"), group));
  const size_t take = std::min(better.size(), static_cast<size_t>(std::max(k, 0)));
  for (size_t i = 0; i < take; ++i) std::swap(better[i], better[i + random.Below(better.size() - i)]);
  better.resize(take);
  std::sort(better.begin(), better.end());
  return better;
}

RefinedGroup FinishRefine(DiagnosedGroup diagnosed, const std::vector<RefineRequest>& requests,
                          std::vector<std::optional<v1::Response>> answers, const v1::RunConfig& config,
                          const Engine& engine, RewardClient& service, absl::Status* failure) {
  RefinedGroup group{std::move(diagnosed), {}};
  const RolloutGroup& rollout = group.diagnosed.scored.rollout;
  absl::Status status;
  for (size_t i = 0; i < requests.size() && i < answers.size(); ++i) {
    if (!answers[i] || answers[i]->token_ids().empty() || answers[i]->finish() == v1::CANCELLED) continue;
    v1::Refinement& refinement = group.refinements.emplace_back();
    *refinement.mutable_response() = *std::move(answers[i]);
    refinement.set_of_sample(requests[i].of_sample);
  }
  if (const int sample = InjectedFor(group.diagnosed); sample >= 0) {
    absl::StatusOr<v1::Response> injected = Injected(rollout.samples[sample].feedback(), engine);
    status = injected.status();
    if (injected.ok()) {
      v1::Refinement& refinement = group.refinements.emplace_back();
      *refinement.mutable_response() = *std::move(injected);
      refinement.set_of_sample(sample);
    }
  }
  if (!group.refinements.empty()) {
    absl::Status scored = ScoreAll(rollout, config, service, &group.refinements);
    if (!scored.ok()) {
      group.refinements.clear();
      status = std::move(scored);
    }
  }
  const std::vector<v1::Pose> gt = WrittenGroundTruth(*rollout.leased.scene, engine.codec());
  std::vector<double> r_traj;
  for (v1::Refinement& r : group.refinements) {
    r_traj.push_back(r.reward().traj());
    r.set_equals_ground_truth(SamePoses(r.response(), gt));
  }
  for (const int i : SelectRefinements(r_traj, BestOriginal(group.diagnosed), config.rollout().k(), config.seed(),
                                       rollout.leased.lease.group())) {
    group.refinements[i].set_selected(true);
  }
  if (failure != nullptr) *failure = std::move(status);
  return group;
}

}  // namespace swerve
