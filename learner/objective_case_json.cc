// Reading one case: every field, every refusal.
#include <cmath>
#include <limits>

#include "learner/objective_json.h"

namespace swerve {
namespace {

using nlohmann::json;

absl::Status Wrong(absl::string_view path, const std::string& what, absl::string_view allowed) {
  return absl::InvalidArgumentError(absl::StrCat(path, ": ", what, "; allowed: ", allowed));
}
std::string Shown(const json& v) {
  std::string text = v.dump(-1, ' ', false, json::error_handler_t::replace);
  return absl::StrCat("is ", text.size() > 60 ? text.substr(0, 60) + "…" : text);
}
bool IsInt(const json& v) { return v.is_number_integer() && std::abs(v.get<double>()) < 1e9; }

// A per-row list of `rows` entries.
absl::StatusOr<const json*> RowList(const json& c, const std::string& name, size_t rows) {
  auto it = c.find(name);
  const std::string allowed = absl::StrCat("a list of ", rows, " entries, one per row of group");
  if (it == c.end()) return Wrong(name, "is missing", allowed);
  if (!it->is_array()) return Wrong(name, Shown(*it), allowed);
  if (it->size() != rows) return Wrong(name, absl::StrCat("has ", it->size(), " entries"), allowed);
  return &*it;
}

absl::Status ReadRowNumbers(const json& c, const std::string& name, std::vector<ObjectiveRow>* rows,
                            bool ObjectiveRow::*flag) {
  auto it = c.find(name);
  if (it == c.end()) return absl::OkStatus();
  if (!it->is_array()) return Wrong(name, Shown(*it), "a list of row numbers");
  for (size_t i = 0; i < it->size(); ++i) {
    const json& v = (*it)[i];
    const std::string path = absl::StrCat(name, "[", i, "]");
    if (!IsInt(v) || v.get<int>() < 0 || v.get<int>() >= static_cast<int>(rows->size())) {
      return Wrong(path, Shown(v), absl::StrCat("row numbers 0 … ", static_cast<int>(rows->size()) - 1));
    }
    ObjectiveRow& row = (*rows)[v.get<int>()];
    if (row.*flag) return Wrong(path, absl::StrCat("names row ", v.get<int>(), " twice"), "each row once");
    row.*flag = true;
  }
  return absl::OkStatus();
}

absl::Status ReadRows(const json& c, ObjectiveCase* out) {
  auto group = c.find("group");
  if (group == c.end() || !group->is_array()) {
    return Wrong("group", group == c.end() ? "is missing" : Shown(*group), "a list of integers, one per row");
  }
  out->rows.resize(group->size());
  for (size_t i = 0; i < out->rows.size(); ++i) {
    if (!IsInt((*group)[i])) return Wrong(absl::StrCat("group[", i, "]"), Shown((*group)[i]), "integers 0 … G−1");
    out->rows[i].group = (*group)[i].get<int>();
  }
  SWERVE_RETURN_IF_ERROR(ReadRowNumbers(c, "off_policy_rows", &out->rows, &ObjectiveRow::off_policy));
  SWERVE_RETURN_IF_ERROR(ReadRowNumbers(c, "masked_rows", &out->rows, &ObjectiveRow::masked));
  SWERVE_ASSIGN_OR_RETURN(const json* lens, RowList(c, "lens", out->rows.size()));
  for (size_t i = 0; i < out->rows.size(); ++i) {
    const json& v = (*lens)[i];
    if (!IsInt(v) || v.get<int>() < (out->rows[i].masked ? 0 : 1)) {
      return Wrong(absl::StrCat("lens[", i, "]"), Shown(v), "an integer ≥ 1 (0 for a masked row)");
    }
    out->rows[i].length = v.get<int>();
  }
  return absl::OkStatus();
}

absl::Status ReadRewards(const json& c, const std::string& name, std::vector<ObjectiveRow>* rows,
                         double ObjectiveRow::*field) {
  SWERVE_ASSIGN_OR_RETURN(const json* list, RowList(c, name, rows->size()));
  for (size_t i = 0; i < rows->size(); ++i) {
    if ((*rows)[i].masked) continue;
    const json& v = (*list)[i];
    if (!v.is_number() || !std::isfinite(v.get<double>())) {
      return Wrong(absl::StrCat(name, "[", i, "]"), v.is_null() ? "is missing" : Shown(v),
                   "a finite number (null only where the row is masked)");
    }
    (*rows)[i].*field = v.get<double>();
  }
  return absl::OkStatus();
}

// `needed(row)`: whether the row's numbers are read; others may be anything. old_lp above 0 is taken: the golden case
// elf-clip-signs reaches its ratios by an old_lp of 0.4, against the README's own rule.
template <typename Needed>
absl::Status ReadLogprobs(const json& c, const std::string& name, const std::vector<ObjectiveRow>& rows,
                          Needed needed, std::vector<std::vector<double>>* out) {
  const double highest = name == "old_lp" ? std::numeric_limits<double>::max() : 0;
  out->resize(rows.size());
  const json* list = nullptr;
  if (c.contains(name)) {
    SWERVE_ASSIGN_OR_RETURN(list, RowList(c, name, rows.size()));
  }
  for (size_t i = 0; i < rows.size(); ++i) {
    if (rows[i].masked || !needed(rows[i])) continue;
    const std::string path = absl::StrCat(name, "[", i, "]");
    const std::string allowed = absl::StrCat("a list of lens[", i, "] = ", rows[i].length, " numbers ≤ 0");
    if (list == nullptr) return Wrong(name, absl::StrCat("is missing, but row ", i, " needs it"), allowed);
    const json& row = (*list)[i];
    if (!row.is_array()) return Wrong(path, row.is_null() ? "is missing" : Shown(row), allowed);
    if (static_cast<int>(row.size()) != rows[i].length) {
      return Wrong(path, absl::StrCat("has ", row.size(), " numbers"), allowed);
    }
    for (size_t t = 0; t < row.size(); ++t) {
      if (!row[t].is_number() || !std::isfinite(row[t].get<double>()) || row[t].get<double>() > highest) {
        return Wrong(absl::StrCat(path, "[", t, "]"), row[t].is_null() ? "is missing" : Shown(row[t]),
                     "a finite number ≤ 0");
      }
      (*out)[i].push_back(row[t].get<double>());
    }
  }
  return absl::OkStatus();
}

absl::Status ReadT(const json& c, ObjectiveCase* out) {
  if (!out->profile->needs_T()) return absl::OkStatus();
  const std::string allowed = absl::StrCat("an integer ≥ the longest row; profile ", out->profile->name,
                                           " divides by it");
  auto it = c.find("T");
  if (it == c.end() || it->is_null()) return Wrong("T", "is missing", allowed);
  if (!IsInt(*it) || it->get<int>() < 1) return Wrong("T", Shown(*it), allowed);
  out->T = it->get<int>();
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ObjectiveCase> ParseObjectiveCase(const json& c) {
  ObjectiveCase out;
  auto name = c.find("profile");
  if (name == c.end() || !name->is_string()) {
    return Wrong("profile", name == c.end() ? "is missing" : Shown(*name), "elf, luffy, luffy_paper, grpo_verl, …");
  }
  auto found = FindProfile(name->get<std::string>());
  if (!found.ok()) return Annotate(found.status(), "profile");
  const Profile& profile = **found;
  out.profile = &profile;
  out.knobs = profile.defaults;
  if (auto it = c.find("config"); it != c.end()) SWERVE_RETURN_IF_ERROR(ApplyKnobs(profile, *it, &out.knobs));
  SWERVE_RETURN_IF_ERROR(ReadT(c, &out));
  SWERVE_RETURN_IF_ERROR(ReadRows(c, &out));
  if (profile.by_parts) {
    SWERVE_RETURN_IF_ERROR(ReadRewards(c, "r_traj", &out.rows, &ObjectiveRow::traj));
    SWERVE_RETURN_IF_ERROR(ReadRewards(c, "r_fmt", &out.rows, &ObjectiveRow::fmt));
    SWERVE_RETURN_IF_ERROR(ReadRewards(c, "r_goal", &out.rows, &ObjectiveRow::goal));
  } else {
    SWERVE_RETURN_IF_ERROR(ReadRewards(c, "rewards", &out.rows, &ObjectiveRow::reward));
  }
  SWERVE_RETURN_IF_ERROR(ReadLogprobs(c, "lp", out.rows, [](const ObjectiveRow&) { return true; }, &out.lp));
  SWERVE_RETURN_IF_ERROR(ReadLogprobs(
      c, "old_lp", out.rows, [&](const ObjectiveRow& row) { return !row.off_policy || profile.off_needs_old; },
      &out.old_lp));
  const bool has_ref = profile.has_kl && c.contains("ref_lp") && !c["ref_lp"].is_null();
  if (profile.has_kl && !has_ref && out.knobs.beta != 0) {
    return Wrong("ref_lp", absl::StrCat("is missing while config.beta is ", out.knobs.beta),
                 "log-probabilities of the frozen policy, or beta 0");
  }
  if (has_ref) {
    SWERVE_RETURN_IF_ERROR(ReadLogprobs(
        c, "ref_lp", out.rows, [](const ObjectiveRow& row) { return !row.off_policy; }, &out.ref_lp));
  } else {
    out.ref_lp.resize(out.rows.size());
  }
  return out;
}

}  // namespace swerve
