#include "policy/sampler.h"

#include <algorithm>
#include <cmath>

#include "policy/kernels.h"

namespace swerve {
namespace {

constexpr int kBlock = 256;  // summed before it is looked into: a vocabulary has up to 150,000 entries

// The `count` largest, best first.
std::vector<int32_t> Largest(const float* p, int n, int count) {
  std::vector<int32_t> ids(count > 0 ? n : 0);
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int32_t>(i);
  count = std::min(count, n);
  std::partial_sort(ids.begin(), ids.begin() + count, ids.end(), [p](int32_t a, int32_t b) { return p[a] != p[b] ? p[a] > p[b] : a < b; });
  ids.resize(count);
  return ids;
}

// Zeroes all but the smallest set of the largest whose sum reaches `mass`; returns that sum.
double KeepNucleus(float* p, int n, double mass) {
  std::vector<int32_t> ids = Largest(p, n, n);
  double kept = 0;
  size_t i = 0;
  while (i < ids.size() && (i == 0 || kept < mass)) kept += p[ids[i++]];
  for (; i < ids.size(); ++i) p[ids[i]] = 0;
  return kept;
}

// The first entry up to which more than `target` lies; the last with any mass where rounding leaves none.
int32_t EntryAt(const float* p, int n, double target) {
  double below = 0;
  int from = 0;
  for (; from + kBlock < n; from += kBlock) {
    double lanes[8] = {};
    for (int i = from; i < from + kBlock; i += 8) {
      for (int l = 0; l < 8; ++l) lanes[l] += p[i + l];
    }
    double sum = 0;
    for (const double lane : lanes) sum += lane;
    if (below + sum > target) break;
    below += sum;
  }
  for (int i = from; i < n; ++i) {
    below += p[i];
    if (below > target) return i;
  }
  int last = n - 1;
  while (last > 0 && p[last] <= 0) --last;
  return last;
}

}  // namespace

DrawnToken DrawToken(const float* logits, int vocab, const GenerateRequest& request, double uniform, std::vector<float>* scratch) {
  scratch->resize(kernels::Padded(vocab));
  float* p = scratch->data();
  const float scale = request.temperature > 0 ? static_cast<float>(1.0 / request.temperature) : 1.0f;
  for (int i = 0; i < vocab; ++i) p[i] = logits[i] * scale;
  float max;
  double kept = kernels::Best().exp_sum(p, vocab, &max);
  if (request.temperature > 0 && request.top_p < 1) kept = KeepNucleus(p, vocab, request.top_p * kept);
  const int32_t id = request.temperature > 0 ? EntryAt(p, vocab, uniform * kept) : kernels::Best().largest(logits, vocab);
  auto logprob = [&](int32_t of) { return static_cast<float>(static_cast<double>(logits[of] * scale) - max - std::log(kept)); };
  DrawnToken drawn{{id, logprob(id)}, {}};
  for (const int32_t of : Largest(logits, vocab, request.top_logprobs)) drawn.top.push_back({of, logprob(of)});
  return drawn;
}

}  // namespace swerve
