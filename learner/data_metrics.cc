// What a batch's episodes tell about policy, teacher and flow.
#include <cmath>

#include "evaluation/teacher_tally.h"
#include "learner/batch.h"

namespace swerve {
namespace {

// Mean and spread of what was added.
struct Mean {
  double sum = 0, squares = 0, count = 0, max = 0;
  void Add(double v) {
    sum += v;
    squares += v * v;
    max = count == 0 ? v : std::max(max, v);
    count += 1;
  }
  double mean() const { return sum / count; }
  double std() const { return std::sqrt(std::max(0.0, squares / count - mean() * mean())); }
};

class Tally {
 public:
  void Add(const v1::Episode& e, double s, int64_t version) {
    AddTallies(TallyTeachers(e, s), &teachers_);
    teacher_set_ = std::max(teacher_set_, e.teacher_set_version());
    double best = -1, low = INFINITY, high = -INFINITY;
    for (const v1::Sample& sample : e.samples()) {
      m_["samples/masked"].Add(sample.outcome() != v1::OK);
      if (sample.feedback_outcome() != v1::OUTCOME_UNSPECIFIED) m_["feedback/ok"].Add(sample.feedback_outcome() == v1::OK);
      if (sample.outcome() != v1::OK) continue;
      AddSample(sample);
      best = std::max(best, sample.reward().traj());
      low = std::min(low, sample.reward().total());
      high = std::max(high, sample.reward().total());
    }
    if (best < 0) return;
    m_["total_failure_ratio"].Add(best <= 0);
    m_["frac_reward_zero_std"].Add(high - low < 1e-6);
    m_["reward/best_of_n"].Add(best);
    int selected = 0;
    for (const v1::Refinement& r : e.refinements()) {
      m_["refinement/reward"].Add(r.reward().traj());
      m_["refinement/success_rate"].Add(r.reward().traj() >= s);
      m_["refinement/improved_rate"].Add(r.reward().traj() > best);
      selected += r.selected();
    }
    m_["refinement/selected_per_group"].Add(selected);
    m_["staleness/mean"].Add(static_cast<double>(version - e.weight_version()));
    m_["timing_s/generate"].Add(e.generate_seconds());
    m_["timing_s/score"].Add(e.score_seconds());
    m_["timing_s/diagnose"].Add(e.diagnose_seconds());
  }

  std::map<std::string, double> Values() const {
    std::map<std::string, double> out = TallyMetrics(teachers_);
    if (teacher_set_ > 0) out["teacher_set_version"] = static_cast<double>(teacher_set_);
    for (const auto& [name, m] : m_) {
      if (m.count > 0) out[name] = m.mean();
    }
    auto at = [&](const char* name) { return m_.contains(name) && m_.at(name).count > 0; };
    if (at("reward/mean")) out["reward/std"] = m_.at("reward/mean").std();
    if (at("rewards/traj/mean")) out["rewards/traj/std"] = m_.at("rewards/traj/mean").std();
    if (at("completion_length/mean")) out["completions/max_length"] = m_.at("completion_length/mean").max;
    if (at("completion_length/mean")) out["num_tokens"] = m_.at("completion_length/mean").sum;
    if (at("staleness/mean")) out["staleness"] = out["staleness/max"] = m_.at("staleness/mean").max;
    return out;
  }

 private:
  void AddSample(const v1::Sample& sample) {
    const v1::Reward& reward = sample.reward();
    m_["reward/mean"].Add(reward.total());
    m_["rewards/traj/mean"].Add(reward.traj());
    m_["rewards/fmt/mean"].Add(reward.fmt());
    m_["rewards/goal/mean"].Add(reward.goal());
    for (const v1::RewardTerm& term : reward.terms()) m_["rewards/" + term.name() + "/mean"].Add(term.value());
    const std::pair<const char*, double> scores[] = {
        {"scores/nc", reward.scores().nc()},   {"scores/dac", reward.scores().dac()},
        {"scores/ttc", reward.scores().ttc()}, {"scores/ep", reward.scores().ep()},
        {"scores/comfort", reward.scores().comfort()}};
    for (const auto& [name, value] : scores) m_[name].Add(value);
    m_["completion_length/mean"].Add(sample.response().token_ids_size());
    m_["completions/clipped_ratio"].Add(sample.response().finish() == v1::LENGTH);
    m_["format/exact_ratio"].Add(sample.response().parse() == v1::EXACT);
  }

  std::map<std::string, Mean> m_;
  TeacherTallies teachers_;
  uint64_t teacher_set_ = 0;  // newest of the batch
};

}  // namespace

std::map<std::string, double> DataMetrics(absl::Span<const v1::Episode> episodes, double success_threshold,
                                          int64_t version) {
  Tally tally;
  for (const v1::Episode& e : episodes) tally.Add(e, success_threshold, version);
  return tally.Values();
}

}  // namespace swerve
