#include "learner/metrics.h"

#include <cctype>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/metrics.h"

namespace swerve {
namespace {

std::string MetricName(absl::string_view tag) {
  std::string name = "swerve_learner_";
  for (const char c : tag) name.push_back(std::isalnum(static_cast<unsigned char>(c)) ? c : '_');
  return name;
}

// teacher/<name>/<number> or teacher/<name>/failures/<outcome>.
void ExportOfTeacher(absl::string_view rest, double value) {
  const std::vector<std::string> parts = absl::StrSplit(rest, '/');
  if (parts.size() < 2) return;
  metrics::Labels labels = {{"teacher", parts[0]}};
  if (parts.size() > 2) labels["outcome"] = parts[2];
  metrics::Gauge(MetricName(absl::StrCat("teacher/", parts[1])),
                 absl::StrCat("By teacher, of the newest step that it had a part in: ", parts[1]), labels)
      .Set(value);
}

}  // namespace

void ExportMetrics(const std::map<std::string, double>& values) {
  for (const auto& [tag, value] : values) {
    absl::string_view rest = tag;
    if (absl::ConsumePrefix(&rest, "teacher/")) {
      ExportOfTeacher(rest, value);
    } else {
      metrics::Gauge(MetricName(tag), "Of the newest step: " + tag).Set(value);
    }
  }
  metrics::Counter("swerve_learner_steps_total", "Batches this process trained on").Increment();
  metrics::Gauge("swerve_learner_last_step_timestamp_seconds", "When the newest step ended").SetToCurrentTime();
}

void CountTeachers(const TeacherTallies& tallies) {
  for (const auto& [teacher, tally] : tallies) {
    const auto add = [&name = teacher](const char* metric, const char* help, double by) {
      metrics::Counter(metric, help, {{"teacher", name}}).Increment(by);
    };
    add("swerve_learner_teacher_reports_total", "Reports on failed responses of trained groups", tally.reports);
    add("swerve_learner_teacher_refinements_total", "Scored refinements of failed responses", tally.refinements);
    add("swerve_learner_teacher_refinement_successes_total", "Of these, refinements that reach the success threshold",
        tally.successes);
    add("swerve_learner_teacher_refinements_equal_ground_truth_total", "Of these, refinements that drive the ground truth",
        tally.equals_ground_truth);
  }
}

void CountTeacherChanges(size_t changes) {
  metrics::Counter("swerve_learner_teacher_changes_total", "Changes of the set of teachers that the run's log holds")
      .Increment(static_cast<double>(changes));
}

}  // namespace swerve
