#include "chaos/audit.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"

namespace swerve {
namespace {

// By the objective's gate, and for data that cannot be trained on.
constexpr const char* kDropped[] = {"groups/dropped_", "train/dropped_by_reason/"};

// The cause that a metric counts groups of; "": none.
std::string CauseOf(absl::string_view metric) {
  for (const char* prefix : kDropped) {
    if (absl::ConsumePrefix(&metric, prefix)) return std::string(metric);
  }
  return "";
}

class Auditor {
 public:
  explicit Auditor(const AuditInput& input) : in_(input) {
    if (!in_.checkpoints.empty()) newest_ = in_.checkpoints.back();
  }

  AuditReport Run() {
    LastStep();
    TrainedOnce();
    Accounted();
    Acknowledged();
    OneReason();
    Logged();
    WeightsGrow();
    WholeFiles();
    return std::move(report_);
  }

 private:
  AuditReport::Rule& Begin(const std::string& name) {
    rule_ = name;
    return report_.rules.emplace_back(AuditReport::Rule{name, 0, ""});
  }
  void Violate(std::string text) { report_.violations.push_back({rule_, std::move(text)}); }

  void LastStep() {
    AuditReport::Rule& rule = Begin("last_step");
    rule.checked = newest_.step;
    rule.proved = absl::StrCat("the run reached step ", newest_.step, " of ", in_.steps);
    if (!in_.ending.empty()) Violate(in_.ending);
    if (in_.checkpoints.empty()) Violate("there is no checkpoint");
    if (newest_.step != in_.steps) Violate(absl::StrCat("the newest checkpoint is of step ", newest_.step, ", not ", in_.steps));
    if (!in_.ledger.finished()) Violate("the orchestrator's state does not say that the run has finished");
  }

  void TrainedOnce() {
    AuditReport::Rule& rule = Begin("trained_once");
    const CheckpointSeen* former = nullptr;
    for (const CheckpointSeen& at : in_.checkpoints) {
      ++rule.checked;
      if (at.consumed.size() != at.step * in_.batch_groups) {
        Violate(absl::StrCat("checkpoint ", at.step, ": ", at.step, " batches of ", in_.batch_groups, " groups, but ",
                             at.consumed.size(), " different ones: some were trained on twice, or not at all"));
      }
      if (former != nullptr) {
        if (at.step < former->step) {
          Violate(absl::StrCat("checkpoint ", at.step, " came after checkpoint ", former->step));
        }
        for (const uint64_t group : former->consumed) {
          if (at.consumed.contains(group)) continue;
          Violate(absl::StrCat("group ", group, " is in checkpoint ", former->step, " and not in the later ", at.step));
          break;
        }
      }
      former = &at;
    }
    rule.proved = absl::StrCat(newest_.consumed.size(), " groups were trained on, each in one batch (",
                               in_.checkpoints.size(), " checkpoints)");
    report_.counts["groups_consumed"] = newest_.consumed.size();
  }

  void Accounted() {
    AuditReport::Rule& rule = Begin("accounted");
    const uint64_t admitted = in_.ledger.next_group();
    const std::set<uint64_t> waiting(in_.waiting.begin(), in_.waiting.end());
    std::set<uint64_t> open;
    for (const v1::OpenGroup& group : in_.ledger.open()) open.insert(group.group());
    if (waiting.size() != in_.waiting.size()) Violate("the store holds a group twice");
    uint64_t under_way = 0;
    for (uint64_t group = 0; group < admitted; ++group) {
      const bool trained = newest_.consumed.contains(group), waits = waiting.contains(group);
      if (trained && waits) Violate(absl::StrCat("group ", group, " was trained on and waits to be trained on again"));
      if (trained || waits) continue;
      if (open.contains(group)) {
        ++under_way;
      } else {
        Violate(absl::StrCat("group ", group, " was admitted and is lost: not trained on, not stored, not under way"));
      }
    }
    for (const auto& known : {newest_.consumed, waiting, open}) {
      if (!known.empty() && *known.rbegin() >= admitted) {
        Violate(absl::StrCat("group ", *known.rbegin(), " was never admitted (", admitted, " were)"));
      }
    }
    rule.checked = admitted;
    rule.proved = absl::StrCat(admitted, " groups admitted = ", newest_.consumed.size(), " trained on + ", waiting.size(),
                               " stored for the next batch + ", under_way, " under way at the end");
    report_.counts["groups_admitted"] = admitted;
    report_.counts["groups_waiting"] = waiting.size();
    report_.counts["groups_under_way"] = under_way;
  }

  void Acknowledged() {
    AuditReport::Rule& rule = Begin("acknowledged");
    rule.checked = in_.stats.acknowledged;
    rule.proved = absl::StrCat("the store acknowledged ", in_.stats.acknowledged, " groups");
    if (in_.stats.acknowledged != newest_.consumed.size()) {
      Violate(absl::StrCat("the store acknowledged ", in_.stats.acknowledged, " groups, the learner trained on ",
                           newest_.consumed.size()));
    }
    if (in_.stats.waiting() != in_.waiting.size()) {
      Violate(absl::StrCat("the store counts ", in_.stats.waiting(), " waiting groups and shows ", in_.waiting.size()));
    }
  }

  void OneReason() {
    AuditReport::Rule& rule = Begin("one_reason");
    std::set<uint64_t> steps;
    uint64_t kept = 0, dropped = 0, attempts = 0;
    for (const MetricsRow& row : in_.metrics) {
      steps.insert(static_cast<uint64_t>(row.step));
      double sum = 0;
      for (const auto& [name, value] : row.values) {
        if (name == "groups/kept") {
          kept += static_cast<uint64_t>(value);
        } else if (const std::string cause = CauseOf(name); !cause.empty()) {
          dropped += static_cast<uint64_t>(value);
          if (value > 0) report_.counts["groups_dropped_" + cause] += static_cast<uint64_t>(value);
        } else {
          continue;
        }
        sum += value;
      }
      ++rule.checked;
      if (std::abs(sum - static_cast<double>(in_.batch_groups)) > 1e-9) {
        Violate(absl::StrFormat("step %d: %g groups kept or dropped for a cause, of a batch of %d", row.step, sum,
                                in_.batch_groups));
      }
    }
    for (uint64_t step = 1; step <= newest_.step; ++step) {
      if (!steps.contains(step)) Violate(absl::StrCat("step ", step, " has no row in metrics.jsonl: its groups are not counted"));
    }
    for (const auto& [reason, count] : in_.ledger.drops_by_reason()) {
      if (reason.empty()) Violate(absl::StrCat(count, " attempts were dropped without a reason"));
      attempts += count;
      report_.counts["attempts_dropped_" + reason] = count;
    }
    report_.counts["groups_kept"] = kept;
    report_.counts["leases_expired"] = in_.ledger.expired();
    rule.proved = absl::StrCat(kept, " groups taught, ", dropped, " were dropped by the learner for one counted cause each; ",
                               attempts, " attempts dropped by workers, each with a reason, ", in_.ledger.expired(),
                               " leases ran out: their groups were tried again");
  }

  void Logged() {
    AuditReport::Rule& rule = Begin("logged");
    for (const uint64_t group : newest_.consumed) {
      ++rule.checked;
      if (!in_.logged.contains(group)) Violate(absl::StrCat("group ", group, " was trained on and has no line in groups.jsonl"));
    }
    rule.proved = absl::StrCat(rule.checked, " groups have their line in groups.jsonl");
  }

  void WeightsGrow() {
    AuditReport::Rule& rule = Begin("weights_grow");
    std::map<int64_t, std::string> checksums;
    int64_t highest = -1;
    for (const WeightsSeen& seen : in_.weights) {
      ++rule.checked;
      if (seen.version < highest) {
        Violate(absl::StrCat("weight version ", seen.version, " was announced after ", highest));
      }
      highest = std::max(highest, seen.version);
      if (seen.checksum.empty()) continue;  // the starting policy, before anything was learnt
      const auto [at, fresh] = checksums.try_emplace(seen.version, seen.checksum);
      if (!fresh && at->second != seen.checksum) {
        Violate(absl::StrCat("weight version ", seen.version, " stands for two files: ", at->second.substr(0, 12), "… and ",
                             seen.checksum.substr(0, 12), "…"));
      }
    }
    rule.proved = absl::StrCat(checksums.size(), " weight versions, only growing up to ", highest, ", one checksum each");
    report_.counts["weight_versions"] = checksums.size();
  }

  void WholeFiles() {
    AuditReport::Rule& rule = Begin("whole_files");
    for (const FileCheck& check : in_.files) {
      ++rule.checked;
      if (!check.wrong.empty()) Violate(absl::StrCat(check.when, ": ", check.path, ": ", check.wrong));
    }
    rule.proved = absl::StrCat(rule.checked, " looks at checkpoints and weights, all whole");
    if (in_.files.empty()) Violate("no file was looked at");
  }

  const AuditInput& in_;
  CheckpointSeen newest_;
  std::string rule_;
  AuditReport report_;
};

}  // namespace

AuditReport Audit(const AuditInput& input) { return Auditor(input).Run(); }

std::string ToText(const AuditReport& report, size_t most) {
  std::string text;
  for (const AuditReport::Rule& rule : report.rules) {
    const auto broken = std::count_if(report.violations.begin(), report.violations.end(),
                                      [&](const AuditReport::Violation& v) { return v.rule == rule.name; });
    absl::StrAppendFormat(&text, "  %-13s %s\n", rule.name,
                          broken == 0 ? absl::StrCat("proved: ", rule.proved) : absl::StrCat("VIOLATED ", broken, " times"));
  }
  for (size_t i = 0; i < std::min(most, report.violations.size()); ++i) {
    absl::StrAppend(&text, "  violation: ", report.violations[i].rule, ": ", report.violations[i].text, "\n");
  }
  if (report.violations.size() > most) absl::StrAppend(&text, "  … and ", report.violations.size() - most, " more\n");
  return text;
}

}  // namespace swerve
