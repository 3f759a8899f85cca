#include "chaos/lines.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "base/files.h"

namespace swerve {
namespace {

constexpr const char* kRoles[] = {"orchestrator", "reward", "teacher"};

// Swaps the two files' names at once.
bool Exchange(const std::string& a, const std::string& b) {
  return renameat2(AT_FDCWD, a.c_str(), AT_FDCWD, b.c_str(), RENAME_EXCHANGE) == 0;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Lines>> Lines::Make(RunDir run) {
  std::unique_ptr<Lines> lines(new Lines(std::move(run)));
  SWERVE_ASSIGN_OR_RETURN(lines->scorer_, FaultyScorer::Start());
  for (const char* role : kRoles) SWERVE_RETURN_IF_ERROR(lines->Add(role, 0).status());
  lines->lines_["reward"]->SetUpstream(lines->scorer_->port());
  return lines;
}

absl::StatusOr<int> Lines::Add(const std::string& name, int upstream) {
  SWERVE_ASSIGN_OR_RETURN(auto line, TcpProxy::Start());
  line->SetUpstream(upstream);
  const int port = line->port();
  lines_[name] = std::move(line);
  return port;
}

TcpProxy* Lines::Find(const std::string& name) {
  const auto at = lines_.find(name);
  return at == lines_.end() ? nullptr : at->second.get();
}

void Lines::Tick() {
  for (const char* role : kRoles) Interpose(role, lines_[role].get());
}

void Lines::Interpose(const std::string& role, TcpProxy* line) {
  const std::string path = run_.port_file(role), mine = run_.root() + "/ports/." + role + ".line";
  const absl::StatusOr<std::string> text = ReadFile(path);
  if (!text.ok()) return;
  nlohmann::json address = nlohmann::json::parse(*text, nullptr, false);
  const int port = address.is_object() ? address.value("grpc", 0) : 0;
  if (port == 0 || port == line->port()) return;
  address["grpc"] = line->port();
  if (!WriteFileAtomically(mine, address.dump() + "\n").ok()) return;  // a full disk: the next tick
  if (!Exchange(mine, path)) {
    unlink(mine.c_str());
    return;
  }
  // The role was started again between reading and exchanging: the next tick takes its newer file.
  const absl::StatusOr<std::string> replaced = ReadFile(mine);
  if (replaced.ok() && *replaced != *text) {
    Exchange(mine, path);
    return;
  }
  unlink(mine.c_str());
  if (role == "reward") {
    scorer_->SetUpstream(port);
    line->Cut();
  } else {
    line->SetUpstream(port);
  }
}

}  // namespace swerve
