#include "orchestrator/train.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <grpcpp/grpcpp.h>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "base/access.h"
#include "base/admin_token.h"
#include "base/busy_log.h"
#include "base/config.h"
#include "base/files.h"
#include "base/random.h"
#include "base/stop.h"
#include "buffers/buffers.h"
#include "orchestrator/live_view.h"
#include "orchestrator/service.h"
#include "orchestrator/supervisor.h"
#include "scenes/store.h"

namespace swerve {
namespace {

bool Exists(const std::string& path) {
  std::error_code ec;
  return std::filesystem::exists(path, ec);
}

// Held for the life of the process: two supervisors in one directory would train twice.
absl::Status LockRun(const RunDir& run) {
  const std::string path = run.root() + "/lock";
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) return ErrnoStatus(errno, "open", path);
  if (flock(fd, LOCK_EX | LOCK_NB) == 0) return absl::OkStatus();
  close(fd);
  return absl::FailedPreconditionError(
      absl::StrCat(run.root(), " is being trained in by another process; wait for it or use another --run"));
}

absl::Status WriteResult(const RunDir& run, const v1::StatusReply& status, const std::optional<BusyShares>& busy) {
  nlohmann::json json = {{"run_id", status.run_id()},
                         {"steps", status.step()},
                         {"groups_accepted", status.groups_accepted()},
                         {"groups_dropped", status.groups_dropped()},
                         {"seconds", status.elapsed_seconds()},
                         {"finished", status.finished()},
                         {"policy",
                          {{"version", status.policy().version()},
                           {"directory", status.policy().directory()},
                           {"checksum", status.policy().checksum()}}}};
  if (busy) {
    json["wall_seconds"] = busy->wall_seconds;
    json["generating_share"] = busy->generating;
    json["training_share"] = busy->training;
    json["idle_share"] = busy->idle;
  }
  return WriteFileAtomically(run.root() + "/result.json", json.dump(2) + "\n");
}

// Writes, and on a full disk writes again until there is room: neither a run's result nor a run that is taken up again is
// lost to it. Not once the process is asked to stop.
absl::Status WriteOnceThereIsRoom(absl::FunctionRef<absl::Status()> write) {
  bool told = false;
  return OnceThereIsRoom(write, [&told](const absl::Status& full) {
    if (!std::exchange(told, true)) {
      std::fprintf(stderr, "%s; waiting until there is room (Ctrl-C to stop)\n", std::string(full.message()).c_str());
    }
    return !Stop::WaitFor(absl::Seconds(1));
  });
}

// Of the whole run, interruptions excluded. Nothing when the log cannot be read.
std::optional<BusyShares> BusyOf(const RunDir& run) {
  absl::StatusOr<std::vector<BusyInterval>> intervals = ReadBusy(run);
  if (!intervals.ok()) return std::nullopt;
  return SharesOf(*std::move(intervals));
}

// Before hours are spent on refused groups: scenes are made for an edition as a whole, so one tells.
absl::Status CheckEdition(const v1::RunConfig& config, const std::string& scene_id) {
  if (config.reward().pdm_rules() != "v2") return absl::OkStatus();
  const auto& dirs = config.scenes().train();
  SWERVE_ASSIGN_OR_RETURN(const auto store, SceneStore::Open({dirs.begin(), dirs.end()}));
  SWERVE_ASSIGN_OR_RETURN(const auto scene, store->Get(scene_id));
  if (scene->has_resolved_v2()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("config: field 'reward.pdm_rules': v2 needs resolved_v2 in every scene, and ",
                                                 scene_id, " has none; `swerve scenes resolve --v2 ", dirs[0], "` fills it"));
}

}  // namespace

std::string VersionsJson() {
  const nlohmann::json json = {{"swerve", SWERVE_VERSION},
                               {"compiler", __VERSION__},
                               {"grpc", grpc::Version()},
                               {"protobuf", absl::StrFormat("%d.%d.%d", GOOGLE_PROTOBUF_VERSION / 1000000,
                                                            GOOGLE_PROTOBUF_VERSION / 1000 % 1000,
                                                            GOOGLE_PROTOBUF_VERSION % 1000)},
                               {"sqlite", sqlite3_libversion()},
                               {"libtorch", SWERVE_LIBTORCH_VERSION}};
  return json.dump(2) + "\n";
}

std::string FindModel(const std::string& directory) {
  const char* home = std::getenv("SWERVE_HOME");
  if (home == nullptr || directory.empty() || directory[0] == '/' || Exists(directory + "/config.json")) return directory;
  const std::string there = absl::StrCat(home, "/", directory);
  return Exists(there + "/config.json") ? there : directory;
}

absl::StatusOr<v1::RunConfig> ResolveTrain(const TrainOptions& options) {
  std::string file = options.config;
  if (options.resume && file.empty()) {
    std::string root = options.run_dir;
    if (root.empty()) {
      SWERVE_ASSIGN_OR_RETURN(const v1::RunConfig defaults, LoadRunConfig("", options.overrides));
      root = defaults.run_dir();
    }
    file = RunDir(root).config();
    if (!Exists(file)) {
      return absl::InvalidArgumentError(
          absl::StrCat("cannot resume: ", root, " holds no run; name it with --run, or leave --resume away"));
    }
  }
  SWERVE_ASSIGN_OR_RETURN(v1::RunConfig config, LoadRunConfig(file, options.overrides));
  config.mutable_policy()->set_model(FindModel(config.policy().model()));
  if (!options.run_dir.empty()) config.set_run_dir(options.run_dir);
  SWERVE_ASSIGN_OR_RETURN(const std::vector<std::string> scenes, TrainingScenes(config.scenes()));
  SWERVE_RETURN_IF_ERROR(CheckEdition(config, scenes[0]));
  const std::string model = config.policy().model() + "/config.json";
  if (!Exists(model)) {
    return absl::InvalidArgumentError(absl::StrCat("config: field 'policy.model': ", model,
                                                   " does not exist; name a Hugging Face model directory"));
  }
  return config;
}

absl::Status PrepareRunDir(const RunDir& run, const v1::RunConfig& config, bool resume) {
  const bool there = Exists(run.config());
  if (there && !resume) {
    return absl::FailedPreconditionError(absl::StrCat(
        run.root(), " holds a run already; go on with it by --resume, or choose another directory by --run"));
  }
  if (!there && resume) {
    return absl::FailedPreconditionError(absl::StrCat(run.root(), " holds no run to resume"));
  }
  SWERVE_RETURN_IF_ERROR(run.Create());
  SWERVE_RETURN_IF_ERROR(LockRun(run));
  if (!Exists(run.run_id_file())) {
    // Part of every episode, so it follows the seed alone where the same seed must give the same bytes.
    const uint64_t key = config.deterministic() ? StreamSeed(config.seed(), HashName("run id"))
                                                : StreamSeed(static_cast<uint64_t>(absl::GetCurrentTimeNanos()),
                                                             static_cast<uint64_t>(getpid()));
    SWERVE_RETURN_IF_ERROR(WriteFileAtomically(run.run_id_file(), absl::StrFormat("run-%08x\n", key >> 32)));
  }
  SWERVE_RETURN_IF_ERROR(ReadOrMakeAdminToken(AdminTokenFile(config, run)).status());
  return WriteOnceThereIsRoom([&] {
    SWERVE_RETURN_IF_ERROR(WriteFileAtomically(run.versions(), VersionsJson()));
    return WriteFileAtomically(run.config(), ToYaml(config));
  });
}

absl::Status Train(const TrainOptions& options) {
  SWERVE_ASSIGN_OR_RETURN(v1::RunConfig config, ResolveTrain(options));
  ExportRedisPassword(config.mutable_buffers());
  if (options.dry_run) {
    std::printf("%s", ToYaml(config).c_str());
    std::fprintf(stderr, "the configuration is good\n");
    return absl::OkStatus();
  }
  const RunDir run(config.run_dir());
  SWERVE_RETURN_IF_ERROR(PrepareRunDir(run, config, options.resume));
  SWERVE_ASSIGN_OR_RETURN(RoleChannel::Options channel, AdminChannelOptions(run));
  Stop::InstallSignalHandlers();
  v1::StatusReply last;
  absl::Status result;
  SWERVE_ASSIGN_OR_RETURN(const auto session, BusyLog::Open(run, "run"));
  const absl::Time begin = absl::Now();
  session->Add(begin, begin);  // killed, it still has a begin
  {
    LiveView view;
    view.Message(absl::StrCat("training in ", run.root(), " (logs in ", run.root(), "/logs)"));
    Supervisor supervisor(run, config, &view, std::move(channel));
    result = supervisor.Run();
    last = supervisor.status();
  }
  session->Add(begin, absl::Now());
  const bool heard = !last.run_id().empty();  // a run that stops at once may not have told its status
  const std::optional<BusyShares> busy = BusyOf(run);
  if (heard) SWERVE_RETURN_IF_ERROR(WriteOnceThereIsRoom([&] { return WriteResult(run, last, busy); }));
  if (absl::IsCancelled(result)) {
    return absl::CancelledError(absl::StrCat("stopped", heard ? absl::StrCat(" after step ", last.step()) : "",
                                             "; go on with: swerve train --resume --run ", run.root()));
  }
  if (!heard) return result;
  SWERVE_RETURN_IF_ERROR(result);
  if (busy) {
    std::fprintf(stderr, "%.0f s: generating %.0f %%, training %.0f %%, neither %.1f %% of the time\n",
                 busy->wall_seconds, 100 * busy->generating, 100 * busy->training, 100 * busy->idle);
  }
  std::fprintf(stderr, "done: %llu steps, weights in %s\nsee it with: swerve report %s\n",
               static_cast<unsigned long long>(last.step()), last.policy().directory().c_str(), run.root().c_str());
  return absl::OkStatus();
}

}  // namespace swerve
