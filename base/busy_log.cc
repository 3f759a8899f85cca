#include "base/busy_log.h"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "base/files.h"

namespace swerve {
namespace {

std::string PathOf(const RunDir& run) { return run.root() + "/busy.jsonl"; }

using Spans = std::vector<std::pair<int64_t, int64_t>>;

// Sorted and disjoint.
Spans Union(Spans spans) {
  std::sort(spans.begin(), spans.end());
  Spans out;
  for (const auto& [start, end] : spans) {
    if (end <= start) continue;
    if (!out.empty() && start <= out.back().second) {
      out.back().second = std::max(out.back().second, end);
    } else {
      out.emplace_back(start, end);
    }
  }
  return out;
}

// Of two unions.
double Overlap(const Spans& a, const Spans& b) {
  double sum = 0;
  for (size_t i = 0, j = 0; i < a.size() && j < b.size();) {
    sum += static_cast<double>(
        std::max<int64_t>(0, std::min(a[i].second, b[j].second) - std::max(a[i].first, b[j].first)));
    a[i].second < b[j].second ? ++i : ++j;
  }
  return sum;
}

Spans Sessions(const std::map<int64_t, int64_t>& runs, const Spans& work) {
  Spans out;
  if (runs.empty()) {
    if (!work.empty()) out.emplace_back(work.front().first, work.back().second);
    return out;
  }
  for (auto at = runs.begin(); at != runs.end(); ++at) {
    auto [start, end] = *at;
    const auto next = std::next(at);
    const int64_t limit = next == runs.end() ? std::numeric_limits<int64_t>::max() : next->first;
    if (end <= start) {  // killed, or still under way
      for (const auto& span : work) {
        if (span.first < limit) end = std::max(end, std::min(span.second, limit));
      }
    }
    out.emplace_back(start, end);
  }
  return Union(std::move(out));
}

}  // namespace

absl::StatusOr<std::unique_ptr<BusyLog>> BusyLog::Open(const RunDir& run, const std::string& role) {
  SWERVE_RETURN_IF_ERROR(MakeDirectories(run.root()));
  const int fd = open(PathOf(run).c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (fd < 0) return ErrnoStatus(errno, "open", PathOf(run));
  return std::unique_ptr<BusyLog>(new BusyLog(fd, role));
}

BusyLog::~BusyLog() { close(fd_); }

void BusyLog::Add(absl::Time start, absl::Time end) {
  const nlohmann::json json = {
      {"role", role_}, {"start_us", absl::ToUnixMicros(start)}, {"end_us", absl::ToUnixMicros(end)}};
  // One write to a file opened for appending: lines of several processes do not mix.
  const std::string line = json.dump() + "\n";
  const ssize_t written = write(fd_, line.data(), line.size());
  if (written != static_cast<ssize_t>(line.size()) && !told_.exchange(true)) {
    spdlog::warn("busy.jsonl cannot be written, the run's idle share will be wrong (errno {})", errno);
  }
}

absl::StatusOr<std::vector<BusyInterval>> ReadBusy(const RunDir& run) {
  SWERVE_ASSIGN_OR_RETURN(const std::string content, ReadFile(PathOf(run)));
  std::vector<BusyInterval> out;
  for (absl::string_view line : absl::StrSplit(content, '\n', absl::SkipEmpty())) {
    const nlohmann::json json = nlohmann::json::parse(line.begin(), line.end(), nullptr, /*allow_exceptions=*/false);
    if (!json.is_object()) continue;
    const auto role = json.find("role"), start = json.find("start_us"), end = json.find("end_us");
    if (role == json.end() || start == json.end() || end == json.end() || !role->is_string() ||
        !start->is_number_integer() || !end->is_number_integer()) {
      continue;
    }
    out.push_back({role->get<std::string>(), start->get<int64_t>(), end->get<int64_t>()});
  }
  return out;
}

BusyShares SharesOf(std::vector<BusyInterval> intervals) {
  std::map<int64_t, int64_t> runs;  // start, last end
  Spans generating, training, both;
  for (const BusyInterval& i : intervals) {
    if (i.role == "run") {
      const auto [at, fresh] = runs.try_emplace(i.start_us, i.end_us);
      if (!fresh) at->second = std::max(at->second, i.end_us);
      continue;
    }
    const bool rollout = absl::StartsWith(i.role, "rollout");
    if (!rollout && i.role != "learner") continue;
    (rollout ? generating : training).emplace_back(i.start_us, i.end_us);
    both.emplace_back(i.start_us, i.end_us);
  }
  both = Union(std::move(both));
  const Spans sessions = Sessions(runs, both);
  const double wall = Overlap(sessions, sessions);
  BusyShares shares;
  if (wall <= 0) return shares;
  shares.wall_seconds = wall / 1e6;
  shares.generating = Overlap(sessions, Union(std::move(generating))) / wall;
  shares.training = Overlap(sessions, Union(std::move(training))) / wall;
  shares.idle = 1 - Overlap(sessions, both) / wall;
  return shares;
}

}  // namespace swerve
