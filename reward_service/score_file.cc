#include "reward_service/score_file.h"

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

// Every scene of the file in its place, broken ones too.
std::vector<ScoredScene> ScoreScenes(SceneFile file, const ScoreFileOptions& options, bool keep_states,
                                     ScoreFileResult* result) {
  const ScoreRowOptions row_options{.rules = options.v1_0 ? pdm::Rules::kV10 : pdm::Rules::kV1,
                                    .resolve = options.resolve,
                                    .reactive = options.reactive,
                                    .diag = options.diag,
                                    .keep_states = keep_states};
  std::vector<ScoredScene> out;
  const size_t total = file.scenes.size() + file.broken.size();
  size_t good = 0, broken = 0;
  for (size_t i = 0; i < total; ++i) {
    if (broken < file.broken.size() && file.broken[broken].index == static_cast<int>(i)) {
      const SceneFile::Broken& b = file.broken[broken++];
      ScoredScene& s = out.emplace_back();
      s.id = b.name;
      s.status = b.status;
      result->broken.push_back(absl::StrCat("scenes[", i, "]: ", b.status.message()));
    } else {
      const ScoredScene& s = out.emplace_back(ScoreScene(std::move(file.scenes[good++]), row_options));
      if (!s.status.ok()) result->broken.push_back(absl::StrCat("scene '", s.id, "': ", s.status.message()));
      if (!s.status_v2.ok()) result->broken.push_back(absl::StrCat("scene '", s.id, "' (v2): ", s.status_v2.message()));
      result->candidates += static_cast<int>(s.rows.size());
      for (const ScoreRow& row : s.rows) result->invalid += !row.valid();
    }
    if (options.progress) options.progress(static_cast<int>(i) + 1, static_cast<int>(total));
  }
  result->scenes = static_cast<int>(total);
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

}  // namespace

absl::StatusOr<ScoreFileResult> ScoreSceneFile(const std::string& text, const ScoreFileOptions& options) {
  absl::StatusOr<SceneFile> file = ParseSceneFile(text);
  if (!file.ok()) {
    absl::StatusOr<StageTable> table = ParseStageTable(text);
    if (absl::IsNotFound(table.status())) return file.status();
    SWERVE_RETURN_IF_ERROR(table.status());
    return ScoreStageTable(*table);
  }
  std::vector<pdm::StageGroup> groups;
  const bool two_stages = !file->mapping_json.empty();
  if (two_stages) {
    SWERVE_ASSIGN_OR_RETURN(groups, ParseStageGroups(nlohmann::json::parse(file->mapping_json)));
  }
  ScoreFileResult result;
  ordered_json out = {{"schema", 1}, {"seed", ordered_json::parse(file->seed_json)}, {"scenes", ordered_json::array()}};
  std::vector<ScoredScene> scenes = ScoreScenes(*std::move(file), options, two_stages || options.pair_frames, &result);
  if (options.pair_frames) PairFrames(&scenes);
  bool any_v2 = false;
  for (const ScoredScene& s : scenes) {
    out["scenes"].push_back(SceneScoresJson(s));
    any_v2 = any_v2 || s.has_v2;
  }
  out["summary"] = SummaryJson(scenes);
  if (two_stages) out["two_stage"] = TwoStages(scenes, groups, &result.broken);
  result.json = Dump(out);
  result.pdms_csv = PdmsCsv(scenes);
  if (any_v2) result.epdms_csv = EpdmsCsv(scenes);
  return result;
}

}  // namespace swerve
