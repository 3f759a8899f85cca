// Scene data sets on disk: TFRecord shards of v1::Scene plus an index, written once and read at random.
//
//   DIR/scenes-00000.tfrecord …  records as TensorFlow writes them (length and payload CRC32C)
//   DIR/index.jsonl              a header line, then one line per scene: id, shard, offset, length, family, …
//
// The index is written last and atomically: a directory without it is an unfinished data set and does not open.
#ifndef SWERVE_SCENES_STORE_H_
#define SWERVE_SCENES_STORE_H_

#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "base/status.h"
#include "swerve/v1/scene.pb.h"

namespace swerve {

inline constexpr char kSceneIndexName[] = "index.jsonl";

// What the index knows of a scene without reading it.
struct SceneEntry {
  std::string id;
  std::string family;
  std::string location;
  v1::SampleLabel label = v1::SAMPLE_LABEL_UNSPECIFIED;
  int shard = 0;        // number in the store
  uint64_t offset = 0;  // of the record (its length field) in the shard
  uint64_t length = 0;  // of the payload, bytes
};

// Reads one or several data sets as one. Thread-safe; Get may block on disk.
class SceneStore {
 public:
  // `cache_bytes` bounds the cached scenes by their serialised size.
  // NOT_FOUND: a directory or its index is missing. DATA_LOSS: a broken index. INVALID_ARGUMENT: an id in two places,
  // or no directory given.
  static absl::StatusOr<std::unique_ptr<SceneStore>> Open(const std::vector<std::string>& dirs,
                                                          uint64_t cache_bytes = 128 << 20);
  ~SceneStore();
  SceneStore(const SceneStore&) = delete;
  SceneStore& operator=(const SceneStore&) = delete;

  // In the order of the directories and of writing.
  const std::vector<std::string>& ids() const { return ids_; }
  const std::vector<SceneEntry>& entries() const { return entries_; }

  // NOT_FOUND: unknown id. DATA_LOSS: the record is damaged; names shard and offset. Other scenes stay readable.
  absl::StatusOr<std::shared_ptr<const v1::Scene>> Get(absl::string_view id) const ABSL_LOCKS_EXCLUDED(mu_);

 private:
  struct Shard {
    std::string path;
    int fd = -1;
  };
  struct Cached {
    std::shared_ptr<const v1::Scene> scene;
    std::list<int>::iterator use;
  };
  explicit SceneStore(uint64_t cache_bytes) : cache_bytes_(cache_bytes) {}
  absl::Status AddDirectory(const std::string& dir);
  absl::StatusOr<std::shared_ptr<const v1::Scene>> Read(const SceneEntry& entry) const;
  void Remember(int entry, const std::shared_ptr<const v1::Scene>& scene) const ABSL_LOCKS_EXCLUDED(mu_);

  const uint64_t cache_bytes_;
  std::vector<std::string> ids_;
  std::vector<SceneEntry> entries_;
  absl::flat_hash_map<std::string, int> by_id_;
  std::vector<Shard> shards_;

  mutable absl::Mutex mu_;
  mutable absl::flat_hash_map<int, Cached> cache_ ABSL_GUARDED_BY(mu_);
  mutable std::list<int> uses_ ABSL_GUARDED_BY(mu_);  // most recent first
  mutable uint64_t cached_bytes_ ABSL_GUARDED_BY(mu_) = 0;
};

// Writes one data set. Not thread-safe. Nothing is visible to readers until Finish returns OK.
class SceneWriter {
 public:
  // ALREADY_EXISTS: `dir` holds a finished data set; with `replace` it is removed first.
  static absl::StatusOr<std::unique_ptr<SceneWriter>> Create(const std::string& dir, int shard_scenes = 256,
                                                             bool replace = false);
  // Replaces the finished data set in `dir` when Finish returns OK: new shards beside the old ones, then the index in one
  // step, then the old shards go. A reader that is open keeps what it opened. Without Finish nothing has changed. One
  // writer at a time. NOT_FOUND, DATA_LOSS: as SceneStore::Open.
  static absl::StatusOr<std::unique_ptr<SceneWriter>> Rewrite(const std::string& dir, int shard_scenes = 256);
  ~SceneWriter();
  SceneWriter(const SceneWriter&) = delete;
  SceneWriter& operator=(const SceneWriter&) = delete;

  // INVALID_ARGUMENT: empty or repeated id. RESOURCE_EXHAUSTED: the disk is full.
  absl::Status Add(const v1::Scene& scene);
  // Flushes the last shard and writes the index. FAILED_PRECONDITION when called twice.
  absl::Status Finish();
  int size() const { return static_cast<int>(entries_.size()); }

 private:
  SceneWriter(std::string dir, int shard_scenes) : dir_(std::move(dir)), shard_scenes_(shard_scenes) {}
  absl::Status Flush();

  const std::string dir_;
  const int shard_scenes_;
  std::vector<SceneEntry> entries_;
  absl::flat_hash_map<std::string, int> by_id_;
  std::vector<std::string> shard_names_;
  int first_shard_ = 0;                   // number of the first one
  std::vector<std::string> old_shards_;  // paths, to be removed by Finish
  bool rewrites_ = false;
  std::string pending_;
  int pending_scenes_ = 0;
  bool finished_ = false;
};

}  // namespace swerve

#endif  // SWERVE_SCENES_STORE_H_
