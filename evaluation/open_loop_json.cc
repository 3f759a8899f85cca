#include "evaluation/open_loop_json.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace swerve {
namespace {

using OrderedJson = nlohmann::ordered_json;

OrderedJson ToJson(double value) { return std::isfinite(value) ? OrderedJson(value) : OrderedJson(nullptr); }

OrderedJson ToJson(const Horizons& h) {
  OrderedJson json;
  for (int i = 0; i < kOpenLoopHorizons; ++i) json[absl::StrCat(i + 1, "s")] = ToJson(h.at[i]);
  json["mean_1s_2s_3s"] = ToJson(h.mean);
  return json;
}

OrderedJson ToJson(const PlanningAccuracy& a) { return {{"speed", a.speed}, {"path", a.path}, {"joint", a.joint}}; }

OrderedJson ToJson(const OpenLoopSummary& s, const OpenLoopMetrics& metrics) {
  OrderedJson json;
  json["scenes"] = s.scenes;
  json["answered"] = s.answered;
  if (metrics.l2) {
    json["l2_m"] = {{"uniad", ToJson(s.l2_uniad)}, {"st_p3", ToJson(s.l2_st_p3)}};
    json["ade_4s_m"] = ToJson(s.ade);
    json["fde_4s_m"] = ToJson(s.fde);
    json["miss_rate_2m"] = {{"nuscenes", s.miss_nuscenes}, {"argoverse", s.miss_argoverse}};
  }
  if (metrics.collision) {
    json["collision_rate"] = {{"uniad", ToJson(s.collision_uniad)}, {"st_p3", ToJson(s.collision_st_p3)}};
  }
  if (metrics.planning) {
    json["planning_accuracy"] = {{"swerve", ToJson(s.planning_swerve)}, {"impromptu", ToJson(s.planning_impromptu)}};
  }
  return json;
}

OrderedJson ToJson(const NeuroNcapResult& r) {
  OrderedJson json;
  json["runs"] = r.runs;
  json["score"] = {{"neuroncap", r.neuroncap.score}, {"neuroncap_runs", r.neuroncap_runs.score}};
  json["collision_rate"] = {{"neuroncap", r.neuroncap.collision_rate}, {"neuroncap_runs", r.neuroncap_runs.collision_rate}};
  for (const auto& [name, s] : r.scenarios) {
    json["scenarios"][name] = {{"sequences", s.sequences},
                               {"runs", s.runs},
                               {"score", s.neuroncap.score},
                               {"collision_rate", s.neuroncap.collision_rate}};
  }
  return json;
}

std::string Number(double value, double factor) {
  return std::isfinite(value) ? absl::StrFormat("%9.3f", factor * value) : absl::StrFormat("%9s", "-");
}

std::string HorizonRow(absl::string_view name, const Horizons& h, double factor) {
  std::string row = absl::StrFormat("%-62s", name);
  for (double value : h.at) row += Number(value, factor);
  return row + Number(h.mean, factor) + "\n";
}

std::string Row(absl::string_view name, std::initializer_list<double> values, double factor) {
  std::string row = absl::StrFormat("%-62s", name);
  for (double value : values) row += Number(value, factor);
  return row + "\n";
}

}  // namespace

absl::StatusOr<OpenLoopMetrics> OpenLoopMetricsOf(absl::Span<const std::string> names) {
  OpenLoopMetrics metrics;
  for (const std::string& name : names) {
    bool* flag = name == "l2"          ? &metrics.l2
                 : name == "collision" ? &metrics.collision
                 : name == "planning"  ? &metrics.planning
                                       : nullptr;
    if (flag == nullptr) {
      return absl::InvalidArgumentError(absl::StrCat("no metric \"", name, "\"; there are l2, collision and planning"));
    }
    *flag = true;
  }
  return metrics;
}

absl::StatusOr<std::string> AddMetricsToJson(absl::string_view eval_json, const OpenLoopMetrics& metrics,
                                             const OpenLoopResult* open_loop, const NeuroNcapResult* neuro_ncap,
                                             int indent) {
  if (open_loop == nullptr && neuro_ncap == nullptr) return std::string(eval_json);
  OrderedJson json = OrderedJson::object();
  if (!eval_json.empty()) json = OrderedJson::parse(eval_json.begin(), eval_json.end(), nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return absl::InternalError("the evaluation's JSON is not an object");
  if (open_loop != nullptr) {
    json["open_loop"]["overall"] = ToJson(open_loop->overall, metrics);
    json["open_loop"]["families"] = OrderedJson::object();
    for (const auto& [family, s] : open_loop->families) json["open_loop"]["families"][family] = ToJson(s, metrics);
  }
  if (neuro_ncap != nullptr) json["neuroncap"] = ToJson(*neuro_ncap);
  return json.dump(indent, ' ', false, OrderedJson::error_handler_t::replace);
}

std::string OpenLoopTable(const OpenLoopSummary& s, const OpenLoopMetrics& metrics) {
  std::string out = absl::StrFormat("\nopen loop: %d scenes, %d with a plan\n", s.scenes, s.answered);
  if (metrics.l2 || metrics.collision) {
    out += absl::StrFormat("%-62s%9s%9s%9s%9s%9s\n", "", "1 s", "2 s", "3 s", "4 s", "mean 1-3");
  }
  if (metrics.l2) {
    out += HorizonRow("L2 [m], UniAD (at the time)", s.l2_uniad, 1);
    out += HorizonRow("L2 [m], ST-P3 (mean up to the time)", s.l2_st_p3, 1);
  }
  if (metrics.collision) {
    out += HorizonRow("collision [%], UniAD (at the time; vehicles)", s.collision_uniad, 100);
    out += HorizonRow("collision [%], ST-P3 (mean up to the time; + pedestrians)", s.collision_st_p3, 100);
  }
  if (metrics.l2) {
    out += Row("ADE, FDE over 4 s [m]", {s.ade, s.fde}, 1);
    out += Row("miss rate [%], nuScenes (any point > 2 m)", {s.miss_nuscenes}, 100);
    out += Row("miss rate [%], Argoverse (last point > 2 m)", {s.miss_argoverse}, 100);
  }
  if (metrics.planning) {
    const PlanningAccuracy &a = s.planning_swerve, &b = s.planning_impromptu;
    out += Row("planning accuracy [%], Swerve (speed, path, joint)", {a.speed, a.path, a.joint}, 100);
    out += Row("planning accuracy [%], Impromptu (speed, path, joint)", {b.speed, b.path, b.joint}, 100);
  }
  return out;
}

std::string NeuroNcapTable(const NeuroNcapResult& r) {
  std::string out = absl::StrFormat("\nclosed loop: %d runs\n%-62s%9s%9s\n", r.runs, "", "score", "hit [%]");
  const auto row = [&](absl::string_view name, const NeuroNcapMean& m) {
    out += absl::StrFormat("%-62s%9.3f%9.3f\n", name, m.score, 100 * m.collision_rate);
  };
  for (const auto& [name, s] : r.scenarios) {
    row(absl::StrFormat("NeuroNCAP %s (%d sequences, %d runs)", name, s.sequences, s.runs), s.neuroncap);
  }
  row("NeuroNCAP (mean of scenarios, as its tables)", r.neuroncap);
  row("NeuroNCAP (mean of runs)", r.neuroncap_runs);
  return out;
}

}  // namespace swerve
