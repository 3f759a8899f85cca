#include "learner/token_terms.h"

#include <algorithm>
#include <cmath>

namespace swerve {

OnPolicyToken OnPolicyTerm(const Profile& profile, const Knobs& knobs, double lp, double old_lp, double advantage) {
  OnPolicyToken t;
  const double raw = lp - old_lp;
  t.log_ratio = std::clamp(raw, -profile.ratio_clamp, profile.ratio_clamp);
  const double moves = raw == t.log_ratio ? 1 : 0;
  const double c = t.ratio = std::exp(t.log_ratio);
  const double A = advantage;
  if (A == 0) return t;  // also keeps inf · 0 out

  Term o{c * A, moves * c * A};
  if (knobs.epsilon) {
    const double low = 1 - *knobs.epsilon, high = 1 + knobs.high();
    t.clipped_low = c < low && A < 0;
    t.clipped_high = c > high && A > 0;
    if (knobs.delta && c > *knobs.delta) o = {*knobs.delta * A, 0};
    const bool inside = low <= c && c <= high;
    const Term clipped{std::clamp(c, low, high) * A, inside ? moves * c * A : 0};
    // Equal branches share one slope, so the tie at ratio 1 keeps the whole gradient.
    if (clipped.value < o.value) o = clipped;
  }
  if (knobs.clip_ratio_c && A < 0) {
    const double floor = knobs.epsilon ? std::max(c, 1 - *knobs.epsilon) : c;
    t.clipped_lower = floor > *knobs.clip_ratio_c;
    if (*knobs.clip_ratio_c * A > o.value) o = {*knobs.clip_ratio_c * A, 0};
  }
  t.surrogate = o;
  return t;
}

ShapedToken ShapedTerm(const Knobs& knobs, double lp, double advantage) {
  ShapedToken t;
  t.prob = std::exp(lp);
  double slope = t.prob;
  t.shaped = t.prob;
  if (knobs.gamma) {
    const double sum = t.prob + *knobs.gamma;
    t.shaped = t.prob / sum;
    slope = *knobs.gamma * t.prob / (sum * sum);
  }
  t.surrogate = {t.shaped * advantage, slope * advantage};
  return t;
}

Term K3Term(const Profile& profile, double lp, double ref_lp) {
  const double raw = ref_lp - lp;
  const double d = std::clamp(raw, -profile.kl_clamp, profile.kl_clamp);
  const double value = std::exp(d) - d - 1;
  if (value > profile.k3_cap) return {profile.k3_cap, 0};
  return {value, raw == d ? 1 - std::exp(d) : 0};
}

}  // namespace swerve
