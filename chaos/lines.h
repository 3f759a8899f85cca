// Puts a line that can be cut in front of each service of a run, without the run knowing: roles find each other by the
// port files of the run directory, and this rewrites them as they appear. The reward service gets a faulty scorer too.
// Main thread only.
#ifndef SWERVE_CHAOS_LINES_H_
#define SWERVE_CHAOS_LINES_H_

#include <map>
#include <memory>
#include <string>

#include "base/role_files.h"
#include "base/status.h"
#include "chaos/faulty_scorer.h"
#include "chaos/tcp_proxy.h"

namespace swerve {

class Lines {
 public:
  // Lines for orchestrator, reward and teacher.
  static absl::StatusOr<std::unique_ptr<Lines>> Make(RunDir run);

  // Looks for roles that have published themselves since the last call and leads their line to them. Between a role's
  // start and the next call its callers go past the line.
  void Tick();

  // A further line, to a server that stays where it is.
  absl::StatusOr<int> Add(const std::string& name, int upstream);

  // Null: there is no such line.
  TcpProxy* Find(const std::string& name);
  FaultyScorer& scorer() { return *scorer_; }

 private:
  explicit Lines(RunDir run) : run_(std::move(run)) {}
  void Interpose(const std::string& role, TcpProxy* line);

  const RunDir run_;
  std::unique_ptr<FaultyScorer> scorer_;
  std::map<std::string, std::unique_ptr<TcpProxy>> lines_;
};

}  // namespace swerve

#endif  // SWERVE_CHAOS_LINES_H_
