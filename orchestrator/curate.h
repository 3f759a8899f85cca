// Which scenes are worth training on (spec: algorithm §5): several answers per scene, mean and variance of their PDMS;
// scenes of high mean and low variance teach nothing and are dropped, the difficult and the ambiguous stay.
#ifndef SWERVE_ORCHESTRATOR_CURATE_H_
#define SWERVE_ORCHESTRATOR_CURATE_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "base/status.h"
#include "policy/engine.h"
#include "scenes/store.h"

namespace swerve {

enum class CurationVerdict {
  kEasy,       // high mean, low variance: dropped
  kDifficult,  // low mean, low variance: kept
  kAmbiguous,  // high variance: kept
};
const char* VerdictName(CurationVerdict verdict);

struct CurationThresholds {
  double high_mean = 0.8;      // of PDMS; from here on a mean is high
  double low_variance = 0.02;  // unbiased, of PDMS; up to here a variance is low
};

// The decision, pure.
CurationVerdict JudgeScene(double mean, double variance, const CurationThresholds& thresholds);

struct CurateOptions {
  int samples = 4;  // answers per scene; 2 or more
  double temperature = 1.2;
  int max_new_tokens = 256;
  int batch_scenes = 16;  // scenes per call of the engine
  uint64_t seed = 0;
  CurationThresholds thresholds;
};

struct CuratedScene {
  std::string id;
  std::string family;
  double mean = 0;
  double variance = 0;
  CurationVerdict verdict = CurationVerdict::kDifficult;
};

// Every scene of the store, in its order; shows a progress bar. Blocks. Deterministic in (weights, scenes, options).
// INVALID_ARGUMENT: a scene that cannot be scored (named). CANCELLED: a stop was asked for. Errors of engine and store.
absl::StatusOr<std::vector<CuratedScene>> Curate(Engine& engine, const SceneStore& store,
                                                 const CurateOptions& options);

// Writes the kept scenes as config field scenes.curated reads them: id, mean, variance, verdict, tab-separated.
// FAILED_PRECONDITION: none is kept.
absl::Status WriteCurated(absl::Span<const CuratedScene> scenes, const CurateOptions& options,
                          const std::string& path);

// Kept and dropped by family, for people.
std::string CurationTable(absl::Span<const CuratedScene> scenes);

}  // namespace swerve

#endif  // SWERVE_ORCHESTRATOR_CURATE_H_
