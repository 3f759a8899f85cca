// A second request for an answer that does not come.
#include <algorithm>
#include <utility>
#include <vector>

#include "teacher_gateway/openai_teacher.h"

namespace swerve {

OpenAiTeacher::Exchange OpenAiTeacher::SendHedged(const std::string& body, const Cost& estimate,
                                                  absl::Time deadline) const {
  // Outlives this call with the request that lost.
  struct Race {
    absl::Mutex mu;
    std::vector<std::pair<Exchange, bool>> ended ABSL_GUARDED_BY(mu);  // and whether it is the second request
    int running ABSL_GUARDED_BY(mu) = 0;
    bool Settled() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
      return running == 0 || std::any_of(ended.begin(), ended.end(),
                                         [](const auto& end) { return end.first.outcome == v1::OK; });
    }
  };
  const auto race = std::make_shared<Race>();
  const auto cancelled = std::make_shared<std::atomic<bool>>(false);
  const auto start = [&](bool second) {
    {
      absl::MutexLock lock(&race->mu);
      ++race->running;
    }
    hedges_->Submit([this, race, cancelled, body, estimate, deadline, second] {
      Exchange exchange = Send(body, estimate, deadline, cancelled);
      absl::MutexLock lock(&race->mu);
      --race->running;
      race->ended.emplace_back(std::move(exchange), second);
    });
  };
  start(false);
  {
    absl::MutexLock lock(&race->mu);
    race->mu.AwaitWithTimeout(absl::Condition(race.get(), &Race::Settled), absl::Seconds(parts_.spec.hedge_seconds()));
    if (!race->ended.empty()) return race->ended[0].first;
  }
  // Nobody waits for leave to hedge.
  if (parts_.limits->Admit(parts_.clock.now(), estimate).go) {
    metrics_.Hedges().Increment();
    start(true);
  }
  absl::MutexLock lock(&race->mu);
  race->mu.Await(absl::Condition(race.get(), &Race::Settled));
  cancelled->store(true);
  // Nothing usable: how the first of them ended.
  auto best = std::find_if(race->ended.begin(), race->ended.end(),
                           [](const auto& end) { return end.first.outcome == v1::OK; });
  if (best == race->ended.end()) best = race->ended.begin();
  if (best->second && best->first.outcome == v1::OK) metrics_.HedgesWon().Increment();
  Exchange exchange = best->first;
  for (auto other = race->ended.begin(); other != race->ended.end(); ++other) {
    if (other == best) continue;
    exchange.cost.tokens += other->first.cost.tokens;
    exchange.cost.money += other->first.cost.money;
  }
  exchange.cost.tokens += race->running * estimate.tokens;
  exchange.cost.money += race->running * estimate.money;
  return exchange;
}

}  // namespace swerve
