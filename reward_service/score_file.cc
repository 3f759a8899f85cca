#include "reward_service/score_file.h"

#include <memory>
#include <nlohmann/json.hpp>
#include <set>

#include "reward_service/score_report.h"
#include "reward_service/stage_file.h"
#include "scenes/scene_json.h"

namespace swerve {
namespace {

using nlohmann::ordered_json;

std::string Dump(const ordered_json& json) {
  return json.dump(-1, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

absl::StatusOr<ScoreFileResult> ScoreStageTable(const StageTable& table) {
  SWERVE_ASSIGN_OR_RETURN(pdm::StageResult stages, pdm::AggregateTwoStages(table.rows, table.groups));
  ScoreFileResult result;
  result.rows = static_cast<int>(table.rows.size());
  result.json = Dump({{"schema", 1}, {"result", StageResultJson(stages)}});
  return result;
}

// The scenes of a source one after another; `name` is what a scene that cannot be read goes by.
struct SceneSource {
  int total = 0;
  std::function<absl::StatusOr<v1::Scene>(int index, std::string* name)> read;
};

// Broken ones keep their place.
SceneSource SourceOf(SceneFile* file) {
  const auto broken = std::make_shared<size_t>(0), good = std::make_shared<size_t>(0);
  return {static_cast<int>(file->scenes.size() + file->broken.size()),
          [file, broken, good](int index, std::string* name) -> absl::StatusOr<v1::Scene> {
            if (*broken < file->broken.size() && file->broken[*broken].index == index) {
              const SceneFile::Broken& b = file->broken[(*broken)++];
              *name = b.name;
              return b.status;
            }
            return std::move(file->scenes[(*good)++]);
          }};
}

SceneSource SourceOf(const SceneStore& store) {
  return {static_cast<int>(store.ids().size()), [&store](int index, std::string* name) -> absl::StatusOr<v1::Scene> {
            *name = store.ids()[index];
            SWERVE_ASSIGN_OR_RETURN(const auto scene, store.Get(*name));
            return *scene;
          }};
}

std::vector<ScoredScene> ScoreScenes(const SceneSource& source, const ScoreFileOptions& options, bool keep_states,
                                     ScoreFileResult* result) {
  const ScoreRowOptions row_options{.rules = options.v1_0 ? pdm::Rules::kV10 : pdm::Rules::kV1,
                                    .resolve = options.resolve,
                                    .reactive = options.reactive,
                                    .diag = options.diag,
                                    .keep_states = keep_states};
  std::vector<ScoredScene> out;
  std::set<std::string> answered;
  for (int i = 0; i < source.total; ++i) {
    std::string name;
    absl::StatusOr<v1::Scene> scene = source.read(i, &name);
    if (!scene.ok()) {
      ScoredScene& s = out.emplace_back();
      s.id = name;
      s.status = scene.status();
      result->broken.push_back(absl::StrCat("scenes[", i, "]: ", s.status.message()));
    } else if (options.submission != nullptr && !Answer(*options.submission, &*scene, &answered)) {
      ++result->unanswered;
    } else {
      const ScoredScene& s = out.emplace_back(ScoreScene(*std::move(scene), row_options));
      if (!s.status.ok()) result->broken.push_back(absl::StrCat("scene '", s.id, "': ", s.status.message()));
      if (!s.status_v2.ok()) result->broken.push_back(absl::StrCat("scene '", s.id, "' (v2): ", s.status_v2.message()));
      result->candidates += static_cast<int>(s.rows.size());
      for (const ScoreRow& row : s.rows) result->invalid += !row.valid();
    }
    if (options.progress) options.progress(i + 1, source.total);
  }
  result->scenes = static_cast<int>(out.size());
  if (options.submission == nullptr) return out;
  for (const auto& [token, plan] : options.submission->plans) {
    if (!answered.contains(token)) result->broken.push_back(absl::StrCat("prediction for '", token, "': no scene has this token"));
  }
  return out;
}

// The two-stage result of every candidate name; one that has none says why.
ordered_json TwoStages(absl::Span<const ScoredScene> scenes, absl::Span<const pdm::StageGroup> groups,
                       std::vector<std::string>* broken) {
  std::set<std::string> names;
  for (const ScoredScene& s : scenes) {
    for (const ScoreRow& row : s.rows) names.insert(row.candidate);
  }
  ordered_json out = ordered_json::object();
  for (const std::string& name : names) {
    absl::StatusOr<pdm::StageResult> result = absl::InternalError("");
    auto rows = StageRows(scenes, name);
    result = rows.ok() ? pdm::AggregateTwoStages(*rows, groups) : rows.status();
    if (result.ok()) {
      out[name] = StageResultJson(*result);
    } else {
      out[name] = {{"error", std::string(result.status().message())}};
      broken->push_back(absl::StrCat("two stages of candidate '", name, "': ", result.status().message()));
    }
  }
  return out;
}

absl::StatusOr<ScoreFileResult> ScoreSource(const SceneSource& source, const std::string& seed_json,
                                            const std::string& mapping_json, const ScoreFileOptions& options) {
  std::vector<pdm::StageGroup> groups;
  const bool two_stages = !mapping_json.empty();
  if (two_stages) {
    SWERVE_ASSIGN_OR_RETURN(groups, ParseStageGroups(nlohmann::json::parse(mapping_json)));
  }
  ScoreFileResult result;
  ordered_json out = {{"schema", 1}, {"seed", ordered_json::parse(seed_json)}, {"scenes", ordered_json::array()}};
  std::vector<ScoredScene> scenes = ScoreScenes(source, options, two_stages || options.pair_frames, &result);
  if (options.pair_frames) PairFrames(&scenes);
  bool any_v1 = false, any_v2 = false;
  for (const ScoredScene& s : scenes) {
    out["scenes"].push_back(SceneScoresJson(s));
    any_v1 = any_v1 || s.has_v1;
    any_v2 = any_v2 || s.has_v2;
  }
  out["summary"] = SummaryJson(scenes);
  if (two_stages) out["two_stage"] = TwoStages(scenes, groups, &result.broken);
  result.json = Dump(out);
  if (any_v1 || !any_v2) result.pdms_csv = PdmsCsv(scenes);
  if (any_v2) result.epdms_csv = EpdmsCsv(scenes);
  return result;
}

std::string MappingOf(const std::string& own, const ScoreFileOptions& options) {
  const bool given = options.submission != nullptr && !options.submission->mapping_json.empty();
  return given ? options.submission->mapping_json : own;
}

}  // namespace

absl::StatusOr<ScoreFileResult> ScoreSceneFile(const std::string& text, const ScoreFileOptions& options) {
  absl::StatusOr<SceneFile> file = ParseSceneFile(text);
  if (!file.ok()) {
    absl::StatusOr<StageTable> table = ParseStageTable(text);
    if (absl::IsNotFound(table.status())) return file.status();
    SWERVE_RETURN_IF_ERROR(table.status());
    return ScoreStageTable(*table);
  }
  return ScoreSource(SourceOf(&*file), file->seed_json, MappingOf(file->mapping_json, options), options);
}

absl::StatusOr<ScoreFileResult> ScoreSceneStore(const SceneStore& store, const ScoreFileOptions& options) {
  return ScoreSource(SourceOf(store), "null", MappingOf("", options), options);
}

}  // namespace swerve
