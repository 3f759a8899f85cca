#include "rollout_workers/stats.h"

#include <algorithm>
#include <cmath>

#include "base/metrics.h"

namespace swerve {
namespace {

constexpr size_t kWindow = 64;
constexpr absl::Duration kRateOver = absl::Seconds(30);

void Count(const char* name, const char* help, const metrics::Labels& labels, double by = 1) {
  metrics::Counter(name, help, labels).Increment(by);
}
void Observe(const char* step, double seconds) {
  metrics::Histogram("swerve_rollout_step_seconds", "Seconds per group and step", metrics::SecondsBuckets(),
                     {{"step", step}})
      .Observe(seconds);
}

}  // namespace

void RolloutStats::Generated(uint64_t tokens, absl::Duration busy) {
  Count("swerve_rollout_tokens_total", "Sampled tokens", {}, static_cast<double>(tokens));
  Count("swerve_rollout_busy_seconds_total", "Seconds inside the engine", {}, absl::ToDoubleSeconds(busy));
  absl::MutexLock lock(&mu_);
  tokens_ += tokens;
  busy_ += busy;
}

RolloutStats::Group RolloutStats::Summarise(const v1::Episode& episode, const Seconds& seconds) {
  Group group;
  group.seconds = seconds;
  double best = 0;
  for (const v1::Sample& s : episode.samples()) {
    if (s.outcome() != v1::OK) continue;
    group.samples += 1;
    group.traj += s.reward().traj();
    group.fmt += s.reward().fmt();
    group.goal += s.reward().goal();
    for (const v1::RewardTerm& term : s.reward().terms()) {
      group.terms[term.name()].sum += term.value();
      group.terms[term.name()].n += 1;
    }
    group.total += s.reward().total();
    group.total2 += s.reward().total() * s.reward().total();
    group.tokens += s.response().token_ids_size();
    if (s.feedback_outcome() != v1::OK && s.feedback_outcome() != v1::OUTCOME_UNSPECIFIED) group.feedback_failed += 1;
    best = std::max(best, s.reward().traj());
  }
  group.total_failure = group.samples > 0 && group.traj == 0;
  group.refined = episode.refinements_size() > 0;
  for (const v1::Refinement& r : episode.refinements()) group.rescued |= r.reward().traj() > best;
  return group;
}

void RolloutStats::Stored(const v1::Episode& episode, const Seconds& seconds) {
  Count("swerve_rollout_groups_total", "Groups by how they ended", {{"outcome", "stored"}});
  Observe("generate", seconds.generate);
  Observe("score", seconds.score);
  Observe("diagnose", seconds.diagnose);
  for (const v1::Sample& s : episode.samples()) {
    if (s.feedback_outcome() == v1::OUTCOME_UNSPECIFIED) continue;
    Count("swerve_rollout_feedback_total", "Reports asked for, by outcome",
          {{"outcome", v1::Outcome_Name(s.feedback_outcome())}});
  }
  Group group = Summarise(episode, seconds);
  absl::MutexLock lock(&mu_);
  ++stored_;
  trouble_.clear();
  window_.push_back(std::move(group));
  if (window_.size() > kWindow) window_.pop_front();
}

void RolloutStats::Duplicate() {
  Count("swerve_rollout_groups_total", "Groups by how they ended", {{"outcome", "duplicate"}});
  absl::MutexLock lock(&mu_);
  ++duplicates_;
}

void RolloutStats::Dropped(const std::string& reason) {
  Count("swerve_rollout_groups_total", "Groups by how they ended", {{"outcome", "dropped"}});
  Count("swerve_rollout_drops_total", "Dropped groups by reason", {{"reason", reason}});
  absl::MutexLock lock(&mu_);
  ++drops_[reason];
}

void RolloutStats::RefinementFailed(const std::string& reason) {
  Count("swerve_rollout_refinement_failures_total", "Groups whose refinements were lost to a failure, by reason",
        {{"reason", reason}});
}

void RolloutStats::WeightVersion(int64_t version) {
  metrics::Gauge("swerve_rollout_weight_version", "Weight version the engine samples from").Set(version);
  absl::MutexLock lock(&mu_);
  version_ = version;
}

void RolloutStats::Trouble(std::string why) {
  absl::MutexLock lock(&mu_);
  trouble_ = std::move(why);
}

std::string RolloutStats::trouble() const {
  absl::MutexLock lock(&mu_);
  return trouble_;
}

std::map<std::string, double> RolloutStats::Report(absl::Time now, int held) {
  absl::MutexLock lock(&mu_);
  std::map<std::string, double> v;
  const double seconds = std::max(1e-3, absl::ToDoubleSeconds(now - last_report_));
  while (counted_.size() > 1 && counted_[1].first <= now - kRateOver) counted_.pop_front();
  const auto& [since, before] = counted_.front();
  v["rollout/tokens_per_second"] = static_cast<double>(tokens_ - before) / std::max(1e-3, absl::ToDoubleSeconds(now - since));
  counted_.emplace_back(now, tokens_);
  v["rollout/busy_ratio"] = std::min(1.0, absl::ToDoubleSeconds(busy_) / seconds);
  last_report_ = now;
  busy_ = absl::ZeroDuration();
  v["rollout/groups_stored"] = static_cast<double>(stored_);
  v["rollout/groups_duplicate"] = static_cast<double>(duplicates_);
  v["rollout/groups_held"] = held;
  v["rollout/weight_version"] = static_cast<double>(version_);
  double dropped = 0;
  for (const auto& [reason, n] : drops_) dropped += static_cast<double>(n);
  v["rollout/groups_dropped"] = dropped;
  Group sum;
  double failures = 0, refined = 0, rescued = 0;
  for (const Group& g : window_) {
    sum.samples += g.samples;
    sum.traj += g.traj;
    sum.fmt += g.fmt;
    sum.goal += g.goal;
    for (const auto& [name, term] : g.terms) {
      sum.terms[name].sum += term.sum;
      sum.terms[name].n += term.n;
    }
    sum.total += g.total;
    sum.total2 += g.total2;
    sum.tokens += g.tokens;
    sum.feedback_failed += g.feedback_failed;
    sum.seconds.generate += g.seconds.generate;
    sum.seconds.score += g.seconds.score;
    sum.seconds.diagnose += g.seconds.diagnose;
    failures += g.total_failure;
    refined += g.refined;
    rescued += g.rescued;
  }
  if (sum.samples == 0) return v;
  const double n = sum.samples, groups = static_cast<double>(window_.size());
  v["reward/traj/mean"] = sum.traj / n;
  v["reward/fmt/mean"] = sum.fmt / n;
  v["reward/goal/mean"] = sum.goal / n;
  for (const auto& [name, term] : sum.terms) v["reward/" + name + "/mean"] = term.sum / term.n;
  v["reward/mean"] = sum.total / n;
  v["reward/std"] = std::sqrt(std::max(0.0, sum.total2 / n - (sum.total / n) * (sum.total / n)));
  v["completion_length/mean"] = sum.tokens / n;
  v["rollout/feedback_failed_ratio"] = sum.feedback_failed / n;
  v["rollout/total_failure_ratio"] = failures / groups;
  if (refined > 0) v["rollout/refinement_success_ratio"] = rescued / refined;
  v["rollout/generate_seconds"] = sum.seconds.generate / groups;
  v["rollout/score_seconds"] = sum.seconds.score / groups;
  v["rollout/diagnose_seconds"] = sum.seconds.diagnose / groups;
  return v;
}

uint64_t RolloutStats::stored() const {
  absl::MutexLock lock(&mu_);
  return stored_;
}

std::map<std::string, uint64_t> RolloutStats::drops() const {
  absl::MutexLock lock(&mu_);
  return drops_;
}

}  // namespace swerve
