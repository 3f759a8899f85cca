// Reproducible randomness. A stream is named by what it is for, never by call order: the same (seed, keys…) gives the
// same numbers whatever else runs. Not thread-safe; make one per use, it is two words.
#ifndef SWERVE_BASE_RANDOM_H_
#define SWERVE_BASE_RANDOM_H_

#include <cmath>
#include <cstdint>
#include <numbers>
#include <string_view>

namespace swerve {

// One step of SplitMix64's finaliser: a bijective mix of 64 bits.
constexpr uint64_t Mix64(uint64_t z) {
  z += 0x9e3779b97f4a7c15ull;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return z ^ (z >> 31);
}

// Stable 64-bit hash of a name (FNV-1a, mixed).
constexpr uint64_t HashName(std::string_view s) {
  uint64_t h = 0xcbf29ce484222325ull;
  for (char c : s) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001b3ull;
  return Mix64(h);
}

// Seed of a named stream: StreamSeed(seed, HashName(scene), group, sample).
template <typename... Keys>
constexpr uint64_t StreamSeed(uint64_t seed, Keys... keys) {
  uint64_t h = Mix64(seed);
  ((h = Mix64(h ^ Mix64(static_cast<uint64_t>(keys)))), ...);
  return h;
}

// SplitMix64 generator with the few draws the project needs. Satisfies UniformRandomBitGenerator.
class Random {
 public:
  using result_type = uint64_t;
  explicit constexpr Random(uint64_t seed) : state_(seed) {}
  static constexpr uint64_t min() { return 0; }
  static constexpr uint64_t max() { return ~0ull; }
  constexpr uint64_t operator()() {
    uint64_t r = Mix64(state_);
    state_ += 0x9e3779b97f4a7c15ull;
    return r;
  }
  // Uniform in [0, 1), 53 bits.
  double Uniform() { return static_cast<double>((*this)() >> 11) * 0x1.0p-53; }
  double Uniform(double lo, double hi) { return lo + (hi - lo) * Uniform(); }
  // Uniform integer in [0, n); n > 0.
  uint64_t Below(uint64_t n) { return static_cast<uint64_t>((static_cast<__uint128_t>((*this)()) * n) >> 64); }
  bool Chance(double p) { return Uniform() < p; }
  // Standard normal (Box-Muller, one of the pair).
  double Normal() {
    double u = 1.0 - Uniform();
    return std::sqrt(-2.0 * std::log(u)) * std::cos(2.0 * std::numbers::pi * Uniform());
  }

 private:
  uint64_t state_;
};

}  // namespace swerve

#endif  // SWERVE_BASE_RANDOM_H_
