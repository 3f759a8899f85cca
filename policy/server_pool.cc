#include "policy/server_pool.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <cmath>

#include "absl/strings/str_join.h"
#include "base/status.h"

namespace swerve {
namespace {

constexpr absl::Duration kSlice = absl::Milliseconds(100);  // of waiting, between looks at whether anybody still wants it
constexpr int kProbeTop = 5;
constexpr double kFlat = 0.02;  // a spread of log-probabilities that tells nothing

}  // namespace

bool ServerMayRecover(const absl::Status& status) {
  return IsRetryable(status) || absl::IsDataLoss(status) || absl::IsAborted(status) || absl::IsCancelled(status);
}

ServerPool::ServerPool(Options options, const ServerDialect* dialect, std::vector<std::unique_ptr<ServerLine>> lines)
    : options_(std::move(options)), dialect_(dialect) {
  absl::MutexLock lock(&mutex_);
  for (auto& line : lines) {
    Server& server = servers_.emplace_back();
    server.metrics = std::make_unique<ServerMetrics>(line->url());
    server.line = std::move(line);
    SetReady(server, false);
  }
  menders_ = std::make_unique<TaskPool>(static_cast<int>(servers_.size()), servers_.size(), "server-mend");
}

void ServerPool::SetReady(Server& server, bool ready) {
  server.ready = ready;
  server.metrics->ready.Set(ready ? 1 : 0);
}

void ServerPool::Want(ServerWeights weights) {
  absl::MutexLock lock(&mutex_);
  if (weights.label == want_.label && weights.path == want_.path) return;
  want_ = std::move(weights);
  for (Server& server : servers_) {
    SetReady(server, false);
    server.look_at = absl::InfinitePast();
  }
}

bool ServerPool::Holds(const ServerState& state, const std::string& label, const std::string& had, const std::string& boot) const {
  return state.label ? *state.label == label : had == label && state.boot == boot;
}

absl::StatusOr<std::vector<TokenLogprob>> ServerPool::ProbeTop(const ServerLine& line, const std::string& model, double temperature) const {
  GenerateRequest request;
  request.temperature = temperature;
  request.max_new_tokens = 1;
  request.top_logprobs = kProbeTop;
  static const std::string no_image;
  const ServerAsk ask{&options_.probe_ids, &request, &no_image, &options_.eos, 1, model};
  ServerLine::Call call = dialect_->Generate(ask);
  call.timeout = std::max(options_.probe, absl::Seconds(30));  // the first request may compile kernels
  SWERVE_ASSIGN_OR_RETURN(const std::string body, line.Send(call));
  SWERVE_ASSIGN_OR_RETURN(const ServerAnswer answer, dialect_->Read(ask, body));
  if (answer.top.empty() || answer.top[0].size() < 2) return absl::DataLossError("the probe's answer tells no alternatives");
  return answer.top[0];
}

// The distance of two tokens' log-probabilities halves at temperature 2, unless they are those of temperature 1 always.
absl::StatusOr<bool> ServerPool::Tempered(const ServerLine& line, const std::string& model) const {
  SWERVE_ASSIGN_OR_RETURN(const std::vector<TokenLogprob> one, ProbeTop(line, model, 1));
  SWERVE_ASSIGN_OR_RETURN(const std::vector<TokenLogprob> two, ProbeTop(line, model, 2));
  double widest = 0, ratio = 1;
  for (const TokenLogprob& a : two) {
    for (const TokenLogprob& b : two) {
      const auto at = [&one](int32_t id) { return std::find_if(one.begin(), one.end(), [id](const TokenLogprob& t) { return t.id == id; }); };
      if (at(a.id) == one.end() || at(b.id) == one.end()) continue;
      const double spread = at(a.id)->logprob - at(b.id)->logprob;
      if (spread <= widest) continue;
      widest = spread;
      ratio = (a.logprob - b.logprob) / spread;
    }
  }
  if (widest > kFlat && std::abs(ratio - 0.5) < 0.2) return true;
  if (widest > kFlat && std::abs(ratio - 1) < 0.2) return false;
  return absl::FailedPreconditionError(absl::StrCat(line.url(), ": log-probabilities of temperature 1 and 2 differ by a factor of ", ratio,
                                                    " on the probe's prompt, so it cannot be told whose they are; ", dialect_->HowToGetLogprobs()));
}

ServerPool::Mended ServerPool::Mend(const Server& server, const ServerWeights& want, bool unsure, bool may_load) const {
  Mended m;
  absl::StatusOr<ServerState> state = dialect_->Look(*server.line, options_.probe);
  if (!state.ok()) return {.status = state.status()};
  if (unsure || !Holds(*state, want.label, server.label, server.boot)) {
    // What began with other weights would end under the new label.
    if (!may_load) return {.status = absl::UnavailableError(absl::StrCat(server.line->url(), " must load weights, and waits for what runs on it to end")), .waits = true};
    spdlog::info("{}: loads {} ({})", server.line->url(), want.path, want.label);
    if (m.status = dialect_->Load(*server.line, want.path, want.label, options_.refresh); !m.status.ok()) {
      m.load_failed = true;
      return m;
    }
    m.loaded = true;
    const std::string boot = state->boot;
    state = dialect_->Look(*server.line, options_.probe);
    if (m.status = state.status(); !m.status.ok()) return m;
    if (state->boot != boot) {  // what it loaded went with it
      m.load_failed = true;
      m.status = absl::UnavailableError(absl::StrCat(server.line->url(), " was started anew while it loaded weights"));
      return m;
    }
    if (state->label && *state->label != want.label) {
      m.status = absl::UnavailableError(absl::StrCat(server.line->url(), " holds the weights '", *state->label, "' although it said that it loaded '", want.label,
                                                     "'; does another run use it?"));
      return m;
    }
  }
  m.state = *std::move(state);
  const absl::StatusOr<bool> tempered = Tempered(*server.line, m.state.model);
  m.status = tempered.status();
  m.tempered = tempered.ok() && *tempered;
  return m;
}

// Of a server whose `mending` was set.
void ServerPool::BringThere(size_t i) {
  ServerWeights want;
  const Server* server = nullptr;
  bool unsure = false, idle = false;
  {
    absl::MutexLock lock(&mutex_);
    want = want_;
    server = &servers_[i];  // what Mend reads of it, nobody else writes while it is being mended
    unsure = server->unsure;
    idle = server->in_use == 0;  // and stays so: it gets no requests
  }
  const absl::Time begun = options_.clock.now();
  const Mended m = Mend(*server, want, unsure, idle);
  const absl::Duration took = options_.clock.now() - begun;
  absl::MutexLock lock(&mutex_);
  Server& s = servers_[i];
  s.mending = false;
  if (m.load_failed) s.unsure = true, s.metrics->failed_loads.Increment();
  if (m.loaded) s.unsure = false, s.metrics->loads.Increment(), s.metrics->load_seconds.Observe(absl::ToDoubleSeconds(took));
  if (m.loaded || m.status.ok()) s.label = want.label, s.boot = m.state.boot;
  s.wrong = m.status;
  SetReady(s, m.status.ok() && want.label == want_.label);
  if (m.status.ok()) {
    s.failures = 0;
    s.model = m.state.model;
    s.tempered = m.tempered;
  } else if (m.waits) {
    s.look_at = options_.clock.now() + kSlice;
  } else {
    const absl::Duration pause = std::min(options_.probe, absl::Milliseconds(250) * (1 << std::min(s.failures++, 8)));
    s.look_at = options_.clock.now() + pause * (0.5 + options_.clock.uniform());
    spdlog::warn("{} gets no requests: {}", s.line->url(), std::string(m.status.message()));
  }
  changed_.SignalAll();
}

absl::Status ServerPool::Refresh() {
  std::vector<size_t> mend;
  {
    absl::MutexLock lock(&mutex_);
    for (size_t i = 0; i < servers_.size(); ++i) {
      while (servers_[i].mending) changed_.Wait(&mutex_);
      if (servers_[i].ready) continue;
      servers_[i].mending = true;
      mend.push_back(i);
    }
  }
  for (const size_t i : mend) menders_->Submit([this, i] { BringThere(i); });
  absl::MutexLock lock(&mutex_);
  for (const size_t i : mend) {
    while (servers_[i].mending) changed_.Wait(&mutex_);
  }
  for (const Server& s : servers_) {
    if (s.ready) return absl::OkStatus();
  }
  return servers_[0].wrong;
}

absl::Status ServerPool::Hopeless() const {
  for (const Server& s : servers_) {
    if (s.ready || s.mending || s.wrong.ok() || ServerMayRecover(s.wrong)) return absl::OkStatus();
  }
  return servers_[0].wrong;
}

absl::Status ServerPool::Wrong() const {
  std::vector<std::string> each;
  for (const Server& s : servers_) {
    each.push_back(s.wrong.ok() ? absl::StrCat(s.line->url(), s.ready ? ": busy" : ": not ready yet") : std::string(s.wrong.message()));
  }
  return absl::UnavailableError(absl::StrCat("no inference server could be asked in time: ", absl::StrJoin(each, "; ")));
}

std::optional<ServerPool::Place> ServerPool::FreePlace(absl::Time now) {
  Server* best = nullptr;
  ++turn_;
  for (size_t i = 0; i < servers_.size(); ++i) {
    Server& s = servers_[(turn_ + i) % servers_.size()];
    if (!s.ready || s.in_use >= options_.concurrency || now < s.pause_until) continue;
    if (best == nullptr || s.in_use < best->in_use) best = &s;
  }
  if (best == nullptr) return std::nullopt;
  best->metrics->in_use.Set(++best->in_use);
  return Place{static_cast<size_t>(best - servers_.data()), best->line.get(), best->model, want_.label, best->tempered, now};
}

std::vector<size_t> ServerPool::Due(absl::Time now) {
  std::vector<size_t> due;
  for (size_t i = 0; i < servers_.size(); ++i) {
    Server& s = servers_[i];
    if (s.ready || s.mending || now < s.look_at) continue;
    s.mending = true;
    due.push_back(i);
  }
  return due;
}

// Until when nothing changes but by time; nothing: somebody is at something.
std::optional<absl::Time> ServerPool::Quiet(absl::Time now) const {
  absl::Time until = now + kSlice;
  for (const Server& s : servers_) {
    if (s.mending || s.in_use > 0) return std::nullopt;
    if (const absl::Time at = std::max(s.look_at, s.pause_until); at > now) until = std::min(until, at);
  }
  return until;
}

absl::StatusOr<ServerPool::Place> ServerPool::Take(absl::Time deadline, const Cut& cut) {
  while (true) {
    if (cut()) return absl::CancelledError("nobody waits for it any longer");
    std::vector<size_t> due;
    std::optional<Place> place;
    std::optional<absl::Time> quiet;
    {
      absl::MutexLock lock(&mutex_);
      const absl::Time now = options_.clock.now();
      place = FreePlace(now);
      if (!place && now >= deadline) return Wrong();
      if (!place) SWERVE_RETURN_IF_ERROR(Hopeless());
      due = Due(now);  // whoever asks has the lost ones looked at, and waits for them only where it must
      if (!place && due.empty()) {
        quiet = Quiet(now);
        if (!quiet) changed_.WaitWithTimeout(&mutex_, kSlice);
      }
    }
    for (const size_t i : due) menders_->Submit([this, i] { BringThere(i); });
    if (place) return *std::move(place);
    if (quiet) options_.clock.sleep(std::max(absl::ZeroDuration(), std::min(*quiet, deadline) - options_.clock.now()));
  }
}

void ServerPool::Give(const Place& place, Outcome outcome, std::optional<absl::Duration> pause) {
  absl::MutexLock lock(&mutex_);
  Server& s = servers_[place.server];
  s.metrics->in_use.Set(--s.in_use);
  s.metrics->seconds.Observe(absl::ToDoubleSeconds(options_.clock.now() - place.taken));
  (outcome == Outcome::kServed ? s.metrics->served : outcome == Outcome::kFailed ? s.metrics->failed : s.metrics->stale).Increment();
  if (outcome == Outcome::kFailed || outcome == Outcome::kStale) SetReady(s, false);
  if (outcome == Outcome::kStale) s.unsure = true;
  if (pause) s.pause_until = std::max(s.pause_until, options_.clock.now() + *pause);
  changed_.SignalAll();
}

absl::Status ServerPool::Confirm(const Place& place) {
  const ServerLine* line = nullptr;
  std::string label, boot;
  int64_t look = 0;
  {
    absl::MutexLock lock(&mutex_);
    Server& s = servers_[place.server];
    const int64_t after = s.looks;  // a look that began later is good enough
    while (s.confirming && s.confirmed <= after) changed_.Wait(&mutex_);
    if (s.confirmed > after) return absl::OkStatus();
    s.confirming = true;
    look = ++s.looks;
    line = s.line.get();
    label = s.label;
    boot = s.boot;
  }
  const absl::StatusOr<ServerState> state = dialect_->Weights(*line, options_.probe);
  absl::Status status = state.status();
  if (state.ok() && !Holds(*state, place.label, label, boot)) {
    status = absl::AbortedError(absl::StrCat(line->url(), " holds other weights than ", place.label, state->label ? absl::StrCat(": '", *state->label, "'") : ": it was started anew"));
  }
  absl::MutexLock lock(&mutex_);
  Server& s = servers_[place.server];
  s.confirming = false;
  if (status.ok()) s.confirmed = look;
  changed_.SignalAll();
  return status;
}

int64_t ServerPool::places() const {
  absl::MutexLock lock(&mutex_);
  int64_t all = 0;
  for (const Server& s : servers_) all += s.in_use;
  return all;
}

}  // namespace swerve
