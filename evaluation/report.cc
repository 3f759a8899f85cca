#include "evaluation/report.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/config.h"
#include "base/files.h"
#include "evaluation/chart.h"
#include "evaluation/eval_json.h"
#include "evaluation/report_scenes.h"
#include "evaluation/report_style.h"
#include "evaluation/report_teachers.h"

namespace swerve {
namespace {

struct KnownMetric {
  const char* tag;
  const char* title;
  bool percent;
};
// What people look at first; a run's other metrics follow in a fold.
constexpr KnownMetric kKnown[] = {
    {"reward/mean", "Mean reward", false},
    {"rewards/traj/mean", "Trajectory reward (PDMS)", false},
    {"reward/best_of_n", "Best PDMS of a group", false},
    {"total_failure_ratio", "Groups in which every answer fails", true},
    {"refinement/improved_rate", "Refinements above all originals", true},
    {"refinement/success_rate", "Refinements above the threshold", true},
    {"rewards/fmt/mean", "Format reward", false},
    {"rewards/goal/mean", "Goal reward", false},
    {"train/loss", "Loss", false},
    {"train/kl", "KL to the SFT policy", false},
    {"train/entropy", "Entropy", false},
    {"train/clip_ratio", "Clipped tokens", true},
    {"train/grad_norm", "Gradient norm", false},
    {"completion_length/mean", "Response length, tokens", false},
    {"staleness/mean", "Staleness, versions", false},
};

bool LooksLikeShare(const std::string& tag) {
  return absl::EndsWith(tag, "_ratio") || absl::EndsWith(tag, "_rate") || absl::EndsWith(tag, "_share");
}

std::vector<ChartPoint> SeriesOf(const std::vector<MetricsRow>& rows, const std::string& tag) {
  std::vector<ChartPoint> points;
  for (const MetricsRow& row : rows) {
    if (const auto it = row.values.find(tag); it != row.values.end() && std::isfinite(it->second)) {
      points.push_back({static_cast<double>(row.step), it->second});
    }
  }
  return points;
}

std::string CurvesSection(const std::vector<MetricsRow>& rows) {
  if (rows.empty()) return "";
  std::set<std::string> tags;
  for (const MetricsRow& row : rows) {
    for (const auto& [tag, value] : row.values) tags.insert(tag);
  }
  std::string first, more;
  const std::vector<ChartMark> marks = MarksOf(rows);
  for (const KnownMetric& known : kKnown) {
    if (tags.erase(known.tag) > 0) first += LineChart(known.title, "step", SeriesOf(rows, known.tag), known.percent, marks);
  }
  for (const std::string& tag : tags) more += LineChart(tag, "step", SeriesOf(rows, tag), LooksLikeShare(tag), marks);
  std::string html = "<h2>Training</h2><p class=\"lead\">One point a step; the bold line is a moving average. Point at a "
                     "curve for its numbers.</p><div class=\"charts\">" + first + "</div>";
  if (first.empty()) return html + "<div class=\"charts\">" + more + "</div>";
  if (!more.empty()) html += "<details><summary>every other metric</summary><br><div class=\"charts\">" + more + "</div></details>";
  return html;
}

std::string Tile(const std::string& name, const std::string& value, const std::string& note) {
  return absl::StrCat("<div class=\"tile\"><div class=\"name\">", name, "</div><div class=\"value\">", value,
                      "</div><div class=\"note\">", note, "</div></div>");
}

std::string Signed(double change, bool good_when_up, const std::string& text) {
  if (change == 0) return text;
  return absl::StrCat("<span class=\"", (change > 0) == good_when_up ? "up" : "down", "\">", text, "</span>");
}

std::string Tiles(const ReportInput& in) {
  std::string tiles;
  if (in.before && in.after) {
    const EvalSummary& b = in.before->overall;
    const EvalSummary& a = in.after->overall;
    tiles += Tile("PDMS on held-out scenes",
                  absl::StrFormat("<small>%.3f →</small> %.3f", b.pdms, a.pdms),
                  Signed(a.pdms - b.pdms, true, absl::StrFormat("%+.3f", a.pdms - b.pdms)) +
                      absl::StrFormat(" · 95 %% interval %.3f to %.3f", a.pdms_ci95[0], a.pdms_ci95[1]));
    const double change = a.total_failure_ratio - b.total_failure_ratio;
    std::string times = absl::StrFormat("%+.1f points", 100 * change);
    if (b.total_failure_ratio > 0) absl::StrAppendFormat(&times, ", %.0f %% of before", 100 * a.total_failure_ratio / b.total_failure_ratio);
    tiles += Tile("Scenes where every answer fails",
                  absl::StrFormat("<small>%.1f →</small> %.1f <small>%%</small>", 100 * b.total_failure_ratio,
                                  100 * a.total_failure_ratio),
                  Signed(change, false, times));
    tiles += Tile("Right high-level plan",
                  absl::StrFormat("<small>%.0f →</small> %.0f <small>%%</small>", 100 * b.planning_accuracy,
                                  100 * a.planning_accuracy),
                  "longitudinal and lateral action both as the good driver's");
  } else if (in.before || in.after) {
    const EvalSummary& s = (in.after ? in.after : in.before)->overall;
    tiles += Tile("PDMS on held-out scenes", absl::StrFormat("%.3f", s.pdms),
                  absl::StrFormat("95 %% interval %.3f to %.3f", s.pdms_ci95[0], s.pdms_ci95[1]));
    tiles += Tile("Scenes where every answer fails", absl::StrFormat("%.1f <small>%%</small>", 100 * s.total_failure_ratio), "");
  }
  if (!in.metrics.empty()) {
    const double seconds = in.metrics.back().time - in.metrics.front().time;
    tiles += Tile("Training", absl::StrFormat("%d <small>steps</small>", in.metrics.back().step),
                  absl::StrFormat("%.1f minutes between first and last", seconds / 60));
  }
  if (in.busy && in.busy->wall_seconds > 0) {
    tiles += Tile("Neither generating nor training",
                  absl::StrFormat("%.1f <small>%% of wall time</small>", 100 * in.busy->idle),
                  absl::StrFormat("generating %.0f %%, training %.0f %%", 100 * in.busy->generating,
                                  100 * in.busy->training));
  }
  return tiles.empty() ? "" : "<div class=\"tiles\">" + tiles + "</div>";
}

// Rows of the dumbbell charts: families, then all.
std::vector<PairRow> Pairs(const ReportInput& in, double EvalSummary::*value, bool interval) {
  std::vector<PairRow> rows;
  const auto add = [&](const std::string& name, const EvalSummary& b, const EvalSummary& a, bool strong) {
    PairRow row{name, b.*value, a.*value};
    if (interval) {
      row.before_low = b.pdms_ci95[0], row.before_high = b.pdms_ci95[1];
      row.after_low = a.pdms_ci95[0], row.after_high = a.pdms_ci95[1];
    }
    row.strong = strong;
    rows.push_back(row);
  };
  add("all scenes", in.before->overall, in.after->overall, true);
  for (const auto& [family, b] : in.before->families) {
    if (const auto it = in.after->families.find(family); it != in.after->families.end()) add(family, b, it->second, false);
  }
  return rows;
}

std::string TableRow(const std::string& name, const EvalSummary& b, const EvalSummary& a, bool all) {
  const auto pair = [](double before, double after, const char* format, double scale) {
    return absl::StrCat("<td><small>", absl::StrFormat("%.*f", format[0] - '0', scale * before), "</small> ",
                        absl::StrFormat("%.*f", format[0] - '0', scale * after), "</td>");
  };
  return absl::StrCat(
      all ? "<tr class=\"all\"><td>" : "<tr><td>", EscapeHtml(name), "</td><td>", a.scenes, "</td>",
      absl::StrFormat("<td>%.3f <small>[%.3f, %.3f]</small></td>", b.pdms, b.pdms_ci95[0], b.pdms_ci95[1]),
      absl::StrFormat("<td>%.3f <small>[%.3f, %.3f]</small></td>", a.pdms, a.pdms_ci95[0], a.pdms_ci95[1]), "<td>",
      Signed(std::round(1000 * (a.pdms - b.pdms)), true, absl::StrFormat("%+.3f", a.pdms - b.pdms)), "</td>",
      pair(b.total_failure_ratio, a.total_failure_ratio, "1", 100), pair(b.nc, a.nc, "2", 1), pair(b.dac, a.dac, "2", 1),
      pair(b.ttc, a.ttc, "2", 1), pair(b.comfort, a.comfort, "2", 1), pair(b.ep, a.ep, "2", 1),
      pair(b.format_ok, a.format_ok, "0", 100), pair(b.planning_accuracy, a.planning_accuracy, "0", 100), "</tr>");
}

std::string EvalSection(const ReportInput& in) {
  if (!in.before || !in.after) return "";
  std::string html =
      "<h2>Before and after</h2><p class=\"lead\">Held-out scenes by family. Grey: the policy before; blue: after (small and large in the table). Thin "
      "lines are 95 % intervals over scenes.</p><div class=\"two\">";
  html += PairChart("PDMS of the greedy answer", Pairs(in, &EvalSummary::pdms, true), false);
  html += PairChart("Scenes where every sampled answer fails", Pairs(in, &EvalSummary::total_failure_ratio, false), true);
  html += "</div><div class=\"tablebox\"><table><thead><tr><th>family</th><th>scenes</th><th>PDMS before [95 %]</th>"
          "<th>PDMS after [95 %]</th><th>change</th><th>all failed, %</th><th>NC</th><th>DAC</th><th>TTC</th><th>C</th>"
          "<th>EP</th><th>format, %</th><th>plan, %</th></tr></thead><tbody>";
  html += TableRow("all scenes", in.before->overall, in.after->overall, true);
  for (const auto& [family, b] : in.before->families) {
    if (const auto it = in.after->families.find(family); it != in.after->families.end()) {
      html += TableRow(family, b, it->second, false);
    }
  }
  return html + "</tbody></table></div>";
}

std::string Facts(const ReportInput& in) {
  if (!in.config) return "";
  const v1::RunConfig& c = *in.config;
  return absl::StrCat("<p class=\"facts\">teacher <b>", EscapeHtml(c.teacher().kind()), "</b> · objective <b>",
                      EscapeHtml(c.learner().profile()), "</b> · starting policy <b>", EscapeHtml(c.policy().model()),
                      "</b> · n = <b>", c.rollout().num_generations(), "</b> at T = <b>",
                      ShortNumber(c.rollout().temperature()), "</b> · seed <b>", c.seed(), "</b></p>");
}

// Reads an optional file of the run with `read`; absent: nothing.
template <typename T, typename Read>
absl::Status ReadOptional(const std::string& path, Read read, T* out) {
  if (!std::filesystem::exists(path)) return absl::OkStatus();
  auto value = read(path);
  if (!value.ok()) return value.status();
  *out = *std::move(value);
  return absl::OkStatus();
}

absl::StatusOr<EvalResult> ReadEval(const std::string& path) {
  SWERVE_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  auto result = EvalFromJson(text);
  if (!result.ok()) return Annotate(result.status(), path);
  return result;
}

}  // namespace

std::string ReportHtml(const ReportInput& input) {
  const std::string parts = absl::StrCat(Tiles(input), CurvesSection(input.metrics), TeachersSection(input),
                                         EvalSection(input), HeldOutSection(input), RescuedSection(input));
  return absl::StrCat(
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
      "content=\"width=device-width,initial-scale=1\"><title>",
      EscapeHtml(input.title), " · Swerve</title><style>", kReportStyle, "</style></head><body><main><h1>",
      EscapeHtml(input.title), "</h1>", Facts(input),
      parts.empty() ? "<p class=\"none\">This run has written neither metrics nor evaluations yet.</p>" : parts,
      "<footer>PDMS = NC · DAC · (5 TTC + 2 C + 5 EP) / 12, NAVSIM v1 rules: NC no at-fault collision, DAC drivable area, "
      "TTC time to collision, C comfort, EP ego progress. Made by <code>swerve report</code>.</footer></main></body></html>\n");
}

absl::StatusOr<ReportInput> ReadRun(const std::string& run_dir) {
  if (!std::filesystem::is_directory(run_dir)) {
    return absl::NotFoundError(absl::StrCat("no run directory ", run_dir));
  }
  ReportInput in;
  const auto path = std::filesystem::path(run_dir).lexically_normal();
  const std::filesystem::path dir = path.has_filename() ? path : path.parent_path();
  // A demo keeps its run in OUT/run; OUT is what tells it from others.
  const std::string above = dir.filename() == "run" ? dir.parent_path().filename().string() : "";
  in.title = above.empty() ? absl::StrCat("Run ", dir.filename().string()) : absl::StrCat("Run of ", above);
  SWERVE_RETURN_IF_ERROR(ReadOptional(run_dir + "/config.yaml", [](const std::string& p) { return LoadRunConfig(p); }, &in.config));
  SWERVE_RETURN_IF_ERROR(ReadOptional(run_dir + "/metrics.jsonl", [&](const std::string&) { return ReadMetrics(run_dir); }, &in.metrics));
  SWERVE_RETURN_IF_ERROR(ReadOptional(run_dir + "/groups.jsonl", [&](const std::string&) { return ReadGroups(run_dir); }, &in.groups));
  std::optional<std::vector<BusyInterval>> busy;
  SWERVE_RETURN_IF_ERROR(ReadOptional(run_dir + "/busy.jsonl", [&](const std::string&) { return ReadBusy(RunDir(run_dir)); }, &busy));
  if (busy) in.busy = SharesOf(*std::move(busy));
  SWERVE_RETURN_IF_ERROR(ReadOptional(run_dir + "/before.json", ReadEval, &in.before));
  SWERVE_RETURN_IF_ERROR(ReadOptional(run_dir + "/after.json", ReadEval, &in.after));
  SWERVE_RETURN_IF_ERROR(ReadOptional(run_dir + "/responses_before.jsonl", ReadAnswers, &in.answers_before));
  SWERVE_RETURN_IF_ERROR(ReadOptional(run_dir + "/responses_after.jsonl", ReadAnswers, &in.answers_after));
  return in;
}

}  // namespace swerve
