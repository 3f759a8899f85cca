#include "reward_service/score_report.h"

#include <cmath>
#include <map>

#include "absl/strings/str_replace.h"

namespace swerve {
namespace {

using nlohmann::ordered_json;

struct Value {
  const char* key;   // JSON
  const char* name;  // CSV, as NAVSIM writes it
  double value;      // NaN: none
};
using Values = std::vector<Value>;

const double kNaN = std::numeric_limits<double>::quiet_NaN();

// In the column order of NAVSIM v1.
Values ValuesV1(const ScoreRow& r) {
  const v1::SubScores none, &s = r.v1.has_value() ? *r.v1 : none;
  const bool ok = r.valid() && r.v1.has_value();
  auto v = [ok](double x) { return ok ? x : kNaN; };
  return {{"NC", "no_at_fault_collisions", v(s.nc())},
          {"DAC", "drivable_area_compliance", v(s.dac())},
          {"EP", "ego_progress", v(s.ep())},
          {"TTC", "time_to_collision_within_bound", v(s.ttc())},
          {"C", "comfort", v(s.comfort())},
          {"DDC", "driving_direction_compliance", v(s.ddc())},
          {"PDMS", "score", v(s.pdms())}};
}

// In the column order of NAVSIM v2: after the human filter, EC and the total at the end.
Values ValuesV2(const ScoreRow& r) {
  const pdm::ScoreV2 none, &s = r.v2.has_value() ? *r.v2 : none;
  const bool ok = r.valid() && r.v2.has_value();
  auto v = [ok](double x) { return ok ? x : kNaN; };
  return {{"NC", "no_at_fault_collisions", v(s.filtered.nc)},
          {"DAC", "drivable_area_compliance", v(s.filtered.dac)},
          {"DDC", "driving_direction_compliance", v(s.filtered.ddc)},
          {"TLC", "traffic_light_compliance", v(s.filtered.tlc)},
          {"EP", "ego_progress", v(s.filtered.ep)},
          {"TTC", "time_to_collision_within_bound", v(s.filtered.ttc)},
          {"LK", "lane_keeping", v(s.filtered.lk)},
          {"HC", "history_comfort", v(s.filtered.hc)},
          {"EC", "two_frame_extended_comfort", v(s.ec.value_or(kNaN))},
          {"EPDMS", "score", v(s.epdms)}};
}

// Means that leave NaN out.
class Means {
 public:
  explicit Means(Values columns) : columns_(std::move(columns)), sums_(columns_.size()), counts_(columns_.size()) {}

  void Add(const Values& values) {
    for (size_t i = 0; i < values.size(); ++i) {
      if (std::isnan(values[i].value)) continue;
      sums_[i] += values[i].value;
      ++counts_[i];
    }
  }
  Values Get() const {
    Values out = columns_;
    for (size_t i = 0; i < out.size(); ++i) out[i].value = counts_[i] == 0 ? kNaN : sums_[i] / counts_[i];
    return out;
  }

 private:
  Values columns_;
  std::vector<double> sums_;
  std::vector<int> counts_;
};

ordered_json Number(double v) { return std::isfinite(v) ? ordered_json(v) : ordered_json(nullptr); }

ordered_json Invalid(const ScoreRow& row) {
  std::string text;
  switch (row.invalid) {
    case v1::WRONG_SHAPE:
      text = absl::StrCat("expected 8 poses [x, y, heading]; found ",
                          row.poses == 0 ? "none, or a malformed one" : absl::StrCat(row.poses));
      break;
    case v1::NOT_FINITE:
      text = "a pose is not finite";
      break;
    default:
      text = "the simulation diverges";
  }
  return {{"valid", false}, {"error", text}, {"reason", v1::InvalidReason_Name(row.invalid)}};
}

ordered_json Diag(const pdm::Metrics& r, const pdm::Metrics& m, const pdm::Trace& trace, bool v2) {
  auto index = [](int i) { return i < 0 ? ordered_json(nullptr) : ordered_json(i); };
  std::string areas;
  for (uint8_t f : trace.areas.flags) areas += static_cast<char>('0' + f);
  ordered_json comfort = ordered_json::array();
  for (bool holds : trace.comfort.holds) comfort.push_back(holds);
  ordered_json multi = {{r.nc, m.nc}, {r.dac, m.dac}};
  if (v2) {
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

ordered_json RowV1(const ScoreRow& row) {
  if (!row.valid()) return Invalid(row);
  const v1::SubScores& s = *row.v1;
  ordered_json out = {{"valid", true}, {"NC", s.nc()},   {"DAC", s.dac()},   {"DDC", s.ddc()},
                      {"EP", s.ep()},  {"TTC", s.ttc()}, {"C", s.comfort()}, {"PDMS", s.pdms()}};
  if (row.diag.has_value()) out["diag"] = Diag(row.diag->reference, row.diag->metrics, row.diag->trace, false);
  return out;
}

ordered_json SubScores(const pdm::SubScoresV2& s) {
  return {{"NC", s.nc}, {"DAC", s.dac}, {"DDC", s.ddc}, {"TLC", s.tlc},
          {"EP", s.ep}, {"TTC", s.ttc}, {"LK", s.lk},   {"HC", s.hc}};
}

ordered_json RowV2(const ScoreRow& row) {
  if (!row.valid()) return Invalid(row);
  const pdm::ScoreV2& s = *row.v2;
  ordered_json out = {{"valid", true},
                      {"raw", SubScores(s.raw)},
                      {"filtered", SubScores(s.filtered)},
                      {"pdm_score_column", s.pdm_score},
                      {"EPDMS_noEC", s.epdms_no_ec},
                      {"EPDMS_raw_noEC", s.epdms_raw_no_ec},
                      {"EC", s.ec.has_value() ? ordered_json(*s.ec) : ordered_json(nullptr)},
                      {"EPDMS", s.epdms},
                      {"EPDMS_raw", s.epdms_raw}};
  if (row.diag.has_value()) out["diag"] = Diag(s.reference, s.metrics, s.trace, true);
  return out;
}

std::string Quoted(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  return absl::StrCat("\"", absl::StrReplaceAll(text, {{"\"", "\"\""}}), "\"");
}

// Shortest text that reads back as the same double, as pandas writes it.
std::string Cell(double v) { return std::isnan(v) ? "" : ordered_json(v).dump(); }

void Line(int index, const std::string& token, bool valid, const Values& values, const std::string& candidate,
          std::string* out) {
  absl::StrAppend(out, index, ",", Quoted(token), ",", valid ? "True" : "False");
  for (const Value& v : values) absl::StrAppend(out, ",", Cell(v.value));
  absl::StrAppend(out, ",", Quoted(candidate), "\n");
}

std::string Csv(absl::Span<const ScoredScene> scenes, Values (*values_of)(const ScoreRow&), bool v2,
                const char* mean_token) {
  std::string out = ",token,valid";
  for (const Value& v : values_of(ScoreRow())) absl::StrAppend(&out, ",", v.name);
  out += ",candidate\n";
  Means means(values_of(ScoreRow()));
  int index = 0;
  bool all_valid = true;
  for (const ScoredScene& scene : scenes) {
    if (v2 ? !scene.has_v2 : !scene.has_v1) continue;
    for (const ScoreRow& row : scene.rows) {
      const Values values = values_of(row);
      means.Add(values);
      all_valid = all_valid && row.valid();
      Line(index++, scene.token, row.valid(), values, row.candidate, &out);
    }
  }
  Line(index, mean_token, all_valid, means.Get(), "", &out);
  return out;
}

}  // namespace

ordered_json SceneScoresJson(const ScoredScene& scene) {
  ordered_json out = {{"name", scene.id}, {"family", scene.family}, {"candidates", ordered_json::array()}};
  if (!scene.status.ok()) out["error"] = std::string(scene.status.message());
  if (!scene.status_v2.ok()) out["error_v2"] = std::string(scene.status_v2.message());
  for (const ScoreRow& row : scene.rows) {
    ordered_json entry = {{"name", row.candidate}};
    if (scene.has_v1) entry["v1"] = RowV1(row);
    if (scene.has_v2) entry["v2"] = RowV2(row);
    out["candidates"].push_back(std::move(entry));
  }
  return out;
}

ordered_json SummaryJson(absl::Span<const ScoredScene> scenes) {
  struct Sums {
    Means v1{ValuesV1(ScoreRow())}, v2{ValuesV2(ScoreRow())};
    int scored = 0, invalid = 0;
    bool any_v1 = false, any_v2 = false;
  };
  std::map<std::string, Sums> by_name;
  for (const ScoredScene& scene : scenes) {
    for (const ScoreRow& row : scene.rows) {
      Sums& s = by_name[row.candidate];
      ++(row.valid() ? s.scored : s.invalid);
      s.v1.Add(ValuesV1(row));
      s.v2.Add(ValuesV2(row));
      s.any_v1 = s.any_v1 || scene.has_v1;
      s.any_v2 = s.any_v2 || row.v2.has_value();
    }
  }
  auto means = [](const Means& m) {
    ordered_json out = ordered_json::object();
    for (const Value& v : m.Get()) out[v.key] = Number(v.value);
    return out;
  };
  ordered_json out = ordered_json::object();
  for (const auto& [name, s] : by_name) {
    ordered_json& entry = out[name] = {{"scored", s.scored}, {"invalid", s.invalid}};
    if (s.any_v1) entry["v1"] = means(s.v1);
    if (s.any_v2) entry["v2"] = means(s.v2);
  }
  return out;
}

ordered_json StageResultJson(const pdm::StageResult& result) {
  auto columns = [](const pdm::StageColumns& c) {
    ordered_json out = ordered_json::object();
    for (int i = 0; i < pdm::kStageColumns; ++i) out[pdm::kStageColumnNames[i]] = Number(c[i]);
    return out;
  };
  ordered_json tokens = ordered_json::object();
  for (const auto& [token, t] : result.per_token) {
    tokens[token] = {{"EC", t.columns[pdm::kEC]}, {"weight", t.weight}, {"score", t.columns[pdm::kScore]}};
  }
  return {{"per_token", tokens},
          {"combined", columns(result.combined)},
          {"stage_one", columns(result.stage_one)},
          {"stage_two", columns(result.stage_two)}};
}

std::string PdmsCsv(absl::Span<const ScoredScene> scenes) { return Csv(scenes, ValuesV1, false, "average"); }
std::string EpdmsCsv(absl::Span<const ScoredScene> scenes) { return Csv(scenes, ValuesV2, true, "average_all_frames"); }

}  // namespace swerve
