#include "chaos/audit_files.h"

#include <filesystem>
#include <nlohmann/json.hpp>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "base/files.h"
#include "base/sha256.h"
#include "chaos/event_log.h"
#include "evaluation/group_log.h"
#include "policy/safetensors.h"

namespace swerve {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

bool Exists(const std::string& path) {
  std::error_code error;
  return fs::exists(path, error);
}

absl::StatusOr<json> ReadState(const std::string& dir) {
  SWERVE_ASSIGN_OR_RETURN(const std::string text, ReadFile(dir + "/state.json"));
  json state = json::parse(text, nullptr, false);
  if (!state.is_object() || !state.contains("state") || !state.contains("files")) {
    return absl::DataLossError("state.json cannot be read");
  }
  return state;
}

std::set<uint64_t> FromRanges(const json& ranges) {
  std::set<uint64_t> groups;
  for (const json& range : ranges) {
    for (uint64_t g = range.at(0).get<uint64_t>(); g <= range.at(1).get<uint64_t>(); ++g) groups.insert(g);
  }
  return groups;
}

absl::StatusOr<CheckpointSeen> SeenOf(const json& event) {
  try {
    return CheckpointSeen{event.at("step").get<uint64_t>(), event.at("version").get<int64_t>(),
                          FromRanges(event.at("consumed"))};
  } catch (const json::exception& e) {
    return absl::DataLossError(absl::StrCat("a checkpoint's state is not one: ", e.what()));
  }
}

// What is wrong with a checkpoint; "": nothing.
std::string WrongWith(const std::string& dir, const std::map<int64_t, std::string>& checksums) {
  const absl::StatusOr<json> state = ReadState(dir);
  if (!state.ok()) return std::string(state.status().message());
  for (const auto& [name, size] : (*state)["files"].items()) {
    const std::string path = absl::StrCat(dir, "/", name);
    std::error_code error;
    if (!fs::exists(path, error)) return name + " is missing";
    if (fs::file_size(path, error) != size.get<uint64_t>() || error) return name + " is cut short";
    if (!absl::EndsWith(name, ".safetensors")) continue;
    if (const auto opened = SafetensorsFile::Open(path); !opened.ok()) return std::string(opened.status().message());
  }
  const int64_t version = (*state)["state"].value("version", int64_t{-1});
  const auto announced = checksums.find(version);
  const std::string policy = dir + "/trainer/policy/model.safetensors";
  if (announced == checksums.end() || announced->second.empty() || !Exists(policy)) return "";
  const absl::StatusOr<std::string> sum = Sha256OfFile(policy);
  if (!sum.ok()) return std::string(sum.status().message());
  return *sum == announced->second ? "" : absl::StrCat("its policy has not the checksum announced for version ", version);
}

absl::Status AddEvents(const std::string& path, AuditInput* in) {
  SWERVE_ASSIGN_OR_RETURN(const std::vector<json> events, ReadEventLog(path));
  for (const json& event : events) {
    const std::string what = event.value("what", "");
    if (what == "weights") {
      in->weights.push_back({event.value("version", int64_t{0}), event.value("step", uint64_t{0}), event.value("checksum", "")});
    } else if (what == "checkpoint") {
      SWERVE_ASSIGN_OR_RETURN(CheckpointSeen seen, SeenOf(event));
      in->checkpoints.push_back(std::move(seen));
    } else if (what == "file") {
      in->files.push_back({event.value("when", ""), event.value("path", ""), event.value("wrong", "")});
    } else if (what == "ending") {
      in->ending = event.value("wrong", "");
    }
  }
  return absl::OkStatus();
}

absl::Status AddStores(const RunDir& run, Buffers* buffers, AuditInput* in) {
  SWERVE_ASSIGN_OR_RETURN(const std::string ledger, ReadFile(run.ledger()));
  if (!in->ledger.ParseFromString(ledger)) return absl::DataLossError(run.ledger() + " is not a ledger's state");
  SWERVE_ASSIGN_OR_RETURN(in->stats, buffers->episodes().Stats());
  for (uint64_t from = 0;;) {
    SWERVE_ASSIGN_OR_RETURN(const std::vector<v1::Episode> some, buffers->episodes().Read(from, 64));
    if (some.empty()) break;
    for (const v1::Episode& episode : some) in->waiting.push_back(episode.group());
    from = some.back().group() + 1;
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<CheckpointSeen> ReadCheckpoint(const std::string& dir) {
  SWERVE_ASSIGN_OR_RETURN(const json state, ReadState(dir));
  json event = state["state"];
  event["step"] = state.value("step", uint64_t{0});
  return SeenOf(event);
}

std::map<uint64_t, std::string> ListCheckpoints(const RunDir& run) {
  std::map<uint64_t, std::string> found;
  std::error_code error;
  for (auto it = fs::directory_iterator(run.checkpoints(), error); !error && it != fs::directory_iterator(); it.increment(error)) {
    const std::string name = it->path().filename().string();
    uint64_t step = 0;
    if (absl::StartsWith(name, "step-") && absl::SimpleAtoi(name.substr(5), &step)) found[step] = it->path().string();
  }
  return found;
}

std::vector<FileCheck> CheckCheckpoints(const RunDir& run, const std::map<int64_t, std::string>& checksums,
                                        const std::string& when) {
  std::vector<FileCheck> checks;
  for (const auto& [step, dir] : ListCheckpoints(run)) {
    const std::string wrong = WrongWith(dir, checksums);
    if (wrong.empty() || Exists(dir)) checks.push_back({when, dir, wrong});
  }
  return checks;
}

std::vector<FileCheck> CheckWeights(const RunDir& run, const std::map<int64_t, std::string>& checksums,
                                    const v1::PolicyManifest& newest, const std::string& when) {
  std::vector<FileCheck> checks;
  for (const auto& [version, checksum] : checksums) {
    const std::string path = run.weights(version) + "/model.safetensors";
    if (checksum.empty() || !Exists(path)) continue;  // replaced by newer ones
    const absl::StatusOr<std::string> sum = Sha256OfFile(path);
    checks.push_back({when, path, !sum.ok() ? std::string(sum.status().message())
                                  : *sum == checksum ? "" : "it has not the checksum that was announced"});
  }
  const std::string last = newest.directory() + "/model.safetensors";
  const absl::StatusOr<std::string> sum = Sha256OfFile(last);
  checks.push_back({when, last, !sum.ok() ? std::string(sum.status().message())
                                : *sum == newest.checksum() || newest.checksum().empty() ? "" : "it has not the checksum of the newest version"});
  return checks;
}

absl::StatusOr<AuditInput> LoadAudit(const RunDir& run, const v1::RunConfig& config, Buffers* buffers,
                                     const std::string& events) {
  AuditInput in;
  in.steps = static_cast<uint64_t>(config.learner().steps());
  in.batch_groups = static_cast<uint64_t>(config.learner().batch_groups());
  SWERVE_RETURN_IF_ERROR(AddEvents(events, &in));
  SWERVE_RETURN_IF_ERROR(AddStores(run, buffers, &in));
  const auto checkpoints = ListCheckpoints(run);
  if (!checkpoints.empty()) {
    const auto newest = ReadCheckpoint(checkpoints.rbegin()->second);
    if (newest.ok()) in.checkpoints.push_back(*newest);  // else CheckCheckpoints says what is wrong with it
  }
  in.weights.push_back({in.ledger.policy().version(), in.ledger.policy().step(), in.ledger.policy().checksum()});
  std::map<int64_t, std::string> checksums;
  for (const WeightsSeen& seen : in.weights) checksums.try_emplace(seen.version, seen.checksum);
  for (const auto& checks : {CheckCheckpoints(run, checksums, "at the end"),
                             CheckWeights(run, checksums, in.ledger.policy(), "at the end")}) {
    in.files.insert(in.files.end(), checks.begin(), checks.end());
  }
  SWERVE_ASSIGN_OR_RETURN(in.metrics, ReadMetrics(run.root()));
  SWERVE_ASSIGN_OR_RETURN(const std::vector<GroupRecord> groups, ReadGroups(run.root()));
  for (const GroupRecord& group : groups) in.logged.insert(group.group);
  return in;
}

}  // namespace swerve
