#include "reward_service/score_file.h"

#include <nlohmann/json.hpp>

#include "absl/strings/ascii.h"
#include "pdm/resolve.h"
#include "pdm/score.h"
#include "pdm/score_v2.h"
#include "scenes/scene_json.h"

namespace swerve {
namespace {

using nlohmann::ordered_json;
using pdm::PreparedScene;
using Poses = std::vector<pdm::Pose2>;

template <typename Repeated>
Poses ToPoses(const Repeated& poses) {
  Poses out;
  for (const v1::Pose& p : poses) out.push_back({p.x(), p.y(), p.heading()});
  return out;
}

ordered_json Invalid(v1::InvalidReason reason, size_t poses) {
  std::string text;
  switch (reason) {
    case v1::WRONG_SHAPE:
      text = absl::StrCat("expected 8 poses [x, y, heading]; found ", poses == 0 ? "none, or a malformed one" : absl::StrCat(poses));
      break;
    case v1::NOT_FINITE:
      text = "a pose is not finite";
      break;
    default:
      text = "the simulation diverges";
  }
  return {{"valid", false}, {"error", text}, {"reason", v1::InvalidReason_Name(reason)}};
}

ordered_json Diag(const PreparedScene& scene, const pdm::Metrics& m, const pdm::Trace& trace) {
  auto index = [](int i) { return i < 0 ? ordered_json(nullptr) : ordered_json(i); };
  std::string areas;
  for (uint8_t f : trace.areas) areas += static_cast<char>('0' + f);
  ordered_json comfort = ordered_json::array();
  for (bool holds : trace.comfort.holds) comfort.push_back(holds);
  const pdm::Metrics& r = scene.reference();
  ordered_json multi = {{r.nc, m.nc}, {r.dac, m.dac}};
  if (scene.rules() == pdm::Rules::kV2) {
    multi.push_back({r.tlc, m.tlc});
    multi.push_back({r.ddc, m.ddc});
  }
  return {{"progress_raw", {r.progress, m.progress}},
          {"collision_time_idx", {nullptr, index(trace.first_at_fault)}},
          {"ttc_time_idx", {nullptr, index(trace.ttc_sample)}},
          {"multi", multi},
          {"comfort", {nullptr, comfort}},
          {"areas", areas}};
}

ordered_json ScoreV1(const PreparedScene& scene, const Poses& poses, bool diag) {
  pdm::Score s = pdm::ScoreTrajectory(scene, poses, /*want_facts=*/false);
  if (s.invalid != v1::INVALID_REASON_UNSPECIFIED) return Invalid(s.invalid, poses.size());
  ordered_json out = {{"valid", true},          {"NC", s.scores.nc()},   {"DAC", s.scores.dac()},
                      {"DDC", s.scores.ddc()},  {"EP", s.scores.ep()},   {"TTC", s.scores.ttc()},
                      {"C", s.scores.comfort()}, {"PDMS", s.scores.pdms()}};
  if (diag) {
    pdm::States states;
    pdm::Trace trace;
    pdm::SimulateCandidate(scene, poses, &states);
    pdm::Metrics m = pdm::Evaluate(scene.map(), scene.observation(), states, scene.options(), &trace);
    out["diag"] = Diag(scene, m, trace);
  }
  return out;
}

ordered_json SubScores(const pdm::SubScoresV2& s) {
  return {{"NC", s.nc}, {"DAC", s.dac}, {"DDC", s.ddc}, {"TLC", s.tlc},
          {"EP", s.ep}, {"TTC", s.ttc}, {"LK", s.lk},   {"HC", s.hc}};
}

ordered_json ScoreV2(const PreparedScene& prepared, const v1::Scene& scene, const v1::Candidate& candidate, bool diag) {
  Poses poses = ToPoses(candidate.poses());
  auto previous = pdm::SimulatePrevious(scene, ToPoses(candidate.prev_poses()));
  pdm::ScoreV2 s = pdm::ScoreTrajectoryV2(prepared, poses, previous.has_value() ? &*previous : nullptr);
  if (s.invalid != v1::INVALID_REASON_UNSPECIFIED) return Invalid(s.invalid, poses.size());
  ordered_json out = {{"valid", true},
                      {"raw", SubScores(s.raw)},
                      {"filtered", SubScores(s.filtered)},
                      {"pdm_score_column", s.pdm_score},
                      {"EPDMS_noEC", s.epdms_no_ec},
                      {"EPDMS_raw_noEC", s.epdms_raw_no_ec},
                      {"EC", s.ec.has_value() ? ordered_json(*s.ec) : ordered_json(nullptr)},
                      {"EPDMS", s.epdms},
                      {"EPDMS_raw", s.epdms_raw}};
  if (diag) out["diag"] = Diag(prepared, s.metrics, s.trace);
  return out;
}

// One scene's entry. Its error, if it cannot be scored, goes to result->broken and into the entry.
ordered_json ScoreScene(v1::Scene scene, const ScoreFileOptions& options, ScoreFileResult* result) {
  ordered_json out = {{"name", scene.id()}, {"family", scene.family()}, {"candidates", ordered_json::array()}};
  absl::Status status = options.resolve ? pdm::Resolve(&scene) : absl::OkStatus();
  if (status.ok() && !scene.has_resolved_v1()) {
    status = absl::InvalidArgumentError("resolved.v1 is missing; --resolve builds it from map, route and tracks");
  }
  std::shared_ptr<const PreparedScene> v1_scene;
  if (status.ok()) {
    auto prepared = PreparedScene::Create(scene, pdm::Rules::kV1);
    status = prepared.status();
    if (prepared.ok()) v1_scene = *prepared;
  }
  if (!status.ok()) {
    result->broken.push_back(absl::StrCat("scene '", scene.id(), "': ", status.message()));
    out["error"] = std::string(status.message());
    return out;
  }
  absl::StatusOr<std::shared_ptr<const PreparedScene>> v2_scene = absl::NotFoundError("");
  if (scene.has_resolved_v2()) {
    v2_scene = PreparedScene::Create(scene, pdm::Rules::kV2);
    if (!v2_scene.ok()) {
      result->broken.push_back(absl::StrCat("scene '", scene.id(), "' (v2): ", v2_scene.status().message()));
      out["error_v2"] = std::string(v2_scene.status().message());
    }
  }
  for (const v1::Candidate& candidate : scene.candidates()) {
    ordered_json entry = {{"name", candidate.name()}, {"v1", ScoreV1(*v1_scene, ToPoses(candidate.poses()), options.diag)}};
    if (v2_scene.ok()) entry["v2"] = ScoreV2(**v2_scene, scene, candidate, options.diag);
    ++result->candidates;
    if (!entry["v1"]["valid"].get<bool>()) ++result->invalid;
    out["candidates"].push_back(std::move(entry));
  }
  return out;
}

}  // namespace

absl::StatusOr<ScoreFileResult> ScoreSceneFile(const std::string& text, const ScoreFileOptions& options) {
  SWERVE_ASSIGN_OR_RETURN(SceneFile file, ParseSceneFile(text));
  ScoreFileResult result;
  ordered_json out = {{"schema", 1}, {"seed", ordered_json::parse(file.seed_json)}, {"scenes", ordered_json::array()}};
  size_t total = file.scenes.size() + file.broken.size(), good = 0, broken = 0;
  for (size_t i = 0; i < total; ++i) {
    if (broken < file.broken.size() && file.broken[broken].index == static_cast<int>(i)) {
      const SceneFile::Broken& b = file.broken[broken++];
      result.broken.push_back(absl::StrCat("scenes[", i, "]: ", b.status.message()));
      out["scenes"].push_back({{"name", b.name},
                               {"candidates", ordered_json::array()},
                               {"error", std::string(b.status.message())}});
    } else {
      out["scenes"].push_back(ScoreScene(std::move(file.scenes[good++]), options, &result));
    }
    ++result.scenes;
    if (options.progress) options.progress(static_cast<int>(i) + 1, static_cast<int>(total));
  }
  result.json = out.dump(-1, ' ', false, ordered_json::error_handler_t::replace) + "\n";
  return result;
}

}  // namespace swerve
