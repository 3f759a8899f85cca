// The little of SQLite's C interface the buffers need, with status codes and RAII. Not thread-safe: one connection is
// used under its owner's mutex.
#ifndef SWERVE_BUFFERS_SQLITE_DB_H_
#define SWERVE_BUFFERS_SQLITE_DB_H_

#include <sqlite3.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/strings/string_view.h"
#include "base/status.h"

namespace swerve {

// A prepared statement, finalised on destruction. Bind by 1-based place, then Step.
class SqliteStatement {
 public:
  SqliteStatement(sqlite3* db, const char* sql);
  ~SqliteStatement() { sqlite3_finalize(statement_); }
  SqliteStatement(const SqliteStatement&) = delete;
  SqliteStatement& operator=(const SqliteStatement&) = delete;

  SqliteStatement& Bind(int place, int64_t value);
  SqliteStatement& BindText(int place, absl::string_view text);
  SqliteStatement& BindBlob(int place, absl::string_view bytes);
  // True: a row is there. False: done. A failed prepare or bind is reported here.
  absl::StatusOr<bool> Step();
  absl::Status Run();  // Step for statements without rows
  void Reset();        // to bind and step again

  int64_t Int(int column) const { return sqlite3_column_int64(statement_, column); }
  std::string Bytes(int column) const;

 private:
  sqlite3* const db_;
  sqlite3_stmt* statement_ = nullptr;
  int error_ = SQLITE_OK;
};

class SqliteDb {
 public:
  // Opens or makes the file in WAL mode with synchronous=FULL; writers wait `busy_ms` for each other.
  static absl::StatusOr<std::unique_ptr<SqliteDb>> Open(const std::string& path, int busy_ms);
  ~SqliteDb() { sqlite3_close_v2(db_); }
  SqliteDb(const SqliteDb&) = delete;
  SqliteDb& operator=(const SqliteDb&) = delete;

  sqlite3* get() const { return db_; }
  absl::Status Execute(const char* sql);
  // Runs `body` in a write transaction: commits when it returns OK, else rolls back.
  absl::Status Write(const std::function<absl::Status()>& body);

 private:
  explicit SqliteDb(sqlite3* db) : db_(db) {}
  sqlite3* const db_;
};

// Status of a SQLite result code, with the connection's message and file.
absl::Status SqliteStatus(int code, sqlite3* db);

}  // namespace swerve

#endif  // SWERVE_BUFFERS_SQLITE_DB_H_
