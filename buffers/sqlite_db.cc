#include "buffers/sqlite_db.h"

#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace swerve {

absl::Status SqliteStatus(int code, sqlite3* db) {
  if (code == SQLITE_OK || code == SQLITE_DONE || code == SQLITE_ROW) return absl::OkStatus();
  const char* file = db == nullptr ? nullptr : sqlite3_db_filename(db, "main");
  const std::string message = absl::StrCat("sqlite ", file == nullptr ? "" : file, ": ",
                                           db == nullptr ? sqlite3_errstr(code) : sqlite3_errmsg(db));
  switch (code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED: return absl::UnavailableError(absl::StrCat(message, " (another process holds it; try again)"));
    case SQLITE_FULL: return absl::ResourceExhaustedError(message);
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB: return absl::DataLossError(absl::StrCat(message, "; move the file away to start afresh"));
    case SQLITE_CANTOPEN: return absl::NotFoundError(absl::StrCat(message, "; does its directory exist?"));
    case SQLITE_PERM:
    case SQLITE_READONLY: return absl::PermissionDeniedError(message);
    default: return absl::InternalError(message);
  }
}

SqliteStatement::SqliteStatement(sqlite3* db, const char* sql) : db_(db) {
  error_ = sqlite3_prepare_v2(db, sql, -1, &statement_, nullptr);
}

SqliteStatement& SqliteStatement::Bind(int place, int64_t value) {
  if (error_ == SQLITE_OK) error_ = sqlite3_bind_int64(statement_, place, value);
  return *this;
}

SqliteStatement& SqliteStatement::BindText(int place, absl::string_view text) {
  if (error_ == SQLITE_OK) {
    error_ = sqlite3_bind_text(statement_, place, text.data(), static_cast<int>(text.size()), SQLITE_TRANSIENT);
  }
  return *this;
}

SqliteStatement& SqliteStatement::BindBlob(int place, absl::string_view bytes) {
  if (error_ == SQLITE_OK) {
    error_ = sqlite3_bind_blob(statement_, place, bytes.data(), static_cast<int>(bytes.size()), SQLITE_TRANSIENT);
  }
  return *this;
}

absl::StatusOr<bool> SqliteStatement::Step() {
  if (error_ != SQLITE_OK) return SqliteStatus(error_, db_);
  const int code = sqlite3_step(statement_);
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  return SqliteStatus(code, db_);
}

absl::Status SqliteStatement::Run() { return Step().status(); }

void SqliteStatement::Reset() {
  sqlite3_reset(statement_);
  sqlite3_clear_bindings(statement_);
}

std::string SqliteStatement::Bytes(int column) const {
  const void* data = sqlite3_column_blob(statement_, column);
  const int size = sqlite3_column_bytes(statement_, column);
  return data == nullptr ? std::string() : std::string(static_cast<const char*>(data), size);
}

absl::StatusOr<std::unique_ptr<SqliteDb>> SqliteDb::Open(const std::string& path, int busy_ms) {
  sqlite3* handle = nullptr;
  const int code =
      sqlite3_open_v2(path.c_str(), &handle, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, nullptr);
  std::unique_ptr<SqliteDb> db(new SqliteDb(handle));
  if (code != SQLITE_OK) return Annotate(SqliteStatus(code, handle), path);
  sqlite3_busy_timeout(handle, busy_ms);
  // Switching to WAL does not go through the busy handler when another process switches or recovers at the same time.
  const absl::Time deadline = absl::Now() + absl::Milliseconds(busy_ms);
  absl::Status wal;
  while (absl::IsUnavailable(wal = db->Execute("PRAGMA journal_mode=WAL")) && absl::Now() < deadline) {
    absl::SleepFor(absl::Milliseconds(5));
  }
  SWERVE_RETURN_IF_ERROR(wal);
  SWERVE_RETURN_IF_ERROR(db->Execute("PRAGMA synchronous=FULL"));
  return db;
}

absl::Status SqliteDb::Execute(const char* sql) {
  return SqliteStatus(sqlite3_exec(db_, sql, nullptr, nullptr, nullptr), db_);
}

absl::Status SqliteDb::Write(const std::function<absl::Status()>& body) {
  // IMMEDIATE: take the write lock before reading, so that no transaction has to be upgraded and fail.
  SWERVE_RETURN_IF_ERROR(Execute("BEGIN IMMEDIATE"));
  absl::Status status = body();
  if (status.ok()) status = Execute("COMMIT");
  if (!status.ok() && sqlite3_get_autocommit(db_) == 0) Execute("ROLLBACK").IgnoreError();
  return status;
}

}  // namespace swerve
