#include "teacher_gateway/limits.h"

#include <algorithm>

#include "absl/strings/str_format.h"

namespace swerve {
namespace {

Pass Wait(absl::Time until, v1::Outcome outcome, std::string detail) {
  Pass pass;
  pass.wait_until = until;
  pass.outcome = outcome;
  pass.detail = std::move(detail);
  return pass;
}

Pass Refuse(v1::Outcome outcome, std::string detail) {
  Pass pass;
  pass.outcome = outcome;
  pass.detail = std::move(detail);
  return pass;
}

// "budget_tokens of 1000 is spent (940, and 100 more are under way or asked for)".
void Check(const char* field, double budget, double spent, double more, std::string* out) {
  if (budget <= 0 || !out->empty() || spent + more <= budget) return;
  *out = absl::StrFormat("%s of %g would be passed: %g spent, %g more under way or asked for", field, budget, spent, more);
}

}  // namespace

void TeacherLimits::Bucket::Fill(absl::Time now) {
  if (per_minute <= 0) return;
  if (filled == absl::InfinitePast()) {
    level = per_minute;
  } else if (now > filled) {
    level = std::min(per_minute, level + per_minute * absl::ToDoubleMinutes(now - filled));
  }
  filled = std::max(filled, now);
}

absl::Time TeacherLimits::Bucket::When(absl::Time now, double amount) const {
  if (per_minute <= 0) return now;
  const double missing = std::min(amount, per_minute) - level;
  // A microsecond more, so that rounding cannot leave the caller a hair short again and again.
  return missing <= 1e-9 ? now : now + absl::Minutes(missing / per_minute) + absl::Microseconds(1);
}

TeacherLimits::TeacherLimits(const v1::TeacherSpec& spec, Cost spent) : spent_(spent) { Configure(spec); }

void TeacherLimits::Configure(const v1::TeacherSpec& spec) {
  absl::MutexLock lock(&mu_);
  spec_ = spec;
  for (const auto& [bucket, rate] :
       {std::pair<Bucket*, double>{&requests_, spec.requests_per_minute()}, {&tokens_, spec.tokens_per_minute()}}) {
    if (bucket->per_minute == rate) continue;
    if (bucket->per_minute <= 0) bucket->filled = absl::InfinitePast();
    bucket->per_minute = rate;
    bucket->level = std::min(bucket->level, rate);
  }
}

std::string TeacherLimits::OverBudget(absl::Time now, const Cost& estimate) {
  if (now - hour_began_ >= absl::Hours(1)) {
    hour_began_ = now;
    hour_ = Cost();
  }
  const double tokens = reserved_.tokens + estimate.tokens, money = reserved_.money + estimate.money;
  std::string why;
  Check("budget_tokens", spec_.budget_tokens(), spent_.tokens, tokens, &why);
  Check("budget_money", spec_.budget_money(), spent_.money, money, &why);
  Check("budget_tokens_per_hour", spec_.budget_tokens_per_hour(), hour_.tokens, tokens, &why);
  Check("budget_money_per_hour", spec_.budget_money_per_hour(), hour_.money, money, &why);
  return why;
}

Pass TeacherLimits::Admit(absl::Time now, const Cost& estimate) {
  absl::MutexLock lock(&mu_);
  if (std::string why = OverBudget(now, estimate); !why.empty()) return Refuse(v1::OVER_BUDGET, std::move(why));
  const bool tripped = spec_.breaker_failures() > 0 && failures_ >= spec_.breaker_failures();
  if (tripped && (now < open_until_ || probing_)) {
    return Refuse(v1::UNAVAILABLE, absl::StrFormat("left alone after %d failures in a row", failures_));
  }
  if (now < pause_until_) return Wait(pause_until_, v1::RATE_LIMITED, "its server asked for a pause");
  requests_.Fill(now);
  tokens_.Fill(now);
  const absl::Time request_at = requests_.When(now, 1), tokens_at = tokens_.When(now, estimate.tokens);
  if (request_at > now && request_at >= tokens_at) {
    return Wait(request_at, v1::RATE_LIMITED, "requests_per_minute is used up");
  }
  if (tokens_at > now) return Wait(tokens_at, v1::RATE_LIMITED, "tokens_per_minute is used up");
  requests_.level -= 1;
  tokens_.level -= estimate.tokens;
  reserved_.tokens += estimate.tokens;
  reserved_.money += estimate.money;
  probing_ = tripped;
  Pass pass;
  pass.go = true;
  return pass;
}

void TeacherLimits::Settle(absl::Time now, const Cost& estimate, const Cost& cost, bool healthy,
                           std::optional<absl::Time> pause_until) {
  absl::MutexLock lock(&mu_);
  reserved_.tokens = std::max(0.0, reserved_.tokens - estimate.tokens);
  reserved_.money = std::max(0.0, reserved_.money - estimate.money);
  spent_.tokens += cost.tokens;
  spent_.money += cost.money;
  hour_.tokens += cost.tokens;
  hour_.money += cost.money;
  tokens_.level += estimate.tokens - cost.tokens;
  if (pause_until) pause_until_ = std::max(pause_until_, *pause_until);
  probing_ = false;
  if (healthy) {
    failures_ = 0;
    return;
  }
  ++failures_;
  if (spec_.breaker_failures() > 0 && failures_ >= spec_.breaker_failures()) {
    open_until_ = now + absl::Seconds(spec_.breaker_seconds());
  }
}

Cost TeacherLimits::spent() const {
  absl::MutexLock lock(&mu_);
  return spent_;
}

bool TeacherLimits::breaker_open(absl::Time now) const {
  absl::MutexLock lock(&mu_);
  return spec_.breaker_failures() > 0 && failures_ >= spec_.breaker_failures() && now < open_until_;
}

}  // namespace swerve
