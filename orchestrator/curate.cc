#include "orchestrator/curate.h"

#include <algorithm>
#include <array>
#include <memory>

#include "absl/strings/str_format.h"
#include "base/files.h"
#include "base/progress.h"
#include "base/random.h"
#include "base/stop.h"
#include "pdm/score.h"
#include "scenes/prompt.h"
#include "scenes/raster.h"

namespace swerve {
namespace {

// The engine's question about one scene, and what scores the answers.
struct Asked {
  GenerateRequest request;
  std::shared_ptr<const pdm::PreparedScene> prepared;
};

absl::StatusOr<Asked> Ask(const Engine& engine, const v1::Scene& scene, const CurateOptions& options) {
  Asked asked;
  absl::StatusOr<std::shared_ptr<const pdm::PreparedScene>> prepared = pdm::Prepare(scene);
  if (!prepared.ok()) return Annotate(prepared.status(), absl::StrCat("scene ", scene.id()));
  asked.prepared = *std::move(prepared);
  asked.request.prompt.text = BasePromptText(scene, engine.codec().Ask());
  if (engine.image_size() > 0) {
    asked.request.prompt.image = std::make_shared<const Image>(Rasterise(scene, engine.image_size()));
  }
  for (int i = 0; i < options.samples; ++i) {
    asked.request.seeds.push_back(StreamSeed(options.seed, HashName("curate"), HashName(scene.id()), i));
  }
  asked.request.temperature = options.temperature;
  asked.request.max_new_tokens = options.max_new_tokens;
  return asked;
}

// Fills mean, variance and verdict. An answer that does not parse is the policy's failure: 0.
void Judge(const Asked& asked, const GenerateResult& result, const CurateOptions& options, CuratedScene* scene) {
  double sum = 0, squares = 0;
  for (const v1::Response& response : result.responses) {
    std::vector<pdm::Pose2> poses;
    for (const v1::Pose& pose : response.poses()) poses.push_back({pose.x(), pose.y(), pose.heading()});
    const double pdms = pdm::ScoreTrajectory(*asked.prepared, poses, /*want_facts=*/false).scores.pdms();
    sum += pdms;
    squares += pdms * pdms;
  }
  const double n = static_cast<double>(result.responses.size());
  scene->mean = n > 0 ? sum / n : 0;
  scene->variance = n > 1 ? std::max(0.0, (squares - sum * sum / n) / (n - 1)) : 0;
  scene->verdict = JudgeScene(scene->mean, scene->variance, options.thresholds);
}

}  // namespace

const char* VerdictName(CurationVerdict verdict) {
  switch (verdict) {
    case CurationVerdict::kEasy: return "easy";
    case CurationVerdict::kDifficult: return "difficult";
    case CurationVerdict::kAmbiguous: return "ambiguous";
  }
  return "";
}

CurationVerdict JudgeScene(double mean, double variance, const CurationThresholds& thresholds) {
  if (variance > thresholds.low_variance) return CurationVerdict::kAmbiguous;
  return mean >= thresholds.high_mean ? CurationVerdict::kEasy : CurationVerdict::kDifficult;
}

absl::StatusOr<std::vector<CuratedScene>> Curate(Engine& engine, const SceneStore& store,
                                                 const CurateOptions& options) {
  if (options.samples < 2) return absl::InvalidArgumentError("a variance needs at least 2 samples per scene");
  const std::vector<SceneEntry>& entries = store.entries();
  std::vector<CuratedScene> scenes(entries.size());
  Progress progress("curating", entries.size(), "scenes");
  const size_t batch = static_cast<size_t>(std::max(1, options.batch_scenes));
  for (size_t first = 0; first < entries.size(); first += batch) {
    if (Stop::Requested()) return absl::CancelledError("stopped");
    const size_t count = std::min(batch, entries.size() - first);
    std::vector<Asked> asked;
    std::vector<GenerateRequest> requests;
    for (size_t i = first; i < first + count; ++i) {
      SWERVE_ASSIGN_OR_RETURN(const std::shared_ptr<const v1::Scene> scene, store.Get(entries[i].id));
      SWERVE_ASSIGN_OR_RETURN(Asked one, Ask(engine, *scene, options));
      requests.push_back(one.request);
      asked.push_back(std::move(one));
    }
    SWERVE_ASSIGN_OR_RETURN(const std::vector<GenerateResult> results, engine.Generate(requests));
    for (size_t i = 0; i < count; ++i) {
      CuratedScene& scene = scenes[first + i];
      scene.id = entries[first + i].id;
      scene.family = entries[first + i].family;
      Judge(asked[i], results[i], options, &scene);
    }
    progress.Add(count);
  }
  return scenes;
}

absl::Status WriteCurated(absl::Span<const CuratedScene> scenes, const CurateOptions& options,
                          const std::string& path) {
  std::string text = absl::StrFormat(
      "# swerve curate: %d samples at temperature %g, seed %d; kept unless mean >= %g and variance <= %g\n"
      "# id\tmean PDMS\tvariance\tverdict\n",
      options.samples, options.temperature, options.seed, options.thresholds.high_mean,
      options.thresholds.low_variance);
  bool any = false;
  for (const CuratedScene& scene : scenes) {
    if (scene.verdict == CurationVerdict::kEasy) continue;
    any = true;
    absl::StrAppendFormat(&text, "%s\t%.4f\t%.4f\t%s\n", scene.id, scene.mean, scene.variance,
                          VerdictName(scene.verdict));
  }
  if (!any) {
    return absl::FailedPreconditionError(
        "every scene is easy for this policy, none is kept: raise --high-mean, lower --low-variance, or bring harder "
        "scenes");
  }
  return WriteFileAtomically(path, text);
}

std::string CurationTable(absl::Span<const CuratedScene> scenes) {
  struct Row {
    std::array<int, 3> counts = {0, 0, 0};
    double mean = 0;
  };
  std::map<std::string, Row> rows;
  Row all;
  const auto add = [](Row& row, const CuratedScene& scene) {
    ++row.counts[static_cast<size_t>(scene.verdict)];
    row.mean += scene.mean;
  };
  for (const CuratedScene& scene : scenes) {
    add(rows[scene.family], scene);
    add(all, scene);
  }
  std::string text = absl::StrFormat("%-28s %8s %8s %10s %10s %10s\n", "family", "scenes", "mean", "difficult",
                                     "ambiguous", "dropped");
  const auto line = [&](const std::string& name, const Row& row) {
    const int count = row.counts[0] + row.counts[1] + row.counts[2];
    absl::StrAppendFormat(&text, "%-28s %8d %8.3f %10d %10d %10d\n", name, count, row.mean / std::max(1, count),
                          row.counts[1], row.counts[2], row.counts[0]);
  };
  for (const auto& [family, row] : rows) line(family, row);
  line("all", all);
  return text;
}

}  // namespace swerve
