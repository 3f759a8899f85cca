#include "learner/sft_data.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/random.h"
#include "learner/perturb.h"
#include "pdm/score.h"
#include "scenes/prompt.h"
#include "scenes/raster.h"

namespace swerve {
namespace {

constexpr int kTries = 6;  // mistakes tried until one is scored as wrong

// A bijection of [0, n) drawn by `seed`: a Feistel network on the next even power of two, walked until inside.
uint64_t Permute(uint64_t i, uint64_t n, uint64_t seed) {
  const int half = std::max(1, static_cast<int>(std::bit_width(n - 1) + 1) / 2);
  const uint64_t mask = (uint64_t{1} << half) - 1;
  do {
    uint64_t left = i >> half, right = i & mask;
    for (uint64_t round = 0; round < 4; ++round) {
      left = std::exchange(right, left ^ (StreamSeed(seed, round, right) & mask));
    }
    i = left << half | right;
  } while (i >= n);
  return i;
}

// Index drawn by weight; the weights add up to more than 0.
size_t Draw(absl::Span<const double> weights, Random& random) {
  double total = 0;
  for (double w : weights) total += w;
  double u = random.Uniform() * total;
  for (size_t i = 0; i < weights.size(); ++i) {
    if (u < weights[i]) return i;
    u -= weights[i];
  }
  return static_cast<size_t>(std::max_element(weights.begin(), weights.end()) - weights.begin());
}

std::vector<pdm::Pose2> Plain(absl::Span<const v1::Pose> poses) {
  std::vector<pdm::Pose2> out;
  for (const v1::Pose& p : poses) out.push_back({p.x(), p.y(), p.heading()});
  return out;
}

std::unique_ptr<Teacher> EmbeddedTeacher(const std::string& kind) {
  v1::TeacherConfig config;
  config.set_kind(kind);
  return std::move(CreateTeacher(config)).value();
}

}  // namespace

struct SftData::Draft {
  std::shared_ptr<const v1::Scene> scene;
  std::shared_ptr<const pdm::PreparedScene> prepared;
  std::vector<v1::Pose> gt;
  Random random;
  SftExample example;
};

struct SftData::Attempt {
  v1::Response response;
  v1::Reward reward;
};

SftData::SftData(std::shared_ptr<const SceneStore> store, const SftOptions& options)
    : store_(std::move(store)), options_(options), oracle_(EmbeddedTeacher("oracle")), rule_(EmbeddedTeacher("rule")) {
  for (const SceneEntry& entry : store_->entries()) {
    if (entry.label != v1::NEGATIVE) ids_.push_back(entry.id);
  }
}

absl::StatusOr<std::unique_ptr<SftData>> SftData::Create(std::shared_ptr<const SceneStore> store,
                                                         const SftOptions& options) {
  const SftMix& m = options.mix;
  double total = 0;
  for (const double share : {m.qa, m.gt, m.correct, m.wrong_oracle, m.wrong_rule, m.follow}) {
    if (!(share >= 0)) return absl::InvalidArgumentError(absl::StrCat("a share of the SFT mix is ", share));
    total += share;
  }
  if (total <= 0) return absl::InvalidArgumentError("every share of the SFT mix is 0: nothing to learn");
  std::unique_ptr<SftData> data(new SftData(std::move(store), options));
  if (data->ids_.empty()) return absl::InvalidArgumentError("no scenes to fine-tune on (NEGATIVE ones do not count)");
  return data;
}

absl::StatusOr<SftExample> SftData::Example(uint64_t i) const {
  const uint64_t epoch = i / ids_.size();
  const std::string& id =
      ids_[Permute(i % ids_.size(), ids_.size(), StreamSeed(options_.seed, HashName("sft order"), epoch))];
  Draft draft{nullptr, nullptr, {}, Random(StreamSeed(options_.seed, HashName("sft example"), i)), {}};
  SWERVE_ASSIGN_OR_RETURN(draft.scene, store_->Get(id));
  const v1::Scene& scene = *draft.scene;
  if (scene.gt_size() != kPoses) {
    return absl::InvalidArgumentError(
        absl::StrCat("scene ", id, " has ", scene.gt_size(), " ground-truth poses; fine-tuning needs ", kPoses));
  }
  draft.gt.assign(scene.gt().begin(), scene.gt().end());
  draft.example.scene_id = id;
  if (options_.image_size > 0) {
    draft.example.image = std::make_shared<const Image>(Rasterise(scene, options_.image_size));
  }
  const SftMix& m = options_.mix;
  const size_t kind =
      Draw({m.qa, m.gt, m.correct, m.wrong_oracle, m.wrong_rule, m.follow}, draft.random);
  if (kind >= 2) {
    SWERVE_ASSIGN_OR_RETURN(draft.prepared, pdm::Prepare(scene));
  }
  switch (kind) {
    case 0: SWERVE_RETURN_IF_ERROR(FillQuestion(draft)); break;
    case 1: SWERVE_RETURN_IF_ERROR(FillGroundTruth(draft)); break;
    case 2: SWERVE_RETURN_IF_ERROR(FillCorrect(draft)); break;
    case 3: SWERVE_RETURN_IF_ERROR(FillWrong(draft, *oracle_, "wrong_oracle")); break;
    case 4: SWERVE_RETURN_IF_ERROR(FillWrong(draft, *rule_, "wrong_rule")); break;
    default: SWERVE_RETURN_IF_ERROR(FillFollow(draft)); break;
  }
  return std::move(draft.example);
}

// The scene's own ground truth as the codec writes it.
std::string SftData::GoodResponse(const v1::Scene& scene) const {
  const std::vector<v1::Pose> gt(scene.gt().begin(), scene.gt().end());
  return ResponseText(ThinkText(scene, gt), codec().Answer(gt));
}

// A response with that plan, scored as the reward service would: on what the codec reads from the text.
SftData::Attempt SftData::Answer(const Draft& draft, absl::Span<const v1::Pose> plan, const std::string& think) const {
  Attempt a;
  a.response.set_text(ResponseText(think, codec().Answer(plan)));
  Decode(codec(), &a.response);
  const std::vector<v1::Pose> poses(a.response.poses().begin(), a.response.poses().end());
  const pdm::Score score = pdm::ScoreTrajectory(*draft.prepared, Plain(poses));
  a.reward.set_traj(score.scores.pdms());
  a.reward.set_invalid(score.invalid);
  *a.reward.mutable_scores() = score.scores;
  *a.reward.mutable_facts() = score.facts;
  return a;
}

// A mistake that is scored as wrong, total failures preferred; in a scene that forgives everything, one that is not.
SftData::Attempt SftData::MakeWrong(Draft& draft) const {
  const v1::Scene& scene = *draft.scene;
  if (draft.random.Chance(0.08)) {
    Attempt broken;
    broken.response.set_text(BreakFormat(GoodResponse(scene), draft.random));
    broken.response.set_parse(codec().Parse(broken.response.text()).status);
    if (broken.response.parse() == v1::FAILED) {
      broken.reward.set_invalid(v1::UNPARSED);
      broken.reward.mutable_scores();
      return broken;
    }
  }
  Attempt attempt;
  for (int i = 0; i < kTries; ++i) {
    const auto mistake = static_cast<Mistake>(draft.random.Below(kMistakes));
    const std::vector<v1::Pose> plan = MakeMistake(mistake, draft.gt, scene.ego().vx(), draft.random);
    attempt = Answer(draft, plan, MisjudgeThink(ThinkText(scene, plan), draft.random));
    const double pdms = attempt.reward.traj();
    if (pdms < options_.success_threshold && (pdms == 0 || draft.random.Chance(0.6))) break;
  }
  return attempt;
}

// The feedback prompt on `attempt`; `scene` is what the teacher takes for the truth.
absl::Status SftData::Report(const Draft& draft, const Attempt& attempt, const Teacher& teacher,
                             const v1::Scene& scene, SftExample* example) const {
  v1::DiagnoseRequest request;
  request.set_scene_id(scene.id());
  request.set_success_threshold(options_.success_threshold);
  v1::DiagnoseItem* item = request.add_items();
  *item->mutable_response() = attempt.response;
  *item->mutable_reward() = attempt.reward;
  const v1::DiagnoseReply reply = teacher.Diagnose(request, scene);
  if (reply.results_size() != 1 || reply.results(0).outcome() != v1::OK) {
    return absl::InternalError(absl::StrCat("teacher ", teacher.name(), " on scene ", scene.id(), ": ",
                                            reply.results_size() == 1 ? reply.results(0).detail() : "no result"));
  }
  example->prompt_text =
      FeedbackPromptText(BasePromptText(*draft.scene, codec().Ask()), attempt.response.text(), reply.results(0).feedback().prompt_text());
  return absl::OkStatus();
}

absl::Status SftData::FillQuestion(Draft& draft) const {
  std::vector<QuestionAnswer> all = SceneQuestions(*draft.scene);
  if (all.empty()) return FillGroundTruth(draft);
  QuestionAnswer& one = all[draft.random.Below(all.size())];
  draft.example.kind = "qa";
  draft.example.prompt_text = std::move(one.question);
  draft.example.target_text = std::move(one.answer);
  return absl::OkStatus();
}

absl::Status SftData::FillGroundTruth(Draft& draft) const {
  draft.example.kind = "gt";
  draft.example.prompt_text = BasePromptText(*draft.scene, codec().Ask());
  draft.example.target_text = GoodResponse(*draft.scene);
  return absl::OkStatus();
}

absl::Status SftData::FillCorrect(Draft& draft) const {
  const std::vector<v1::Pose> other = OtherPlan(draft.gt, draft.scene->ego().vx(), draft.random);
  for (const std::vector<v1::Pose>& plan : {other, draft.gt}) {
    const Attempt attempt = Answer(draft, plan, ThinkText(*draft.scene, plan));
    if (attempt.reward.traj() < options_.success_threshold) continue;
    draft.example.kind = "correct";
    draft.example.target_text = attempt.response.text();
    return Report(draft, attempt, *rule_, *draft.scene, &draft.example);
  }
  return FillGroundTruth(draft);
}

absl::Status SftData::FillWrong(Draft& draft, const Teacher& teacher, const char* kind) const {
  const Attempt wrong = MakeWrong(draft);
  if (wrong.reward.traj() >= options_.success_threshold) {
    draft.example.kind = "correct";
    draft.example.target_text = wrong.response.text();
    return Report(draft, wrong, teacher, *draft.scene, &draft.example);
  }
  // The target must be the better one; the ground truth of a recording need not be.
  const Attempt gt = Answer(draft, draft.gt, "");
  if (gt.reward.traj() <= wrong.reward.traj()) return FillGroundTruth(draft);
  draft.example.kind = kind;
  draft.example.target_text = GoodResponse(*draft.scene);
  return Report(draft, wrong, teacher, *draft.scene, &draft.example);
}

absl::Status SftData::FillFollow(Draft& draft) const {
  const Attempt wrong = MakeWrong(draft);
  if (wrong.reward.traj() >= options_.success_threshold) return FillGroundTruth(draft);
  const std::vector<v1::Pose> other = OtherPlan(draft.gt, draft.scene->ego().vx(), draft.random);
  v1::Scene as_if(*draft.scene);
  as_if.mutable_gt()->Assign(other.begin(), other.end());
  draft.example.kind = "follow";
  draft.example.target_text = GoodResponse(as_if);
  if (draft.example.target_text == wrong.response.text()) return FillGroundTruth(draft);
  return Report(draft, wrong, *oracle_, as_if, &draft.example);
}

}  // namespace swerve
