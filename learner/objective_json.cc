#include "learner/objective_json.h"

#include <cctype>
#include <cmath>
#include <cstdlib>
#include <set>

namespace swerve {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

ordered_json OrNull(const std::optional<double>& v) { return v ? ordered_json(*v) : ordered_json(nullptr); }

ordered_json Metrics(const ObjectiveMetrics& m) {
  return {{"clip_ratio/low_mean", OrNull(m.clip_low)},
          {"clip_ratio/high_mean", OrNull(m.clip_high)},
          {"pg_clipfrac_lower", OrNull(m.clip_lower)},
          {"ppo_kl", OrNull(m.ppo_kl)},
          {"kl", OrNull(m.kl)},
          {"off_policy_prob", OrNull(m.off_policy_prob)},
          {"off_ratio_mean", OrNull(m.off_ratio_mean)},
          {"on_policy_tokens", m.on_policy_tokens},
          {"off_policy_tokens", m.off_policy_tokens}};
}

// Numbers that JSON cannot hold (NaN, Infinity as Python writes them, 1e999) become strings, so that the case they
// stand in is refused by field and the others are still computed; in masked rows they are not read at all.
std::string QuoteNonFinite(const std::string& text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    const char c = text[i];
    if (c == '"') {
      size_t end = i + 1;
      while (end < text.size() && text[end] != '"') end += text[end] == '\\' ? 2 : 1;
      end = std::min(end + 1, text.size());
      out.append(text, i, end - i);
      i = end;
      continue;
    }
    if (!std::isalnum(static_cast<unsigned char>(c)) && c != '-') {
      out.push_back(c);
      ++i;
      continue;
    }
    size_t end = i;
    while (end < text.size() && (std::isalnum(static_cast<unsigned char>(text[end])) || text[end] == '-' ||
                                 text[end] == '+' || text[end] == '.')) {
      ++end;
    }
    const std::string token = text.substr(i, end - i);
    const bool word = token == "NaN" || token == "Infinity" || token == "-Infinity";
    const bool huge = std::isdigit(static_cast<unsigned char>(token.back())) &&
                      std::isinf(std::strtod(token.c_str(), nullptr));
    out += word || huge ? absl::StrCat("\"", token, "\"") : token;
    i = end;
  }
  return out;
}

ordered_json AnswerCase(const json& c, int micro_batch, std::set<std::string>* ids, bool* failed) {
  const bool named = c.is_object() && c.contains("id") && c["id"].is_string();
  ordered_json answer = {{"id", named ? ordered_json(c["id"].get<std::string>()) : ordered_json(nullptr)}};
  auto compute = [&]() -> absl::StatusOr<ordered_json> {
    if (!c.is_object()) return absl::InvalidArgumentError("case: is no object; allowed: an object with id and profile");
    if (!named) return absl::InvalidArgumentError("id: is missing or no string; allowed: a string, unique in the file");
    if (!ids->insert(c["id"].get<std::string>()).second) {
      return absl::InvalidArgumentError(
          absl::StrCat("id: \"", c["id"].get<std::string>(), "\" is used twice; allowed: unique strings"));
    }
    SWERVE_ASSIGN_OR_RETURN(const ObjectiveCase parsed, ParseObjectiveCase(c));
    return ComputeObjectiveCase(parsed, micro_batch);
  };
  absl::StatusOr<ordered_json> body = compute();
  if (body.ok()) {
    for (auto& [key, value] : body->items()) answer[key] = value;
  } else {
    *failed = true;
    answer["error"] = std::string(body.status().message());
  }
  return answer;
}

}  // namespace

absl::StatusOr<ordered_json> ComputeObjectiveCase(const ObjectiveCase& c, int micro_batch) {
  SWERVE_ASSIGN_OR_RETURN(const ObjectivePlan plan, ObjectivePlan::Create(*c.profile, c.knobs, c.rows, c.T));
  ObjectiveTotals totals(plan);
  ordered_json grad = ordered_json::array(), advantages = ordered_json::array();
  const size_t step = micro_batch > 0 ? static_cast<size_t>(micro_batch) : plan.rows();
  for (size_t begin = 0; begin < plan.rows(); begin += step) {
    for (size_t i = begin; i < std::min(begin + step, plan.rows()); ++i) {
      SWERVE_ASSIGN_OR_RETURN(const RowResult row, plan.Evaluate(i, {c.lp[i], c.old_lp[i], c.ref_lp[i]}));
      totals.Add(row);
      grad.push_back(row.grad);
      advantages.push_back(plan.masked(i) ? ordered_json(nullptr) : ordered_json(plan.advantage(i)));
    }
  }
  ordered_json kept = ordered_json::array(), causes = ordered_json::array(), fillers = ordered_json::array();
  for (const GroupPlan& group : plan.groups()) {
    kept.push_back(group.kept);
    causes.push_back(group.kept ? ordered_json(nullptr) : ordered_json(group.drop_cause));
    fillers.push_back(group.fillers);
  }
  if (!std::isfinite(totals.loss())) {
    return absl::OutOfRangeError(absl::StrCat("lp: the loss of the batch overflows; allowed: finite sums"));
  }
  return ordered_json{{"profile", c.profile->name},
                      {"advantages", advantages},
                      {"kept", kept},
                      {"drop_cause", causes},
                      {"fillers", fillers},
                      {"empty", plan.empty()},
                      {"terms", {{"original", totals.original()}, {"refinement", totals.refinement()}, {"kl", totals.kl()}}},
                      {"loss", totals.loss()},
                      {"grad", grad},
                      {"metrics", Metrics(totals.metrics())}};
}

absl::StatusOr<ObjectiveFileAnswer> AnswerObjectiveFile(const std::string& text, int micro_batch) {
  const json file = json::parse(QuoteNonFinite(text), nullptr, /*allow_exceptions=*/false);
  if (file.is_discarded()) return absl::InvalidArgumentError("the file is no JSON");
  if (!file.is_object() || !file.contains("cases") || !file["cases"].is_array()) {
    return absl::InvalidArgumentError("the file has no list `cases`; allowed: {\"cases\": [case, …]}");
  }
  ObjectiveFileAnswer out;
  ordered_json answers = ordered_json::array();
  std::set<std::string> ids;
  for (const json& c : file["cases"]) {
    bool failed = false;
    answers.push_back(AnswerCase(c, micro_batch, &ids, &failed));
    out.failed_cases += failed;
  }
  out.json = ordered_json{{"cases", answers}}.dump(1, ' ', false, ordered_json::error_handler_t::replace);
  return out;
}

}  // namespace swerve
