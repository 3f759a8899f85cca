// Fills Scene.resolved_v1 (and resolved_v2) of stored scenes in place, on all cores. Blocking; stateless.
#ifndef SWERVE_SCENES_RESOLVE_SCENES_H_
#define SWERVE_SCENES_RESOLVE_SCENES_H_

#include <string>
#include <vector>

#include "base/status.h"

namespace swerve {

struct ResolveOptions {
  bool v2 = false;     // resolved_v2 too
  bool again = false;  // also where it is filled already
  int threads = 0;     // 0: all cores; the result does not depend on it
};

struct ResolveCounts {
  int scenes = 0;
  int resolved = 0;
  int kept = 0;                     // were filled already
  std::vector<std::string> failed;  // one line per scene that cannot be resolved; it is kept unchanged
};

// `path`: a data set's directory, or a JSON scene file (".gz" too), of which all else stays as it is. Replaced in one
// step when every scene is done; not written at all when nothing was resolved. Draws a progress bar.
// Errors leave `path` unchanged: those of SceneStore and of files; DATA_LOSS for a damaged record; INVALID_ARGUMENT for
// a file that is no scene file.
absl::StatusOr<ResolveCounts> ResolveStored(const std::string& path, const ResolveOptions& options);

}  // namespace swerve

#endif  // SWERVE_SCENES_RESOLVE_SCENES_H_
