// Scenes from nothing, deterministic in (seed, family, index): draw a situation, resolve it, search the best plan for
// GT, and keep it if a good driver can get through. Same inputs, same bytes, on any number of threads.
#ifndef SWERVE_SCENES_GENERATOR_GENERATOR_H_
#define SWERVE_SCENES_GENERATOR_GENERATOR_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "base/status.h"
#include "scenes/generator/family.h"
#include "swerve/v1/scene.pb.h"

namespace swerve::generator {

struct Generated {
  v1::Scene scene;
  int rejected = 0;          // draws thrown away before this one
  double gt_pdms = 0;
  double gt_robust = 0;      // mean PDMS of GT driven a little wrong
  double naive_pdms = 0;     // of going on along the lane at constant speed
  double straight_pdms = 0;  // of going on straight at constant speed
};

// Draws whose best plan scores below this, or where that plan bears no imprecision, are thrown away.
inline constexpr double kWorstGt = 0.7;
inline constexpr double kWorstRobust = 0.6;

// INTERNAL: no draw of many was good enough (a broken family).
absl::StatusOr<Generated> GenerateScene(const Family& family, uint64_t seed, uint64_t index);

enum class Mix {
  kCommon,   // as recordings are: about seven eighths everyday driving
  kRl,       // three quarters rare situations
  kUniform,  // every family alike
};
// INVALID_ARGUMENT names the known mixes.
absl::StatusOr<Mix> ParseMix(absl::string_view name);
// The family of the scene at `index` of a mixed set.
const Family& FamilyAt(Mix mix, uint64_t seed, uint64_t index);

struct GenerateOptions {
  const Family* family = nullptr;  // null: by `mix`
  Mix mix = Mix::kUniform;
  uint64_t count = 0, seed = 0;
  int threads = 0;  // 0: all cores
};
// Calls `take` with every scene in index order, from one thread at a time; generation runs ahead on other threads.
// Stops at the first error of a draw or of `take`, or when `stop` (may be empty) says so: CANCELLED.
absl::Status GenerateAll(const GenerateOptions& options, const std::function<absl::Status(Generated)>& take,
                         const std::function<bool()>& stop = {});

}  // namespace swerve::generator

#endif  // SWERVE_SCENES_GENERATOR_GENERATOR_H_
