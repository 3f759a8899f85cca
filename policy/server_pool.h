// The inference servers of an engine: which of them may be asked now. A server gets requests only while it is healthy and
// holds the weights that are wanted; one that failed, was started anew or holds others is looked at, has the weights loaded,
// and is tried before it gets the next request. Meanwhile the others carry the load.
#ifndef SWERVE_POLICY_SERVER_POOL_H_
#define SWERVE_POLICY_SERVER_POOL_H_

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "base/retry_clock.h"
#include "base/task_pool.h"
#include "policy/engine_metrics.h"
#include "policy/server_dialect.h"

namespace swerve {

// The weights that servers must hold.
struct ServerWeights {
  std::string path;   // as the servers see it
  std::string label;  // no two weights have the same
};

// Thread-safe. Servers are looked at and loaded on threads of its own, one a server, so that whoever waits can be called off.
class ServerPool {
 public:
  struct Options {
    int concurrency = 64;  // requests at once per server
    absl::Duration refresh = absl::Minutes(5), probe = absl::Seconds(5);
    std::vector<int32_t> probe_ids;  // a short prompt
    std::vector<int> eos;
    RetryClock clock;
  };
  // A place on a server, until Give.
  struct Place {
    size_t server = 0;
    const ServerLine* line = nullptr;
    std::string model;
    std::string label;       // of the weights that it was taken for
    bool tempered = false;   // its log-probabilities are those of the temperature that is asked for
    absl::Time taken = absl::InfinitePast();
  };
  enum class Outcome {
    kServed,  // or the request itself was refused
    kFailed,  // no or no usable answer: looked at before the next request
    kStale,   // it holds other weights
  };
  // The caller does not want it any more: checked while waiting.
  using Cut = std::function<bool()>;

  ServerPool(Options options, const ServerDialect* dialect, std::vector<std::unique_ptr<ServerLine>> lines);

  // What servers must hold from now on. Nobody may have a place; see RemoteEngine.
  void Want(ServerWeights weights) ABSL_LOCKS_EXCLUDED(mutex_);
  // Brings every server there, all at once. OK if one of them is; else the first error.
  absl::Status Refresh() ABSL_LOCKS_EXCLUDED(mutex_);

  // Waits for a server. CANCELLED: cut; UNAVAILABLE: none until `deadline`, with what was last wrong with each; any other code:
  // no server can ever be used as they are (the error of the first).
  absl::StatusOr<Place> Take(absl::Time deadline, const Cut& cut) ABSL_LOCKS_EXCLUDED(mutex_);
  // `pause`: the server wants nothing for so long.
  void Give(const Place& place, Outcome outcome, std::optional<absl::Duration> pause = std::nullopt) ABSL_LOCKS_EXCLUDED(mutex_);
  // OK: at some moment after this call began, the server still held the weights that `place` was taken for. ABORTED: others.
  // Callers that wait together share one look. Errors of ServerDialect::Weights.
  absl::Status Confirm(const Place& place) ABSL_LOCKS_EXCLUDED(mutex_);

  int64_t places() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct Server {
    std::unique_ptr<ServerLine> line;
    std::unique_ptr<ServerMetrics> metrics;
    bool ready = false, mending = false, tempered = false;
    bool unsure = false;            // whatever it says that it holds: a load failed half-way
    int in_use = 0, failures = 0;   // failures in a row
    absl::Time look_at = absl::InfinitePast(), pause_until = absl::InfinitePast();
    std::string model, label, boot;  // label and boot: as of our last load
    absl::Status wrong;
    bool confirming = false;        // a look of Confirm is under way
    int64_t looks = 0;              // that Confirm began
    int64_t confirmed = 0;          // the last of them that was good, with `label`
  };
  // What became of an attempt to bring a server there.
  struct Mended {
    absl::Status status;
    ServerState state;
    bool loaded = false, load_failed = false, tempered = false;
    bool waits = false;  // it must load, and something still runs on it
  };
  Mended Mend(const Server& server, const ServerWeights& want, bool unsure, bool may_load) const;
  void BringThere(size_t i) ABSL_LOCKS_EXCLUDED(mutex_);
  bool Holds(const ServerState& state, const std::string& label, const std::string& had, const std::string& boot) const;
  absl::StatusOr<bool> Tempered(const ServerLine& line, const std::string& model) const;
  absl::StatusOr<std::vector<TokenLogprob>> ProbeTop(const ServerLine& line, const std::string& model, double temperature) const;
  absl::Status Hopeless() const ABSL_SHARED_LOCKS_REQUIRED(mutex_);
  absl::Status Wrong() const ABSL_SHARED_LOCKS_REQUIRED(mutex_);
  static void SetReady(Server& server, bool ready);
  std::optional<Place> FreePlace(absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::vector<size_t> Due(absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);  // their `mending` is set
  std::optional<absl::Time> Quiet(absl::Time now) const ABSL_SHARED_LOCKS_REQUIRED(mutex_);

  const Options options_;
  const ServerDialect* const dialect_;
  mutable absl::Mutex mutex_;
  absl::CondVar changed_;
  ServerWeights want_ ABSL_GUARDED_BY(mutex_);
  std::vector<Server> servers_ ABSL_GUARDED_BY(mutex_);  // their number and lines never change
  size_t turn_ ABSL_GUARDED_BY(mutex_) = 0;              // who comes first among equals
  std::unique_ptr<TaskPool> menders_;                    // last: its threads use what is above
};

// False for errors that trying again cannot change.
bool ServerMayRecover(const absl::Status& status);

}  // namespace swerve

#endif  // SWERVE_POLICY_SERVER_POOL_H_
