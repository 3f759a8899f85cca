#include "scenes/store.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "base/files.h"
#include "base/tfrecord.h"

namespace swerve {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr char kFormat[] = "swerve-scenes-1";
constexpr char kShardPrefix[] = "scenes-";
// A record larger than this is a damaged length, not a scene.
constexpr uint64_t kMaxRecord = uint64_t{1} << 30;

absl::Status BadIndex(const std::string& path, size_t line, absl::string_view what) {
  return absl::DataLossError(
      absl::StrCat(path, " line ", line, ": ", what, "; the index is damaged, write the data set again"));
}

template <typename T>
bool Take(const json& j, const char* key, T* out) {
  auto it = j.find(key);
  if (it == j.end()) return false;
  if constexpr (std::is_same_v<T, std::string>) {
    if (!it->is_string()) return false;
  } else {
    if (!it->is_number_unsigned()) return false;
  }
  *out = it->get<T>();
  return true;
}

// Reads exactly `size` bytes at `offset`; false at the end of the file or on error.
bool ReadAt(int fd, uint64_t offset, uint64_t size, char* out) {
  while (size > 0) {
    ssize_t n = pread(fd, out, size, static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    out += n;
    offset += n;
    size -= n;
  }
  return true;
}

}  // namespace

absl::StatusOr<std::unique_ptr<SceneStore>> SceneStore::Open(const std::vector<std::string>& dirs,
                                                             uint64_t cache_bytes) {
  if (dirs.empty()) return absl::InvalidArgumentError("no scene directory given");
  std::unique_ptr<SceneStore> store(new SceneStore(cache_bytes));
  for (const std::string& dir : dirs) SWERVE_RETURN_IF_ERROR(store->AddDirectory(dir));
  return store;
}

SceneStore::~SceneStore() {
  for (const Shard& s : shards_)
    if (s.fd >= 0) close(s.fd);
}

absl::Status SceneStore::AddDirectory(const std::string& dir) {
  const std::string path = absl::StrCat(dir, "/", kSceneIndexName);
  absl::StatusOr<std::string> text = ReadFile(path);
  if (!text.ok()) {
    if (!absl::IsNotFound(text.status())) return text.status();
    return absl::NotFoundError(absl::StrCat(dir, " is no scene data set: ", path,
                                            " is missing (make one with `swerve scenes generate` or `import`)"));
  }
  std::vector<std::string> lines = absl::StrSplit(*text, '\n', absl::SkipEmpty());
  json header = lines.empty() ? json() : json::parse(lines[0], nullptr, false);
  uint64_t count = 0;
  std::string format;
  if (!header.is_object() || !Take(header, "format", &format) || format != kFormat || !Take(header, "scenes", &count) ||
      !header.contains("shards") || !header["shards"].is_array())
    return BadIndex(path, 1, absl::StrCat("no header of format ", kFormat));
  if (lines.size() - 1 != count)
    return BadIndex(path, lines.size(), absl::StrCat("holds ", lines.size() - 1, " scenes, header says ", count));
  const int first_shard = static_cast<int>(shards_.size());
  for (const json& name : header["shards"]) {
    if (!name.is_string()) return BadIndex(path, 1, "a shard name is no string");
    Shard shard{absl::StrCat(dir, "/", name.get<std::string>())};
    shard.fd = open(shard.path.c_str(), O_RDONLY | O_CLOEXEC);
    if (shard.fd < 0) return ErrnoStatus(errno, "open", shard.path);
    shards_.push_back(std::move(shard));
  }
  for (size_t i = 1; i < lines.size(); ++i) {
    json line = json::parse(lines[i], nullptr, false);
    SceneEntry e;
    uint64_t shard = 0;
    uint64_t label = 0;
    if (!line.is_object() || !Take(line, "id", &e.id) || !Take(line, "shard", &shard) ||
        !Take(line, "offset", &e.offset) || !Take(line, "length", &e.length) || !Take(line, "family", &e.family) ||
        !Take(line, "location", &e.location) || !Take(line, "label", &label))
      return BadIndex(path, i + 1, "a field is missing or has the wrong type");
    if (shard >= shards_.size() - first_shard || e.length > kMaxRecord || label > static_cast<uint64_t>(v1::SampleLabel_MAX))
      return BadIndex(path, i + 1, "a number is out of range");
    e.shard = first_shard + static_cast<int>(shard);
    e.label = static_cast<v1::SampleLabel>(label);
    if (auto [it, added] = by_id_.try_emplace(e.id, static_cast<int>(entries_.size())); !added)
      return absl::InvalidArgumentError(absl::StrCat("scene ", e.id, " is in ", dir, " and in ",
                                                     shards_[entries_[it->second].shard].path,
                                                     "; open data sets with distinct ids"));
    ids_.push_back(e.id);
    entries_.push_back(std::move(e));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<const v1::Scene>> SceneStore::Get(absl::string_view id) const {
  auto it = by_id_.find(std::string(id));
  if (it == by_id_.end()) return absl::NotFoundError(absl::StrCat("no scene with id ", id, " in the opened data sets"));
  {
    absl::MutexLock lock(&mu_);
    if (auto hit = cache_.find(it->second); hit != cache_.end()) {
      uses_.splice(uses_.begin(), uses_, hit->second.use);
      return hit->second.scene;
    }
  }
  SWERVE_ASSIGN_OR_RETURN(std::shared_ptr<const v1::Scene> scene, Read(entries_[it->second]));
  Remember(it->second, scene);
  return scene;
}

absl::StatusOr<std::shared_ptr<const v1::Scene>> SceneStore::Read(const SceneEntry& e) const {
  const Shard& shard = shards_[e.shard];
  auto damaged = [&](absl::string_view what) {
    return absl::DataLossError(
        absl::StrFormat("%s offset %d: scene %s: %s", shard.path, e.offset, e.id, std::string(what)));
  };
  std::string record(kTfRecordHeader + e.length + kTfRecordFooter, '\0');
  if (!ReadAt(shard.fd, e.offset, record.size(), record.data())) return damaged("the shard ends before the record");
  if (ReadLittleEndian<uint32_t>(&record[8]) != MaskedCrc32c(absl::string_view(record.data(), 8)) ||
      ReadLittleEndian<uint64_t>(record.data()) != e.length)
    return damaged("the record's length is damaged");
  absl::string_view payload(record.data() + kTfRecordHeader, e.length);
  if (ReadLittleEndian<uint32_t>(payload.data() + payload.size()) != MaskedCrc32c(payload))
    return damaged("the record's checksum does not match");
  auto scene = std::make_shared<v1::Scene>();
  if (!scene->ParseFromArray(payload.data(), static_cast<int>(payload.size())))
    return damaged("the record is no swerve.v1.Scene");
  return std::shared_ptr<const v1::Scene>(std::move(scene));
}

void SceneStore::Remember(int entry, const std::shared_ptr<const v1::Scene>& scene) const {
  absl::MutexLock lock(&mu_);
  if (cache_.contains(entry)) return;  // another thread was faster
  uses_.push_front(entry);
  cache_[entry] = {scene, uses_.begin()};
  cached_bytes_ += entries_[entry].length;
  while (cached_bytes_ > cache_bytes_ && !uses_.empty()) {
    cached_bytes_ -= entries_[uses_.back()].length;
    cache_.erase(uses_.back());
    uses_.pop_back();
  }
}

absl::StatusOr<std::unique_ptr<SceneWriter>> SceneWriter::Create(const std::string& dir, int shard_scenes,
                                                                 bool replace) {
  if (shard_scenes < 1) return absl::InvalidArgumentError("a shard holds at least one scene");
  SWERVE_RETURN_IF_ERROR(MakeDirectories(dir));
  const fs::path index = fs::path(dir) / kSceneIndexName;
  std::error_code ec;
  if (fs::exists(index, ec)) {
    if (!replace)
      return absl::AlreadyExistsError(
          absl::StrCat(dir, " already holds a scene data set; give another directory or remove it first"));
    fs::remove(index, ec);  // first: a reader must never see an index over new shards
  }
  for (const auto& file : fs::directory_iterator(dir, ec)) {
    std::string name = file.path().filename().string();
    if (name.rfind(kShardPrefix, 0) == 0 && file.path().extension() == ".tfrecord") fs::remove(file.path(), ec);
  }
  return std::unique_ptr<SceneWriter>(new SceneWriter(dir, shard_scenes));
}

absl::StatusOr<std::unique_ptr<SceneWriter>> SceneWriter::Rewrite(const std::string& dir, int shard_scenes) {
  if (shard_scenes < 1) return absl::InvalidArgumentError("a shard holds at least one scene");
  SWERVE_RETURN_IF_ERROR(SceneStore::Open({dir}).status());
  std::unique_ptr<SceneWriter> writer(new SceneWriter(dir, shard_scenes));
  writer->rewrites_ = true;
  std::error_code ec;
  for (const auto& file : fs::directory_iterator(dir, ec)) {
    const std::string name = file.path().filename().string();
    if (name.rfind(kShardPrefix, 0) != 0 || file.path().extension() != ".tfrecord") continue;
    writer->old_shards_.push_back(file.path().string());
    writer->first_shard_ = std::max(writer->first_shard_, std::atoi(name.c_str() + std::strlen(kShardPrefix)) + 1);
  }
  return writer;
}

SceneWriter::~SceneWriter() {
  if (!rewrites_ || finished_) return;
  std::error_code ec;
  for (const std::string& name : shard_names_) fs::remove(fs::path(dir_) / name, ec);
}

absl::Status SceneWriter::Add(const v1::Scene& scene) {
  if (finished_) return absl::FailedPreconditionError("SceneWriter::Add after Finish");
  if (scene.id().empty()) return absl::InvalidArgumentError("a scene without id cannot be stored");
  if (!by_id_.try_emplace(scene.id(), size()).second)
    return absl::InvalidArgumentError(absl::StrCat("scene ", scene.id(), " is already in ", dir_));
  SceneEntry e{scene.id(), scene.family(), scene.location(), scene.label()};
  e.shard = static_cast<int>(shard_names_.size());
  e.offset = pending_.size();
  std::string payload = scene.SerializeAsString();
  e.length = payload.size();
  AppendTfRecord(payload, &pending_);
  entries_.push_back(std::move(e));
  return ++pending_scenes_ >= shard_scenes_ ? Flush() : absl::OkStatus();
}

absl::Status SceneWriter::Flush() {
  if (pending_scenes_ == 0) return absl::OkStatus();
  std::string name = absl::StrFormat("%s%05d.tfrecord", kShardPrefix, first_shard_ + shard_names_.size());
  SWERVE_RETURN_IF_ERROR(WriteFileAtomically(absl::StrCat(dir_, "/", name), pending_));
  shard_names_.push_back(std::move(name));
  pending_.clear();
  pending_scenes_ = 0;
  return absl::OkStatus();
}

absl::Status SceneWriter::Finish() {
  if (finished_) return absl::FailedPreconditionError("SceneWriter::Finish called twice");
  SWERVE_RETURN_IF_ERROR(Flush());
  constexpr auto kReplace = json::error_handler_t::replace;
  std::string index =
      json{{"format", kFormat}, {"scenes", entries_.size()}, {"shards", shard_names_}}.dump(-1, ' ', false, kReplace) +
      "\n";
  for (const SceneEntry& e : entries_)
    index += json{{"id", e.id},         {"shard", e.shard},       {"offset", e.offset},
                  {"length", e.length}, {"family", e.family},     {"location", e.location},
                  {"label", static_cast<int>(e.label)}}
                 .dump(-1, ' ', false, kReplace) +
             "\n";
  SWERVE_RETURN_IF_ERROR(WriteFileAtomically(absl::StrCat(dir_, "/", kSceneIndexName), index));
  finished_ = true;
  std::error_code ec;
  for (const std::string& path : old_shards_) fs::remove(path, ec);
  return absl::OkStatus();
}

}  // namespace swerve
