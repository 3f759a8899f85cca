#include "buffers/sqlite_buffers.h"

#include <limits>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "buffers/sqlite_db.h"

namespace swerve {
namespace {

constexpr int kBusyMs = 10000;
constexpr char kSchema[] =
    "CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);"
    // `grp` is the group. An acknowledged row keeps its identity and loses its bytes.
    "CREATE TABLE IF NOT EXISTS episodes (grp INTEGER PRIMARY KEY, scene TEXT NOT NULL, attempt INTEGER NOT NULL,"
    " acked INTEGER NOT NULL DEFAULT 0, bytes BLOB NOT NULL);"
    "CREATE INDEX IF NOT EXISTS waiting ON episodes (grp) WHERE acked = 0;"
    "CREATE TABLE IF NOT EXISTS difficulty (scene TEXT PRIMARY KEY, bytes BLOB NOT NULL);";

template <typename Message>
absl::StatusOr<Message> Parse(const std::string& bytes, const std::string& what) {
  Message message;
  if (!message.ParseFromString(bytes)) {
    return absl::DataLossError(absl::StrCat("buffers: the record of ", what, " cannot be read"));
  }
  return message;
}

class SqliteBuffers final : public Buffers, public EpisodeStore, public DifficultyStore {
 public:
  SqliteBuffers(std::unique_ptr<SqliteDb> db, std::string run_id) : run_id_(std::move(run_id)), db_(std::move(db)) {}
  EpisodeStore& episodes() override { return *this; }
  DifficultyStore& difficulty() override { return *this; }

  absl::Status Init();

  absl::Status Append(const v1::Episode& episode) override;
  absl::StatusOr<std::vector<v1::Episode>> Read(uint64_t min_group, int max) override;
  absl::Status Ack(absl::Span<const uint64_t> groups) override;
  absl::StatusOr<EpisodeStats> Stats() override;

  absl::Status Update(absl::string_view scene_id, const GroupOutcome& outcome) override;
  absl::StatusOr<v1::DifficultyRecord> Get(absl::string_view scene_id) override;
  absl::StatusOr<std::vector<v1::DifficultyRecord>> All() override;

 private:
  absl::StatusOr<v1::DifficultyRecord> GetLocked(absl::string_view scene_id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const std::string run_id_;
  absl::Mutex mu_;  // one connection, one user at a time
  const std::unique_ptr<SqliteDb> db_ ABSL_PT_GUARDED_BY(mu_);
};

absl::Status SqliteBuffers::Init() {
  absl::MutexLock lock(&mu_);
  return db_->Write([&]() ABSL_NO_THREAD_SAFETY_ANALYSIS -> absl::Status {
    SWERVE_RETURN_IF_ERROR(db_->Execute(kSchema));
    SqliteStatement put(db_->get(), "INSERT OR IGNORE INTO meta VALUES ('run_id', ?)");
    SWERVE_RETURN_IF_ERROR(put.BindText(1, run_id_).Run());
    SqliteStatement get(db_->get(), "SELECT value FROM meta WHERE name = 'run_id'");
    SWERVE_RETURN_IF_ERROR(get.Step().status());
    if (get.Bytes(0) != run_id_) {
      return absl::FailedPreconditionError(absl::StrCat("buffers: the file holds run ", get.Bytes(0), ", not ", run_id_,
                                                        "; give each run a file of its own"));
    }
    return absl::OkStatus();
  });
}

absl::Status SqliteBuffers::Append(const v1::Episode& episode) {
  if (episode.run_id().empty() || episode.scene_id().empty()) {
    return absl::InvalidArgumentError("Append: Episode.run_id and scene_id must be set");
  }
  if (episode.run_id() != run_id_) {
    return absl::FailedPreconditionError(
        absl::StrCat("Append: the episode is of run ", episode.run_id(), ", the store of ", run_id_));
  }
  if (episode.group() > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
    return absl::InvalidArgumentError("Append: Episode.group is beyond 2^63");
  }
  const std::string bytes = episode.SerializeAsString();
  const int64_t group = static_cast<int64_t>(episode.group());
  absl::MutexLock lock(&mu_);
  return db_->Write([&]() ABSL_NO_THREAD_SAFETY_ANALYSIS -> absl::Status {
    SqliteStatement find(db_->get(), "SELECT scene, attempt FROM episodes WHERE grp = ?");
    SWERVE_ASSIGN_OR_RETURN(const bool stored, find.Bind(1, group).Step());
    if (stored) {
      if (find.Bytes(0) == episode.scene_id() && find.Int(1) == episode.attempt()) return absl::OkStatus();
      return absl::AlreadyExistsError(absl::StrCat("group ", group, " is stored already (scene ", find.Bytes(0),
                                                   ", attempt ", find.Int(1), ")"));
    }
    SqliteStatement put(db_->get(), "INSERT INTO episodes (grp, scene, attempt, bytes) VALUES (?, ?, ?, ?)");
    return put.Bind(1, group).BindText(2, episode.scene_id()).Bind(3, episode.attempt()).BindBlob(4, bytes).Run();
  });
}

absl::StatusOr<std::vector<v1::Episode>> SqliteBuffers::Read(uint64_t min_group, int max) {
  std::vector<v1::Episode> episodes;
  if (max <= 0 || min_group > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) return episodes;
  absl::MutexLock lock(&mu_);
  SqliteStatement query(db_->get(),
                        "SELECT grp, bytes FROM episodes WHERE acked = 0 AND grp >= ? ORDER BY grp LIMIT ?");
  query.Bind(1, static_cast<int64_t>(min_group)).Bind(2, max);
  while (true) {
    SWERVE_ASSIGN_OR_RETURN(const bool row, query.Step());
    if (!row) return episodes;
    SWERVE_ASSIGN_OR_RETURN(v1::Episode episode,
                            Parse<v1::Episode>(query.Bytes(1), absl::StrCat("group ", query.Int(0))));
    episodes.push_back(std::move(episode));
  }
}

absl::Status SqliteBuffers::Ack(absl::Span<const uint64_t> groups) {
  absl::MutexLock lock(&mu_);
  return db_->Write([&]() ABSL_NO_THREAD_SAFETY_ANALYSIS -> absl::Status {
    SqliteStatement mark(db_->get(), "UPDATE episodes SET acked = 1, bytes = x'' WHERE grp = ?");
    for (const uint64_t group : groups) {
      mark.Reset();
      SWERVE_RETURN_IF_ERROR(mark.Bind(1, static_cast<int64_t>(group)).Run());
      if (sqlite3_changes(db_->get()) == 0) {
        return absl::NotFoundError(absl::StrCat("Ack: group ", group, " was never stored"));
      }
    }
    return absl::OkStatus();
  });
}

absl::StatusOr<EpisodeStats> SqliteBuffers::Stats() {
  absl::MutexLock lock(&mu_);
  SqliteStatement query(db_->get(), "SELECT COUNT(*), COALESCE(SUM(acked), 0) FROM episodes");
  SWERVE_RETURN_IF_ERROR(query.Step().status());
  return EpisodeStats{static_cast<uint64_t>(query.Int(0)), static_cast<uint64_t>(query.Int(1))};
}

absl::StatusOr<v1::DifficultyRecord> SqliteBuffers::GetLocked(absl::string_view scene_id) {
  SqliteStatement query(db_->get(), "SELECT bytes FROM difficulty WHERE scene = ?");
  SWERVE_ASSIGN_OR_RETURN(const bool row, query.BindText(1, scene_id).Step());
  if (!row) return absl::NotFoundError(absl::StrCat("difficulty: scene ", scene_id, " was never scored"));
  return Parse<v1::DifficultyRecord>(query.Bytes(0), std::string(scene_id));
}

absl::Status SqliteBuffers::Update(absl::string_view scene_id, const GroupOutcome& outcome) {
  if (outcome.r_traj.empty()) return absl::OkStatus();
  absl::MutexLock lock(&mu_);
  return db_->Write([&]() ABSL_NO_THREAD_SAFETY_ANALYSIS -> absl::Status {
    v1::DifficultyRecord record;
    auto stored = GetLocked(scene_id);
    if (stored.ok()) {
      record = *std::move(stored);
    } else if (!absl::IsNotFound(stored.status())) {
      return stored.status();
    }
    record.set_scene_id(std::string(scene_id));
    AddOutcome(outcome, &record);
    const std::string bytes = record.SerializeAsString();
    SqliteStatement put(db_->get(), "INSERT OR REPLACE INTO difficulty VALUES (?, ?)");
    return put.BindText(1, scene_id).BindBlob(2, bytes).Run();
  });
}

absl::StatusOr<v1::DifficultyRecord> SqliteBuffers::Get(absl::string_view scene_id) {
  absl::MutexLock lock(&mu_);
  return GetLocked(scene_id);
}

absl::StatusOr<std::vector<v1::DifficultyRecord>> SqliteBuffers::All() {
  std::vector<v1::DifficultyRecord> records;
  absl::MutexLock lock(&mu_);
  SqliteStatement query(db_->get(), "SELECT scene, bytes FROM difficulty ORDER BY scene");
  while (true) {
    SWERVE_ASSIGN_OR_RETURN(const bool row, query.Step());
    if (!row) return records;
    SWERVE_ASSIGN_OR_RETURN(v1::DifficultyRecord record, Parse<v1::DifficultyRecord>(query.Bytes(1), query.Bytes(0)));
    records.push_back(std::move(record));
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<Buffers>> OpenSqliteBuffers(const std::string& path, const std::string& run_id) {
  if (run_id.empty()) return absl::InvalidArgumentError("buffers: the run id is empty");
  SWERVE_ASSIGN_OR_RETURN(std::unique_ptr<SqliteDb> db, SqliteDb::Open(path, kBusyMs));
  auto buffers = std::make_unique<SqliteBuffers>(std::move(db), run_id);
  SWERVE_RETURN_IF_ERROR(buffers->Init());
  return buffers;
}

}  // namespace swerve
