// One token of the objective: value and analytic derivative with respect to lp. Pure functions, float64.
// A clamp or a clip has derivative 1 inside and 0 outside.
#ifndef SWERVE_LEARNER_TOKEN_TERMS_H_
#define SWERVE_LEARNER_TOKEN_TERMS_H_

#include "learner/profiles.h"

namespace swerve {

struct Term {
  double value = 0;
  double slope = 0;  // d value / d lp
};

struct OnPolicyToken {
  Term surrogate;
  double log_ratio = 0;  // as clamped
  double ratio = 1;      // before delta
  bool clipped_low = false;
  bool clipped_high = false;
  bool clipped_lower = false;  // dual clip
};

// min(min(c, delta)·A, clip(c)·A), dual-clipped where the profile does.
OnPolicyToken OnPolicyTerm(const Profile& profile, const Knobs& knobs, double lp, double old_lp, double advantage);

struct ShapedToken {
  Term surrogate;  // f(π)·A
  double prob = 0;
  double shaped = 0;  // f(π)
};
ShapedToken ShapedTerm(const Knobs& knobs, double lp, double advantage);

// k3 estimator of KL(θ ‖ ref) at one token.
Term K3Term(const Profile& profile, double lp, double ref_lp);

}  // namespace swerve

#endif  // SWERVE_LEARNER_TOKEN_TERMS_H_
