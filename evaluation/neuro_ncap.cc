#include "evaluation/neuro_ncap.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/files.h"

namespace swerve {
namespace {

using Json = nlohmann::json;

absl::Status Wrong(absl::string_view key, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("\"", key, "\" ", what));
}

// A name: a string that is not empty, or a whole number.
absl::Status ReadName(const Json& json, const char* key, std::string* out) {
  const auto it = json.find(key);
  if (it != json.end() && it->is_string()) *out = it->get<std::string>();
  if (it != json.end() && it->is_number_integer()) *out = it->dump();
  return out->empty() ? Wrong(key, "must be a name or a number") : absl::OkStatus();
}

absl::Status ReadSpeed(const Json& json, const char* key, double* out) {
  const auto it = json.find(key);
  if (it == json.end() || !it->is_number()) return Wrong(key, "must be a number, in m/s");
  *out = it->get<double>();
  return std::isfinite(*out) && *out >= 0 ? absl::OkStatus() : Wrong(key, "must be finite and not negative");
}

absl::Status ReadVelocity(const Json& json, const char* key, std::vector<double>* out) {
  const auto it = json.find(key);
  if (it == json.end() || !it->is_array() || it->size() < 2 || it->size() > 3) {
    return Wrong(key, "must be [vx, vy] or [vx, vy, vz], in m/s (or give \"impact_speed\")");
  }
  for (const Json& v : *it) {
    if (!v.is_number() || !std::isfinite(v.get<double>())) return Wrong(key, "must hold finite numbers");
    out->push_back(v.get<double>());
  }
  return absl::OkStatus();
}

absl::Status ReadImpact(const Json& json, ClosedLoopRun* run) {
  SWERVE_RETURN_IF_ERROR(ReadSpeed(json, "reference_speed", &run->reference_speed));
  if (run->reference_speed <= 0) return Wrong("reference_speed", "must be above 0");
  if (json.contains("impact_speed")) return ReadSpeed(json, "impact_speed", &run->impact_speed);
  std::vector<double> ego, actor;
  SWERVE_RETURN_IF_ERROR(ReadVelocity(json, "ego_velocity", &ego));
  SWERVE_RETURN_IF_ERROR(ReadVelocity(json, "actor_velocity", &actor));
  if (ego.size() != actor.size()) return Wrong("actor_velocity", "must have as many numbers as \"ego_velocity\"");
  for (size_t i = 0; i < ego.size(); ++i) run->impact_speed = std::hypot(run->impact_speed, ego[i] - actor[i]);
  return absl::OkStatus();
}

absl::StatusOr<ClosedLoopRun> ReadRun(const Json& json) {
  if (!json.is_object()) return absl::InvalidArgumentError("not a JSON object");
  ClosedLoopRun run;
  SWERVE_RETURN_IF_ERROR(ReadName(json, "scenario", &run.scenario));
  if (run.scenario != "stationary" && run.scenario != "frontal" && run.scenario != "side") {
    return Wrong("scenario", "must be stationary, frontal or side");
  }
  SWERVE_RETURN_IF_ERROR(ReadName(json, "sequence", &run.sequence));
  SWERVE_RETURN_IF_ERROR(ReadName(json, "run", &run.run));
  const auto collided = json.find("collided");
  if (collided == json.end() || !collided->is_boolean()) return Wrong("collided", "must be true or false");
  run.collided = collided->get<bool>();
  if (run.collided) SWERVE_RETURN_IF_ERROR(ReadImpact(json, &run));
  return run;
}

NeuroNcapMean MeanOf(const std::vector<NeuroNcapMean>& values) {
  NeuroNcapMean mean;
  for (const NeuroNcapMean& v : values) {
    mean.score += v.score / static_cast<double>(values.size());
    mean.collision_rate += v.collision_rate / static_cast<double>(values.size());
  }
  return mean;
}

}  // namespace

absl::StatusOr<std::vector<ClosedLoopRun>> ParseClosedLoopRuns(absl::string_view text) {
  std::vector<ClosedLoopRun> runs;
  std::set<std::tuple<std::string, std::string, std::string>> seen;
  int number = 0;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    ++number;
    line = absl::StripAsciiWhitespace(line);
    if (line.empty()) continue;
    auto run = ReadRun(Json::parse(line.begin(), line.end(), nullptr, /*allow_exceptions=*/false));
    if (!run.ok()) return Annotate(run.status(), absl::StrCat("line ", number));
    if (!seen.insert({run->scenario, run->sequence, run->run}).second) {
      return absl::InvalidArgumentError(absl::StrCat("line ", number, ": run ", run->run, " of ", run->scenario, " ",
                                                     run->sequence, " was given before"));
    }
    runs.push_back(*std::move(run));
  }
  if (runs.empty()) return absl::InvalidArgumentError("no closed-loop runs: one JSON object a line is expected");
  return runs;
}

absl::StatusOr<std::vector<ClosedLoopRun>> ReadClosedLoopRuns(const std::string& path) {
  SWERVE_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  auto runs = ParseClosedLoopRuns(text);
  if (!runs.ok()) return Annotate(runs.status(), path);
  return runs;
}

double NeuroNcapScore(const ClosedLoopRun& run) {
  return run.collided ? 4 * std::max(0.0, 1 - run.impact_speed / run.reference_speed) : 5;
}

NeuroNcapResult SummariseNeuroNcap(absl::Span<const ClosedLoopRun> runs) {
  NeuroNcapResult result;
  result.runs = static_cast<int>(runs.size());
  std::map<std::string, std::map<std::string, std::vector<NeuroNcapMean>>> tree;
  std::vector<NeuroNcapMean> all, scenarios;
  for (const ClosedLoopRun& run : runs) {
    all.push_back({NeuroNcapScore(run), run.collided ? 1.0 : 0.0});
    tree[run.scenario][run.sequence].push_back(all.back());
  }
  result.neuroncap_runs = MeanOf(all);
  for (const auto& [name, sequences] : tree) {
    NeuroNcapResult::Scenario& scenario = result.scenarios[name];
    std::vector<NeuroNcapMean> means;
    for (const auto& [_, members] : sequences) {
      means.push_back(MeanOf(members));
      scenario.runs += static_cast<int>(members.size());
    }
    scenario.sequences = static_cast<int>(sequences.size());
    scenario.neuroncap = MeanOf(means);
    scenarios.push_back(scenario.neuroncap);
  }
  result.neuroncap = MeanOf(scenarios);
  return result;
}

}  // namespace swerve
