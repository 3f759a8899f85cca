// Cuts recordings of real traffic into scenes: 1.5 s of history, the present, 5 s of future around each usable ego.
//
// Ego: the marked one; in recordings that mark none, any vehicle seen for the whole window, its own box taken out of the
// traffic. GT is what the recorded driver did (rear axle, positions smoothed). A window is rejected, and counted under
// its reason, when that driver collides or leaves the road: annotation noise, not behaviour.
#ifndef SWERVE_SCENES_TRAFFIC_LOG_IMPORTER_H_
#define SWERVE_SCENES_TRAFFIC_LOG_IMPORTER_H_

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/status.h"
#include "scenes/traffic_log/recording.h"
#include "scenes/traffic_log/road.h"
#include "swerve/v1/scene.pb.h"

namespace swerve {

struct ImportOptions {
  double stride_s = 0.5;       // between windows of a marked ego
  double any_stride_s = 1.5;   // between windows of one vehicle where any may be the ego
  int max_per_recording = 60;  // kept windows; drawn evenly by a hash of the id
  double waiting_share = 0.1;  // of windows in which the ego moves less than 2 m, kept
  std::vector<std::string> only_locations;  // empty: all
  std::vector<std::string> not_locations;
};

// Why a window was not taken.
inline constexpr char kWaits[] = "ego waits";
inline constexpr char kNoLane[] = "ego follows no lane";
inline constexpr char kUnresolved[] = "route or reference cannot be resolved";
inline constexpr char kCollides[] = "GT collides";
inline constexpr char kLeavesRoad[] = "GT leaves the road";
inline constexpr char kNotScorable[] = "GT cannot be scored";
inline constexpr char kOverCap[] = "over --max-per-recording";

struct ImportCounts {
  int files = 0;
  int windows = 0;   // looked at
  int scenes = 0;    // written
  double gt_pdms_sum = 0;
  std::map<std::string, int> rejected;           // by reason
  std::vector<std::string> broken;               // one message per file that could not be read
  std::map<std::string, int> scenes_by_location;
};

// "us101", "lankershim", a nuScenes map's name, "womd"; else the map or source as recorded.
std::string LocationOf(const Recording& recording);

// One candidate window: agent `ego` at time `t` seconds. The scene has no resolved_v1 yet. NOT_FOUND with the reason
// as message when the window is unusable.
absl::StatusOr<v1::Scene> CutWindow(const Recording& recording, const Road& road, int ego, double t);

// All scenes of one recording, in order of id; `keep` takes each. Counts add up in `counts`.
absl::Status ImportRecording(const Recording& recording, const ImportOptions& options,
                             const std::function<absl::Status(v1::Scene)>& keep, ImportCounts* counts);

// Reads `files` and writes the data set `out_dir` with a progress bar. A file that cannot be read is named in
// counts.broken and skipped. Errors: those of SceneWriter; INVALID_ARGUMENT when nothing could be imported.
absl::StatusOr<ImportCounts> ImportTrafficLogs(const std::vector<std::string>& files, const std::string& out_dir,
                                               const ImportOptions& options);

}  // namespace swerve

#endif  // SWERVE_SCENES_TRAFFIC_LOG_IMPORTER_H_
