#include "scenes/traffic_log/importer.h"

#include <algorithm>
#include <cmath>

#include "base/progress.h"
#include "base/random.h"
#include "pdm/resolve.h"
#include "pdm/score.h"
#include "scenes/store.h"
#include "scenes/traffic_log/motion.h"

namespace swerve {
namespace {

constexpr double kHistory = 1.5;  // s
constexpr double kFuture = 5.0;
constexpr double kWaitingDistance = 2.0;  // m over the window

struct Window {
  int agent;
  double t;
  uint64_t draw;
};

bool Contains(const std::vector<std::string>& list, const std::string& v) {
  return std::find(list.begin(), list.end(), v) != list.end();
}

// Share of a hash below `p`.
bool Chance(uint64_t hash, double p) { return static_cast<double>(hash >> 11) * 0x1.0p-53 < p; }

// Every window that the recording could give, with the ones in which the ego waits thinned out.
std::vector<Window> CandidateWindows(const Recording& r, const ImportOptions& options, ImportCounts* counts) {
  const bool marked = std::any_of(r.agents.begin(), r.agents.end(), [](const LogAgent& a) { return a.ego; });
  const double stride = marked ? options.stride_s : options.any_stride_s;
  std::vector<Window> out;
  for (int i = 0; i < static_cast<int>(r.agents.size()); ++i) {
    const LogAgent& a = r.agents[i];
    if (marked ? !a.ego : a.type != v1::VEHICLE) continue;
    const double first = a.states.front().step * r.dt + kHistory, last = a.states.back().step * r.dt - kFuture;
    for (double t = first; t <= last + 1e-9; t += stride) {
      ++counts->windows;
      auto from = RecordedState(a, r.dt, t), to = RecordedState(a, r.dt, t + kFuture);
      if (!from || !to) {
        ++counts->rejected["ego not seen for the whole window"];
        continue;
      }
      uint64_t draw = StreamSeed(0, HashName("import"), HashName(r.scene_id), HashName(a.id), std::llround(t * 10));
      if (std::hypot(to->x - from->x, to->y - from->y) < kWaitingDistance && !Chance(draw, options.waiting_share)) {
        ++counts->rejected[kWaits];
        continue;
      }
      out.push_back({i, t, Mix64(draw)});
    }
  }
  return out;
}

// Resolves and scores the GT; the reason when the window must not be used.
std::string Judge(v1::Scene* scene, double* pdms) {
  if (!pdm::Resolve(scene).ok()) return kUnresolved;
  auto prepared = pdm::Prepare(*scene);
  if (!prepared.ok()) return kUnresolved;
  std::vector<pdm::Pose2> gt;
  for (const v1::Pose& p : scene->gt()) gt.push_back({p.x(), p.y(), p.heading()});
  pdm::Score score = pdm::ScoreTrajectory(**prepared, gt, /*want_facts=*/false);
  if (score.invalid != v1::INVALID_REASON_UNSPECIFIED) return kNotScorable;
  if (score.scores.nc() == 0) return kCollides;
  if (score.scores.dac() == 0) return kLeavesRoad;
  *pdms = score.scores.pdms();
  return "";
}

}  // namespace

absl::Status ImportRecording(const Recording& r, const ImportOptions& options,
                             const std::function<absl::Status(v1::Scene)>& keep, ImportCounts* counts) {
  SWERVE_ASSIGN_OR_RETURN(std::unique_ptr<Road> road, Road::Build(r));
  std::vector<Window> windows = CandidateWindows(r, options, counts);
  // Drawn by hash, so that the cap takes an even sample of vehicles and times; written in order of the recording.
  std::sort(windows.begin(), windows.end(), [](const Window& a, const Window& b) { return a.draw < b.draw; });
  std::vector<std::pair<Window, v1::Scene>> taken;
  for (const Window& w : windows) {
    if (static_cast<int>(taken.size()) >= options.max_per_recording) {
      ++counts->rejected[kOverCap];
      continue;
    }
    absl::StatusOr<v1::Scene> scene = CutWindow(r, *road, w.agent, w.t);
    double pdms = 0;
    std::string reason = scene.ok() ? Judge(&*scene, &pdms) : std::string(scene.status().message());
    if (!reason.empty()) {
      ++counts->rejected[reason];
      continue;
    }
    counts->gt_pdms_sum += pdms;
    taken.emplace_back(w, *std::move(scene));
  }
  std::sort(taken.begin(), taken.end(), [](const auto& a, const auto& b) {
    return std::tie(a.first.agent, a.first.t) < std::tie(b.first.agent, b.first.t);
  });
  for (auto& [w, scene] : taken) {
    ++counts->scenes;
    ++counts->scenes_by_location[scene.location()];
    SWERVE_RETURN_IF_ERROR(keep(std::move(scene)));
  }
  return absl::OkStatus();
}

absl::StatusOr<ImportCounts> ImportTrafficLogs(const std::vector<std::string>& files, const std::string& out_dir,
                                               const ImportOptions& options) {
  SWERVE_ASSIGN_OR_RETURN(std::unique_ptr<SceneWriter> writer, SceneWriter::Create(out_dir));
  ImportCounts counts;
  {
    Progress progress("import", files.size(), "recordings");
    for (const std::string& file : files) {
      absl::StatusOr<Recording> recording = ReadRecording(file);
      absl::Status status = recording.status();
      if (recording.ok()) {
        const std::string location = LocationOf(*recording);
        if ((options.only_locations.empty() || Contains(options.only_locations, location)) &&
            !Contains(options.not_locations, location)) {
          absl::Status write;
          status = ImportRecording(*recording, options,
                                   [&](v1::Scene s) { return write = writer->Add(s); }, &counts);
          SWERVE_RETURN_IF_ERROR(write);  // the output, not this file, is broken
          if (status.ok()) ++counts.files;
        }
      }
      if (!status.ok()) {
        absl::string_view message = status.message();
        counts.broken.push_back(message.find(file) == absl::string_view::npos ? absl::StrCat(file, ": ", message)
                                                                             : std::string(message));
      }
      progress.Note(absl::StrCat(counts.scenes, " scenes"));
      progress.Add(1);
    }
  }
  if (counts.scenes == 0 && !counts.broken.empty())
    return absl::InvalidArgumentError(absl::StrCat("nothing could be imported; first problem: ", counts.broken[0]));
  if (counts.scenes == 0)
    return absl::InvalidArgumentError("no recording holds a usable window of 6.5 s (see --only-location and --stride)");
  SWERVE_RETURN_IF_ERROR(writer->Finish());
  return counts;
}

}  // namespace swerve
