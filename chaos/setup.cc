#include "chaos/setup.h"

#include <sys/mount.h>

#include <filesystem>

#include "absl/strings/match.h"
#include "base/config.h"
#include "base/files.h"
#include "base/redis_url.h"
#include "chaos_yaml.h"  // kChaosYaml, made from deploy/chaos.yaml
#include "orchestrator/process.h"
#include "orchestrator/train.h"

namespace swerve {
namespace {

namespace fs = std::filesystem;

// Says "this directory is a chaos run's", so that the next one may replace it.
constexpr char kMarker[] = "/chaos.yaml";
constexpr int kScenes = 24;

absl::Status PrepareOut(const std::string& out) {
  std::error_code error;
  // What a harness that was killed left mounted.
  while (umount2((out + "/run").c_str(), MNT_DETACH) == 0) {
  }
  if (fs::exists(out, error) && !fs::is_empty(out, error)) {
    if (!fs::exists(out + kMarker, error)) {
      return absl::InvalidArgumentError(absl::StrCat(out, " exists and is no chaos run's directory; choose another --out"));
    }
    for (const char* old : {"run", "run.kept", "scenes", "redis", "chaos.jsonl", "chaos.json", "train.log", "teachers.yaml"}) {
      fs::remove_all(absl::StrCat(out, "/", old), error);
    }
  }
  return MakeDirectories(out);
}

// The endpoint fails; what it does not say, the embedded teachers do.
std::string TeachersFile(int port) {
  return absl::StrCat("teachers:\n  - name: endpoint\n    url: http://127.0.0.1:", port, "/v1\n",
                      "    model: faulty\n    fallback: [oracle, rule]\n    image_size: 64\n    concurrency: 4\n"
                      "    deadline_seconds: 3\n    max_retries: 1\n    breaker_failures: 5\n    breaker_seconds: 1\n"
                      "  - name: oracle\n    kind: oracle\n    weight: 0.25\n");
}

absl::Status GenerateScenes(const std::string& dir, uint64_t seed, const std::string& log) {
  return RunSelf({"scenes", "generate", "--family", "mix", "--mix", "rl", "--count", absl::StrCat(kScenes), "--seed",
                  absl::StrCat(seed), "--out", dir},
                 log);
}

}  // namespace

absl::StatusOr<ChaosSetup> SetUpChaos(const ChaosOptions& options) {
  ChaosSetup made;
  made.out = options.out.empty() ? absl::StrCat("runs/chaos-", options.seed) : options.out;
  made.run = RunDir(made.out + "/run");
  std::string yaml = kChaosYaml;
  if (!options.config.empty()) {
    SWERVE_ASSIGN_OR_RETURN(yaml, ReadFile(options.config));
  }
  SWERVE_ASSIGN_OR_RETURN(const v1::RunConfig given, ParseRunConfig(yaml, options.config, options.overrides));
  SWERVE_RETURN_IF_ERROR(PrepareOut(made.out));
  SWERVE_RETURN_IF_ERROR(WriteFileAtomically(made.out + kMarker, yaml));

  std::vector<std::string> sets = options.overrides;
  if (!given.has_seed()) sets.push_back(absl::StrCat("seed=", options.seed));
  if (given.scenes().train().empty()) {
    SWERVE_RETURN_IF_ERROR(GenerateScenes(made.out + "/scenes", options.seed, made.out + "/train.log"));
    sets.push_back(absl::StrCat("scenes.train=[", made.out, "/scenes]"));
  }
  SWERVE_ASSIGN_OR_RETURN(made.teacher, FaultyTeacher::Start());
  SWERVE_ASSIGN_OR_RETURN(made.lines, Lines::Make(made.run));
  SWERVE_ASSIGN_OR_RETURN(const int endpoint, made.lines->Add("endpoint", made.teacher->port()));
  SWERVE_RETURN_IF_ERROR(WriteFileAtomically(made.out + "/teachers.yaml", TeachersFile(endpoint)));
  sets.push_back(absl::StrCat("teacher.teachers_file=", made.out, "/teachers.yaml"));
  if (IsRedisUrl(given.buffers().url())) {
    SWERVE_ASSIGN_OR_RETURN(made.redis, RedisProcess::Start(made.out + "/redis"));
    SWERVE_ASSIGN_OR_RETURN(const int port, made.lines->Add("redis", made.redis->port()));
    sets.push_back(absl::StrCat("buffers.url=redis://127.0.0.1:", port, "/0"));
  }
  if (options.disk_mb == 0) {
    made.no_disk = "--disk-mb 0";
  } else if (auto disk = SmallDisk::Mount(made.run.root(), options.disk_mb); disk.ok()) {
    made.disk = *std::move(disk);
  } else {
    made.no_disk = std::string(disk.status().message());
  }
  made.train = {"train", "--config", made.out + kMarker, "--run", made.run.root()};
  for (const std::string& set : sets) made.train.insert(made.train.end(), {"--set", set});
  TrainOptions resolve;
  resolve.config = made.out + kMarker;
  resolve.overrides = sets;
  resolve.run_dir = made.run.root();
  SWERVE_ASSIGN_OR_RETURN(made.config, ResolveTrain(resolve));
  return made;
}

}  // namespace swerve
