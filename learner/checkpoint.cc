#include "learner/checkpoint.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "base/files.h"

namespace swerve {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr char kPrefix[] = "step-", kWriting[] = "writing-", kRemoving[] = "removing-";

absl::Status Sync(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY);
  if (fd < 0) return ErrnoStatus(errno, "open", path);
  const int failed = fsync(fd);
  close(fd);
  return failed == 0 ? absl::OkStatus() : ErrnoStatus(errno, "fsync", path);
}

// Sizes of all files below `dir`, by relative path, each flushed to disk.
absl::StatusOr<json> FlushFiles(const std::string& dir) {
  json files = json::object();
  std::error_code error;
  for (auto it = fs::recursive_directory_iterator(dir, error); !error && it != fs::recursive_directory_iterator();
       it.increment(error)) {
    if (!it->is_regular_file()) continue;
    SWERVE_RETURN_IF_ERROR(Sync(it->path().string()));
    files[fs::relative(it->path(), dir).string()] = it->file_size();
  }
  if (error) return absl::InternalError(absl::StrCat("cannot list ", dir, ": ", error.message()));
  return files;
}

bool StepOf(const std::string& name, uint64_t* step) {
  return absl::StartsWith(name, kPrefix) && absl::SimpleAtoi(name.substr(sizeof(kPrefix) - 1), step);
}

// Not OK: not a complete checkpoint.
absl::StatusOr<Checkpoint> Open(const std::string& dir, uint64_t step) {
  SWERVE_ASSIGN_OR_RETURN(const std::string text, ReadFile(dir + "/state.json"));
  const json state = json::parse(text, nullptr, false);
  if (!state.is_object() || !state.contains("files") || !state["files"].is_object() || !state.contains("state") ||
      state.value("step", uint64_t{0}) != step) {
    return absl::DataLossError(absl::StrCat(dir, "/state.json is damaged"));
  }
  for (const auto& [name, size] : state["files"].items()) {
    std::error_code error;
    if (fs::file_size(dir + "/" + name, error) != size.get<uint64_t>() || error) {
      return absl::DataLossError(absl::StrCat(dir, "/", name, " is missing or cut short"));
    }
  }
  return Checkpoint{step, dir, state["state"]};
}

std::vector<std::pair<uint64_t, std::string>> List(const std::string& dir) {
  std::vector<std::pair<uint64_t, std::string>> found;
  std::error_code error;
  for (auto it = fs::directory_iterator(dir, error); !error && it != fs::directory_iterator(); it.increment(error)) {
    uint64_t step = 0;
    if (StepOf(it->path().filename().string(), &step)) found.emplace_back(step, it->path().string());
  }
  std::sort(found.rbegin(), found.rend());
  return found;
}

// What a killed writer left under a temporary name.
void RemoveLeftovers(const std::string& dir) {
  std::error_code error;
  std::vector<fs::path> left;
  for (auto it = fs::directory_iterator(dir, error); !error && it != fs::directory_iterator(); it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (absl::StartsWith(name, kWriting) || absl::StartsWith(name, kRemoving)) left.push_back(it->path());
  }
  for (const fs::path& path : left) fs::remove_all(path, error);
}

// A directory under a checkpoint's name is whole, also while it is being removed.
void Remove(const std::string& dir, uint64_t step, const std::string& path) {
  const std::string removing = absl::StrFormat("%s/%s%08d", dir, kRemoving, step);
  std::error_code error;
  fs::rename(path, removing, error);
  fs::remove_all(error ? path : removing, error);
}

}  // namespace

absl::Status CheckpointStore::Save(uint64_t step, const json& state,
                                   const std::function<absl::Status(const std::string&)>& write) {
  const std::string target = absl::StrFormat("%s/%s%08d", dir_, kPrefix, step);
  const std::string temporary = absl::StrFormat("%s/%s%08d", dir_, kWriting, step), old = temporary + "-old";
  std::error_code error;
  RemoveLeftovers(dir_);
  SWERVE_RETURN_IF_ERROR(MakeDirectories(temporary));
  SWERVE_RETURN_IF_ERROR(write(temporary));
  SWERVE_ASSIGN_OR_RETURN(const json files, FlushFiles(temporary));
  SWERVE_RETURN_IF_ERROR(WriteFileAtomically(
      temporary + "/state.json", json{{"step", step}, {"files", files}, {"state", state}}.dump(1) + "\n"));
  if (fs::exists(target)) fs::rename(target, old, error);
  fs::rename(temporary, target, error);
  if (error) return absl::InternalError(absl::StrCat("cannot rename ", temporary, " to ", target, ": ", error.message()));
  SWERVE_RETURN_IF_ERROR(Sync(dir_));
  fs::remove_all(old, error);
  const auto all = List(dir_);
  for (size_t i = static_cast<size_t>(keep_); i < all.size(); ++i) Remove(dir_, all[i].first, all[i].second);
  return absl::OkStatus();
}

absl::StatusOr<Checkpoint> CheckpointStore::Newest() const {
  for (const auto& [step, path] : List(dir_)) {
    absl::StatusOr<Checkpoint> checkpoint = Open(path, step);
    if (checkpoint.ok()) return checkpoint;
  }
  return absl::NotFoundError(absl::StrCat("no complete checkpoint in ", dir_));
}

}  // namespace swerve
