#include "reward_service/stage_file.h"

#include <cmath>

namespace swerve {
namespace {

using nlohmann::json;

constexpr size_t kStateColumns = 11;

absl::Status Bad(absl::string_view what) { return absl::InvalidArgumentError(what); }

absl::StatusOr<double> Number(const json& v, const std::string& field) {
  if (!v.is_number()) return Bad(absl::StrCat(field, ": expected a number"));
  const double x = v.get<double>();
  if (!std::isfinite(x)) return Bad(absl::StrCat(field, ": not finite"));
  return x;
}

absl::StatusOr<double> Number(const json& row, const char* key) {
  auto it = row.find(key);
  if (it == row.end()) return Bad(absl::StrCat(key, ": missing"));
  return Number(*it, std::string(key));
}

absl::StatusOr<pdm::Vec2> Point(const json& row, const char* key) {
  auto it = row.find(key);
  if (it == row.end() || !it->is_array() || it->size() != 2) return Bad(absl::StrCat(key, ": expected [x, y]"));
  SWERVE_ASSIGN_OR_RETURN(const double x, Number((*it)[0], std::string(key)));
  SWERVE_ASSIGN_OR_RETURN(const double y, Number((*it)[1], std::string(key)));
  return pdm::Vec2{x, y};
}

absl::StatusOr<pdm::States> ReadStates(const json& row) {
  auto it = row.find("states");
  if (it == row.end() || !it->is_array() || it->size() != pdm::kSamples) return Bad("states: expected 41 rows");
  pdm::States out;
  for (size_t t = 0; t < out.size(); ++t) {
    const json& v = (*it)[t];
    const std::string field = absl::StrCat("states[", t, "]");
    if (!v.is_array() || v.size() != kStateColumns) return Bad(absl::StrCat(field, ": expected 11 numbers"));
    pdm::EgoRow& r = out[t];
    double* columns[] = {&r.x,        &r.y,             &r.heading,  &r.vx, &r.vy, &r.ax, &r.ay,
                         &r.steering, &r.steering_rate, &r.yaw_rate, &r.yaw_acceleration};
    for (size_t c = 0; c < kStateColumns; ++c) {
      SWERVE_ASSIGN_OR_RETURN(*columns[c], Number(v[c], field));
    }
  }
  return out;
}

absl::StatusOr<pdm::StageRow> ReadRow(const json& v) {
  pdm::StageRow row;
  if (!v.is_object() || !v.contains("token") || !v["token"].is_string()) return Bad("token: missing");
  row.token = v["token"].get<std::string>();
  SWERVE_ASSIGN_OR_RETURN(row.start_time, Number(v, "start_time"));
  SWERVE_ASSIGN_OR_RETURN(row.start_point, Point(v, "start_point"));
  SWERVE_ASSIGN_OR_RETURN(row.end_point, Point(v, "endpoint"));
  SWERVE_ASSIGN_OR_RETURN(row.states, ReadStates(v));
  pdm::SubScoresV2& s = row.scores;
  double* scores[] = {&s.nc, &s.dac, &s.ddc, &s.tlc, &s.ep, &s.ttc, &s.lk, &s.hc};
  for (int c = 0; c < 8; ++c) {
    SWERVE_ASSIGN_OR_RETURN(*scores[c], Number(v, pdm::kStageColumnNames[c]));
  }
  return row;
}

bool IsPair(const json& v) { return v.is_array() && v.size() >= 2 && v[0].is_string() && v[1].is_string(); }

}  // namespace

absl::StatusOr<std::vector<pdm::StageGroup>> ParseStageGroups(const json& mapping) {
  if (!mapping.is_array()) return Bad("mapping: expected [[now, prev, [[now, prev], …]], …]");
  std::vector<pdm::StageGroup> out;
  for (const json& entry : mapping) {
    const std::string field = absl::StrCat("mapping[", out.size(), "]");
    if (!IsPair(entry) || entry.size() != 3 || !entry[2].is_array()) {
      return Bad(absl::StrCat(field, ": expected [now, prev, [[now, prev], …]]"));
    }
    pdm::StageGroup group{entry[0].get<std::string>(), entry[1].get<std::string>(), {}};
    for (const json& pair : entry[2]) {
      if (!IsPair(pair) || pair.size() != 2) return Bad(absl::StrCat(field, ": a second-stage pair is not [now, prev]"));
      group.second.emplace_back(pair[0].get<std::string>(), pair[1].get<std::string>());
    }
    out.push_back(std::move(group));
  }
  return out;
}

absl::StatusOr<StageTable> ParseStageTable(const std::string& text) {
  const json file = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!file.is_object() || !file.contains("rows") || !file["rows"].is_array() || !file.contains("mapping")) {
    return absl::NotFoundError("no {\"rows\": […], \"mapping\": […]}");
  }
  StageTable out;
  for (const json& v : file["rows"]) {
    auto row = ReadRow(v);
    if (!row.ok()) return Annotate(row.status(), absl::StrCat("rows[", out.rows.size(), "]"));
    out.rows.push_back(*std::move(row));
  }
  SWERVE_ASSIGN_OR_RETURN(out.groups, ParseStageGroups(file["mapping"]));
  return out;
}

}  // namespace swerve
