// What supervised fine-tuning learns from: examples made from scenes on demand (spec: algorithm §5, "before RL").
//
// Stage one: questions on a scene and their answers. Stage two: good responses under the base prompt, and feedback
// prompts: a correct response with rule text, wrong responses with a teacher's report, whose target is the response a
// good driver would have given. Torch-free.
#ifndef SWERVE_LEARNER_SFT_DATA_H_
#define SWERVE_LEARNER_SFT_DATA_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "base/image.h"
#include "base/status.h"
#include "policy/codec.h"
#include "scenes/store.h"
#include "swerve/v1/scene.pb.h"
#include "teacher_gateway/teacher.h"

namespace swerve {

struct SftExample {
  std::string prompt_text;             // the user's turn (policy/engine.h: Prompt)
  std::shared_ptr<const Image> image;  // null when the options ask for none
  std::string target_text;             // what the model learns to answer, without the end-of-turn token
  double weight = 1;                   // of the example in the loss
  std::string kind;                    // "qa", "gt", "correct", "wrong_oracle", "wrong_rule", "follow"
  std::string scene_id;
};

// Shares of the kinds; they need not add up to 1.
struct SftMix {
  double qa = 0.12;            // a question on the scene
  double gt = 0.48;            // base prompt → good response
  double correct = 0.04;       // feedback prompt, correct response, rule text → the same response
  double wrong_oracle = 0.22;  // feedback prompt, wrong response, oracle's report → good response
  double wrong_rule = 0.04;    // the same with the rule teacher
  // As wrong_oracle, but report and target are those of another drivable plan than the good one. What a report asks
  // for must decide the answer, also where the scene suggests something else: that is what helps where the policy
  // is wrong.
  double follow = 0.10;

  static SftMix StageOne() { return {1, 0, 0, 0, 0, 0}; }
  static SftMix StageTwo() { return {}; }
};

struct SftOptions {
  uint64_t seed = 0;
  int image_size = 0;  // pixels, side of the picture; 0: no pictures
  SftMix mix;
  double success_threshold = 0.8;  // s: below it a response is wrong
  std::shared_ptr<const Codec> codec;  // how answers are written; null: pose3_text
};

// Endless, random access: Example(i) for every i ≥ 0. An epoch is size() examples in which every scene comes up once, in
// an order of its own. Example(i) depends on (scenes, options, i) alone. Thread-safe; Example blocks on disk and
// computes for about a millisecond. Caches nothing but what the store does.
class SftData {
 public:
  // Scenes labelled NEGATIVE are left out: their recorded trajectory is one to avoid. INVALID_ARGUMENT: no scene left,
  // or no positive share in the mix.
  static absl::StatusOr<std::unique_ptr<SftData>> Create(std::shared_ptr<const SceneStore> store,
                                                         const SftOptions& options);

  uint64_t size() const { return ids_.size(); }

  // INVALID_ARGUMENT: the scene has not 8 ground-truth poses or cannot be scored; names it. Errors of the store.
  absl::StatusOr<SftExample> Example(uint64_t i) const;

 private:
  SftData(std::shared_ptr<const SceneStore> store, const SftOptions& options);

  struct Draft;    // one example in the making
  struct Attempt;  // a response and its reward
  Attempt Answer(const Draft& draft, absl::Span<const v1::Pose> plan, const std::string& think) const;
  Attempt MakeWrong(Draft& draft) const;
  std::string GoodResponse(const v1::Scene& scene) const;
  const Codec& codec() const { return options_.codec ? *options_.codec : PoseTextCodec(); }
  absl::Status Report(const Draft& draft, const Attempt& attempt, const Teacher& teacher, const v1::Scene& scene,
                      SftExample* example) const;
  absl::Status FillQuestion(Draft& draft) const;
  absl::Status FillCorrect(Draft& draft) const;
  absl::Status FillWrong(Draft& draft, const Teacher& teacher, const char* kind) const;
  absl::Status FillFollow(Draft& draft) const;
  absl::Status FillGroundTruth(Draft& draft) const;

  const std::shared_ptr<const SceneStore> store_;
  const SftOptions options_;
  std::vector<std::string> ids_;
  std::unique_ptr<Teacher> oracle_, rule_;
};

}  // namespace swerve

#endif  // SWERVE_LEARNER_SFT_DATA_H_
