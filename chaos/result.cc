#include "chaos/result.h"

#include <map>
#include <nlohmann/json.hpp>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"

namespace swerve {
namespace {

using Json = nlohmann::ordered_json;

std::map<std::string, std::map<std::string, int>> CountByKind(const std::vector<ChaosEvent>& events) {
  std::map<std::string, std::map<std::string, int>> counts;
  for (const ChaosEvent& event : events) ++counts[event.kind][event.target];
  return counts;
}

}  // namespace

std::string ToJson(const ChaosResult& r) {
  Json rules = Json::array(), violations = Json::array();
  for (const AuditReport::Rule& rule : r.audit.rules) {
    rules.push_back({{"name", rule.name}, {"checked", rule.checked}, {"proved", rule.proved}});
  }
  for (const AuditReport::Violation& violation : r.audit.violations) {
    violations.push_back({{"rule", violation.rule}, {"text", violation.text}});
  }
  const Json json = {{"seed", r.seed},
                     {"run_id", r.run_id},
                     {"buffers", r.buffers},
                     {"seconds", r.seconds},
                     {"steps", r.steps},
                     {"events", r.injected.size()},
                     {"injected", CountByKind(r.injected)},
                     {"skipped", CountByKind(r.skipped)},
                     {"disk_not_filled", r.no_disk},
                     {"times_resumed", r.times_resumed},
                     {"teacher_requests_failed", r.teacher_failed},
                     {"teacher_requests_answered", r.teacher_answered},
                     {"scorer_requests_failed", r.scorer_failed},
                     {"counts", r.audit.counts},
                     {"rules", rules},
                     {"violations", violations}};
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string ToTable(const ChaosResult& r) {
  std::string text = absl::StrFormat("%d faults in %.0f s, %d steps, buffers in %s\n", r.injected.size(), r.seconds, r.steps,
                                     r.buffers);
  for (const auto& [kind, targets] : CountByKind(r.injected)) {
    std::vector<std::string> parts;
    int sum = 0;
    for (const auto& [target, count] : targets) {
      parts.push_back(absl::StrCat(target, " ", count));
      sum += count;
    }
    absl::StrAppendFormat(&text, "  %-8s %4d   %s\n", kind, sum, absl::StrJoin(parts, ", "));
  }
  if (!r.skipped.empty()) absl::StrAppendFormat(&text, "  %d more were left out: their target did not run\n", r.skipped.size());
  if (!r.no_disk.empty()) absl::StrAppend(&text, "  the disk was never full: ", r.no_disk, "\n");
  absl::StrAppendFormat(&text, "  requests that failed on purpose: teacher %d, scorer %d; the run was taken up again %d times\n",
                        r.teacher_failed, r.scorer_failed, r.times_resumed);
  for (const auto& [name, count] : r.audit.counts) absl::StrAppendFormat(&text, "  %6d %s\n", count, name);
  return absl::StrCat(text, ToText(r.audit), r.audit.ok() ? "nothing was lost, nothing was done twice\n"
                                                          : absl::StrCat(r.audit.violations.size(), " violations\n"));
}

}  // namespace swerve
