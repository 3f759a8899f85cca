// What one teacher may cost and how fast: requests and tokens per minute, budgets per run and hour, a pause that its
// server asked for, and a circuit breaker. Decides; never waits. Time comes in as an argument.
//
//   Pass pass = limits.Admit(now, estimate);
//   pass.go      → send, then exactly one Settle
//   pass.wait_until → ask again then
//   else         → pass.outcome and pass.detail say why not
//
// Thread-safe. Lives as long as the gateway under its teacher's name, also when the teacher's settings change, so that a
// reload forgives nothing.
#ifndef SWERVE_TEACHER_GATEWAY_LIMITS_H_
#define SWERVE_TEACHER_GATEWAY_LIMITS_H_

#include <optional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "swerve/v1/feedback.pb.h"
#include "swerve/v1/teachers.pb.h"

namespace swerve {

struct Cost {
  double tokens = 0;
  double money = 0;  // in the prices' currency
};

struct Pass {
  bool go = false;
  std::optional<absl::Time> wait_until;
  v1::Outcome outcome = v1::OUTCOME_UNSPECIFIED;  // of a refusal, or of a caller that cannot wait so long
  std::string detail;
};

class TeacherLimits {
 public:
  // `spent` is what earlier processes of the run spent.
  TeacherLimits(const v1::TeacherSpec& spec, Cost spent);

  // Takes over rates, budgets and breaker settings; what was spent and counted stays.
  void Configure(const v1::TeacherSpec& spec) ABSL_LOCKS_EXCLUDED(mu_);

  // Reserves `estimate`, so that concurrent requests cannot pass a budget together.
  Pass Admit(absl::Time now, const Cost& estimate) ABSL_LOCKS_EXCLUDED(mu_);

  // Ends what Admit let go: `estimate` as given there, `cost` as it was. `healthy` false: the server failed (no answer,
  // 5xx, no access), which the breaker counts. `pause_until`: nobody sends before then (Retry-After).
  void Settle(absl::Time now, const Cost& estimate, const Cost& cost, bool healthy,
              std::optional<absl::Time> pause_until = std::nullopt) ABSL_LOCKS_EXCLUDED(mu_);

  Cost spent() const ABSL_LOCKS_EXCLUDED(mu_);
  bool breaker_open(absl::Time now) const ABSL_LOCKS_EXCLUDED(mu_);

 private:
  // Tokens that drip in over a minute; a request larger than the bucket may overdraw a full one, or it would never go.
  struct Bucket {
    double per_minute = 0;  // 0: no limit
    double level = 0;
    absl::Time filled = absl::InfinitePast();
    void Fill(absl::Time now);
    absl::Time When(absl::Time now, double amount) const;
  };
  std::string OverBudget(absl::Time now, const Cost& estimate) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  mutable absl::Mutex mu_;
  v1::TeacherSpec spec_ ABSL_GUARDED_BY(mu_);
  Bucket requests_ ABSL_GUARDED_BY(mu_), tokens_ ABSL_GUARDED_BY(mu_);
  Cost spent_ ABSL_GUARDED_BY(mu_), reserved_ ABSL_GUARDED_BY(mu_), hour_ ABSL_GUARDED_BY(mu_);
  absl::Time hour_began_ ABSL_GUARDED_BY(mu_) = absl::InfinitePast();
  absl::Time pause_until_ ABSL_GUARDED_BY(mu_) = absl::InfinitePast();
  int failures_ ABSL_GUARDED_BY(mu_) = 0;  // in a row
  absl::Time open_until_ ABSL_GUARDED_BY(mu_) = absl::InfinitePast();
  bool probing_ ABSL_GUARDED_BY(mu_) = false;  // the one request that tries a server that failed
};

}  // namespace swerve

#endif  // SWERVE_TEACHER_GATEWAY_LIMITS_H_
