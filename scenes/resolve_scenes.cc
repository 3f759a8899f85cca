#include "scenes/resolve_scenes.h"

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/gzip.h"
#include "base/progress.h"
#include "pdm/resolve.h"
#include "scenes/scene_json.h"
#include "scenes/store.h"

namespace swerve {
namespace {

using nlohmann::json;

constexpr size_t kBatchPerThread = 16;

enum class Outcome { kResolved, kKept, kFailed };

// On failure `scene` is unchanged and `why` is set.
Outcome ResolveOne(const ResolveOptions& options, v1::Scene* scene, std::string* why) {
  if (!options.again && scene->has_resolved_v1() && (!options.v2 || scene->has_resolved_v2())) return Outcome::kKept;
  const absl::Status status = options.v2 ? pdm::ResolveBoth(scene) : pdm::Resolve(scene);
  if (status.ok()) return Outcome::kResolved;
  *why = absl::StrCat("scene '", scene->id(), "': ", status.message());
  return Outcome::kFailed;
}

void Count(Outcome outcome, std::string why, ResolveCounts* counts) {
  ++counts->scenes;
  if (outcome == Outcome::kResolved) ++counts->resolved;
  if (outcome == Outcome::kKept) ++counts->kept;
  if (outcome == Outcome::kFailed) counts->failed.push_back(std::move(why));
}

int Threads(const ResolveOptions& options) {
  return options.threads > 0 ? options.threads : std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

// work(0) … work(n - 1) on several threads.
void ForEach(size_t n, int threads, const std::function<void(size_t)>& work) {
  std::atomic<size_t> next{0};
  std::vector<std::thread> pool;
  for (int i = 0; i < threads; ++i) {
    pool.emplace_back([&] {
      for (size_t k; (k = next.fetch_add(1)) < n;) work(k);
    });
  }
  for (std::thread& t : pool) t.join();
}

absl::StatusOr<ResolveCounts> ResolveDataSet(const std::string& dir, const ResolveOptions& options) {
  SWERVE_ASSIGN_OR_RETURN(auto store, SceneStore::Open({dir}, /*cache_bytes=*/0));
  SWERVE_ASSIGN_OR_RETURN(auto writer, SceneWriter::Rewrite(dir));
  struct Slot {
    absl::Status read;
    v1::Scene scene;
    Outcome outcome = Outcome::kFailed;
    std::string why;
  };
  ResolveCounts counts;
  {
    Progress progress("resolve", store->ids().size(), "scenes");
    const int threads = Threads(options);
    std::vector<Slot> batch;
    for (size_t first = 0; first < store->ids().size(); first += batch.size()) {
      batch.assign(std::min(threads * kBatchPerThread, store->ids().size() - first), Slot());
      ForEach(batch.size(), threads, [&](size_t k) {
        Slot& slot = batch[k];
        auto scene = store->Get(store->ids()[first + k]);
        slot.read = scene.status();
        if (!scene.ok()) return;
        slot.scene = **scene;
        slot.outcome = ResolveOne(options, &slot.scene, &slot.why);
        progress.Add(1);
      });
      for (Slot& slot : batch) {
        SWERVE_RETURN_IF_ERROR(slot.read);
        Count(slot.outcome, std::move(slot.why), &counts);
        SWERVE_RETURN_IF_ERROR(writer->Add(slot.scene));
      }
    }
  }
  if (counts.resolved > 0) SWERVE_RETURN_IF_ERROR(writer->Finish());
  return counts;
}

absl::StatusOr<ResolveCounts> ResolveFile(const std::string& path, const ResolveOptions& options) {
  SWERVE_ASSIGN_OR_RETURN(const std::string text, ReadMaybeGzip(path));
  nlohmann::ordered_json file = nlohmann::ordered_json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!file.is_object() || !file.contains("scenes") || !file["scenes"].is_array()) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": expected a scene file, {\"schema\": 1, \"scenes\": […]}, or a data set's directory"));
  }
  auto& scenes = file["scenes"];
  std::vector<Outcome> outcomes(scenes.size(), Outcome::kFailed);
  std::vector<std::string> why(scenes.size());
  {
    Progress progress("resolve", scenes.size(), "scenes");
    ForEach(scenes.size(), Threads(options), [&](size_t k) {
      auto& entry = scenes[k];
      auto scene = SceneFromJson(json(entry));
      if (scene.ok()) {
        outcomes[k] = ResolveOne(options, &*scene, &why[k]);
      } else {
        why[k] = absl::StrCat("scenes[", k, "]: ", scene.status().message());
      }
      if (outcomes[k] == Outcome::kResolved) {
        // Only this key is written: what else the file holds stays to the digit.
        const json resolved = SceneToJson(*scene)["resolved"];
        if (!entry.contains("resolved") || !entry["resolved"].is_object()) entry["resolved"] = json::object();
        entry["resolved"]["v1"] = resolved["v1"];
        if (options.v2) entry["resolved"]["v2"] = resolved["v2"];
      }
      progress.Add(1);
    });
  }
  ResolveCounts counts;
  for (size_t k = 0; k < scenes.size(); ++k) Count(outcomes[k], std::move(why[k]), &counts);
  if (counts.resolved == 0) return counts;
  SWERVE_RETURN_IF_ERROR(WriteMaybeGzip(path, file.dump(-1, ' ', false, json::error_handler_t::replace) + "\n"));
  return counts;
}

}  // namespace

absl::StatusOr<ResolveCounts> ResolveStored(const std::string& path, const ResolveOptions& options) {
  std::error_code ec;
  return std::filesystem::is_directory(path, ec) ? ResolveDataSet(path, options) : ResolveFile(path, options);
}

}  // namespace swerve
