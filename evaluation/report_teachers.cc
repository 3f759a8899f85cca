#include "evaluation/report_teachers.h"

#include <cmath>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"

namespace swerve {
namespace {

std::string Cell(const std::string& text, const std::string& small = "") {
  return absl::StrCat("<td>", text, small.empty() ? "" : absl::StrCat(" <small>", small, "</small>"), "</td>");
}

std::string Share(double part, double whole) { return whole > 0 ? absl::StrFormat("%.1f %%", 100 * part / whole) : "–"; }
std::string Each(double sum, double count, const char* unit = "") {
  return count > 0 ? absl::StrCat(ShortNumber(sum / count), unit) : "–";
}

std::string Row(const std::string& name, const TeacherTally& t) {
  std::vector<std::string> failures;
  for (const auto& [outcome, count] : t.failures) {
    failures.push_back(absl::StrFormat("%s %.0f", absl::StrReplaceAll(absl::AsciiStrToLower(outcome), {{"_", " "}}), count));
  }
  const std::string gain = t.refinements > 0 ? absl::StrFormat("%+.3f", t.mean_gain()) : "–";
  const char* css = t.gain > 0 ? "up" : "down";
  return absl::StrCat("<tr>", Cell(EscapeHtml(name)), Cell(absl::StrFormat("%.0f", t.asked)),
                      Cell(Share(t.failed(), t.asked), absl::StrJoin(failures, ", ")),
                      Cell(absl::StrFormat("%.0f", t.refinements)), Cell(Share(t.successes, t.refinements)),
                      Cell(t.gain == 0 ? gain : absl::StrCat("<span class=\"", css, "\">", gain, "</span>")),
                      Cell(Each(t.seconds, t.asked, " s")), Cell(absl::StrFormat("%.0f", t.tokens)),
                      Cell(ShortNumber(t.money)), Cell(t.money > 0 ? Each(t.money, t.successes) : "–"),
                      Cell(Share(t.holds_ground_truth, t.reports)), Cell(Share(t.equals_ground_truth, t.refinements)),
                      "</tr>");
}

std::string Table(const TeacherTallies& tallies) {
  std::string html =
      "<div class=\"tablebox\"><table><thead><tr><th>teacher</th><th>asked</th><th>no report</th><th>refined</th>"
      "<th>success</th><th>ΔPDMS</th><th>time</th><th>tokens</th><th>money</th><th>per success</th>"
      "<th>report holds GT</th><th>refinement is GT</th></tr></thead><tbody>";
  for (const auto& [name, tally] : tallies) html += Row(name, tally);
  return html + "</tbody></table></div>";
}

std::string Curves(const ReportInput& input, const TeacherTallies& tallies, const std::vector<ChartMark>& marks) {
  struct Curve {
    const char* number;
    const char* title;
    bool percent;
  };
  constexpr Curve kCurves[] = {{"pdms_gain", "ΔPDMS of its refinements", false},
                               {"refinement_success_rate", "refinements that succeed", true}};
  std::string html;
  for (const auto& [name, tally] : tallies) {
    for (const Curve& curve : kCurves) {
      std::vector<ChartPoint> points;
      for (const MetricsRow& row : input.metrics) {
        const auto at = row.values.find(absl::StrCat("teacher/", name, "/", curve.number));
        if (at != row.values.end()) points.push_back({static_cast<double>(row.step), at->second});
      }
      html += LineChart(absl::StrCat(name, ": ", curve.title), "step", points, curve.percent, marks);
    }
  }
  return html.empty() ? "" : absl::StrCat("<br><div class=\"charts\">", html, "</div>");
}

}  // namespace

std::vector<ChartMark> MarksOf(const std::vector<MetricsRow>& rows) {
  std::vector<ChartMark> marks;
  for (const MetricsRow& row : rows) {
    if (!row.events.empty()) marks.push_back({static_cast<double>(row.step), absl::StrJoin(row.events, "\n")});
  }
  return marks;
}

std::string TeachersSection(const ReportInput& input) {
  TeacherTallies tallies;
  for (const GroupRecord& group : input.groups) AddTallies(group.teachers, &tallies);
  const std::vector<ChartMark> marks = MarksOf(input.metrics);
  if (tallies.empty() && marks.empty()) return "";
  std::string html =
      "<h2>Teachers</h2><p class=\"lead\">Over all failed responses of the run: how many each teacher was asked about, what "
      "became of the refinements that answer its reports, and what they cost. ΔPDMS: refinement less original.</p>";
  if (!tallies.empty()) html += Table(tallies) + Curves(input, tallies, marks);
  if (marks.empty()) return html;
  html += "<p class=\"lead\">Changes of the teachers while it trained, dashed on the curves:</p><ul class=\"events\">";
  for (const ChartMark& mark : marks) {
    absl::StrAppendFormat(&html, "<li>step %g: %s</li>", mark.x, EscapeHtml(absl::StrReplaceAll(mark.text, {{"\n", "; "}})));
  }
  return html + "</ul>";
}

}  // namespace swerve
