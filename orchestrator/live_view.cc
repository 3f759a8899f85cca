#include "orchestrator/live_view.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <optional>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"

namespace swerve {
namespace {

constexpr absl::Duration kLineEvery = absl::Seconds(10);

std::string Clock(double seconds) {
  const auto s = static_cast<int64_t>(std::max(0.0, seconds) + 0.5);
  if (s >= 3600) return absl::StrFormat("%d:%02d:%02d", s / 3600, s / 60 % 60, s % 60);
  return absl::StrFormat("%d:%02d", s / 60, s % 60);
}

// Mean over the roles that report `name`.
std::optional<double> Mean(const v1::StatusReply& status, const std::string& name) {
  double sum = 0;
  int count = 0;
  for (const v1::RoleStatus& role : status.roles()) {
    const auto at = role.values().find(name);
    if (at == role.values().end() || !std::isfinite(at->second)) continue;
    sum += at->second;
    ++count;
  }
  return count > 0 ? std::optional<double>(sum / count) : std::nullopt;
}

std::string Number(std::optional<double> value) { return value ? absl::StrFormat("%.3g", *value) : "-"; }
std::string Percent(std::optional<double> value) { return value ? absl::StrFormat("%.0f %%", *value * 100) : "-"; }

// How many versions the workers' weights lag behind the newest.
std::optional<double> Staleness(const v1::StatusReply& status) {
  const auto version = Mean(status, "rollout/weight_version");
  if (!version) return std::nullopt;
  return std::max(0.0, static_cast<double>(status.policy().version()) - *version);
}

std::string TokensPerSecond(const v1::StatusReply& status) {
  std::string text;
  for (const v1::RoleStatus& role : status.roles()) {
    for (const auto& [name, value] : role.values()) {
      if (!absl::EndsWith(name, "tokens_per_second")) continue;
      absl::StrAppend(&text, text.empty() ? "" : "  ", role.role(), " ", absl::StrFormat("%.0f", value));
    }
  }
  return text.empty() ? "-" : text;
}

// "rollout-0: engine: …" of the roles that cannot work.
std::vector<std::string> Troubles(const v1::StatusReply& status) {
  std::vector<std::string> out;
  for (const v1::RoleStatus& role : status.roles()) {
    if (!role.trouble().empty()) out.push_back(absl::StrCat(role.role(), ": ", role.trouble()));
  }
  return out;
}

std::string TimeLeft(const v1::StatusReply& status) {
  const double progress = RunProgress(status);
  // The first steps say little about the rate.
  if (progress <= 0 || progress >= 1) return "-";
  return Clock(status.elapsed_seconds() * (1 - progress) / progress);
}

std::string State(const v1::StatusReply& status) {
  if (status.finished()) return "  finished";
  return status.draining() ? "  stopping" : "";
}

}  // namespace

double RunProgress(const v1::StatusReply& status) {
  double progress = 0;
  if (status.steps_total() > 0) {
    progress = static_cast<double>(status.step()) / static_cast<double>(status.steps_total());
  }
  if (status.seconds_total() > 0) progress = std::max(progress, status.elapsed_seconds() / status.seconds_total());
  return std::clamp(status.finished() ? 1.0 : progress, 0.0, 1.0);
}

std::vector<std::string> ComposeView(const v1::StatusReply& status, const std::map<std::string, int>& restarts,
                                     int width) {
  const double progress = RunProgress(status);
  const int bar = std::clamp(width - 8, 10, 60);
  const int full = static_cast<int>(progress * bar);
  std::vector<std::string> lines;
  lines.push_back(absl::StrFormat("run %s  step %d/%d  time %s  left %s%s",
                                  status.run_id().empty() ? "-" : status.run_id(), status.step(),
                                  status.steps_total(), Clock(status.elapsed_seconds()), TimeLeft(status),
                                  State(status)));
  lines.push_back(absl::StrFormat("[%s%s] %3.0f%%", std::string(full, '#'), std::string(bar - full, '.'),
                                  progress * 100));
  lines.push_back(absl::StrCat("reward    total ", Number(Mean(status, "reward/mean")), "  trajectory ",
                               Number(Mean(status, "reward/traj/mean")), "  format ",
                               Number(Mean(status, "reward/fmt/mean")), "  goal ",
                               Number(Mean(status, "reward/goal/mean"))));
  lines.push_back(absl::StrCat("failures  total-failure ratio ", Percent(Mean(status, "rollout/total_failure_ratio")),
                               "  refinement success ", Percent(Mean(status, "rollout/refinement_success_ratio"))));
  lines.push_back(absl::StrCat("groups    running ", status.groups_running(), "  accepted ", status.groups_accepted(),
                               "  dropped attempts ", status.groups_dropped(), "  leases run out ",
                               status.groups_expired()));
  lines.push_back(absl::StrCat("weights   version ", status.policy().version(), "  staleness ",
                               Number(Staleness(status))));
  lines.push_back(absl::StrCat("train     loss ", Number(Mean(status, "train/loss")), "  kl ",
                               Number(Mean(status, "train/kl")), "  gradient norm ",
                               Number(Mean(status, "train/grad_norm"))));
  lines.push_back(absl::StrCat("tokens/s  ", TokensPerSecond(status)));
  std::string died;
  for (const auto& [role, count] : restarts) {
    if (count > 0) absl::StrAppend(&died, "  ", role, " ", count);
  }
  if (!died.empty()) lines.push_back("restarts" + died);
  for (const std::string& trouble : Troubles(status)) lines.push_back("trouble   " + trouble);
  for (std::string& line : lines) line.resize(std::min(line.size(), static_cast<size_t>(std::max(width, 10))));
  return lines;
}

std::string ComposeLine(const v1::StatusReply& status) {
  std::string line = absl::StrFormat(
      "step %d/%d  %.0f%%  time %s  left %s  reward %s (trajectory %s format %s goal %s)  total failures %s  "
      "refinement success %s  version %d  staleness %s  tokens/s %s%s",
      status.step(), status.steps_total(), RunProgress(status) * 100, Clock(status.elapsed_seconds()),
      TimeLeft(status), Number(Mean(status, "reward/mean")), Number(Mean(status, "reward/traj/mean")),
      Number(Mean(status, "reward/fmt/mean")), Number(Mean(status, "reward/goal/mean")),
      Percent(Mean(status, "rollout/total_failure_ratio")),
      Percent(Mean(status, "rollout/refinement_success_ratio")), status.policy().version(),
      Number(Staleness(status)), TokensPerSecond(status), State(status));
  for (const std::string& trouble : Troubles(status)) absl::StrAppend(&line, "  [", trouble, "]");
  return line;
}

LiveView::LiveView() : tty_(isatty(STDERR_FILENO) == 1) {}

LiveView::~LiveView() {
  if (!tty_ && !line_.empty()) std::fprintf(stderr, "%s\n", line_.c_str());
}

void LiveView::Erase() {
  if (drawn_ > 0) std::fprintf(stderr, "\033[%zuA\r\033[J", drawn_);
  drawn_ = 0;
}

void LiveView::Draw() {
  for (const std::string& line : block_) std::fprintf(stderr, "%s\n", line.c_str());
  drawn_ = block_.size();
  std::fflush(stderr);
}

void LiveView::Update(const v1::StatusReply& status, const std::map<std::string, int>& restarts) {
  if (tty_) {
    winsize size{};
    const int width = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col - 1 : 79;
    block_ = ComposeView(status, restarts, width);
    Erase();
    Draw();
    return;
  }
  line_ = ComposeLine(status);
  const absl::Time now = absl::Now();
  if (now - printed_ < kLineEvery) return;
  printed_ = now;
  std::fprintf(stderr, "%s\n", line_.c_str());
  line_.clear();
}

void LiveView::Message(const std::string& line) {
  if (tty_) Erase();
  std::fprintf(stderr, "%s\n", line.c_str());
  if (tty_) Draw();
}

}  // namespace swerve
