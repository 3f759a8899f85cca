// Notices an engine that does not compute with the weights that it says it has: then the log-probabilities which it told part
// from those that the learner computes of the same tokens. Nothing else shows it: a server that loaded half of a version
// answers under its label like any other.
#ifndef SWERVE_LEARNER_GAP_WATCH_H_
#define SWERVE_LEARNER_GAP_WATCH_H_

#include <limits>
#include <string>

namespace swerve {

// Metric of a batch: mean difference of log-probabilities over rows that were sampled with the weights that the learner has.
inline constexpr char kSameWeightsGap[] = "sampling/same_weights_logp_difference/mean";

class GapWatch {
 public:
  // `least`: what an earlier process saw.
  explicit GapWatch(double least = std::numeric_limits<double>::infinity()) : least_(least) {}

  // `gap`: kSameWeightsGap of a batch. What is wrong, for a person; empty: nothing. An engine's type and sampling have a gap of
  // their own (6e-7 measured in float32; in bfloat16 some 1e-2 is expected), so the measure is the least that was seen: the first batch's weights are
  // those that the server started with. A tenth is wrong in any case.
  std::string See(double gap);
  double least() const { return least_; }  // infinity: nothing seen

 private:
  double least_;
};

}  // namespace swerve

#endif  // SWERVE_LEARNER_GAP_WATCH_H_
