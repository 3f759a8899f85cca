#include "teacher_gateway/gateway_store.h"

#include <spdlog/spdlog.h>

#include <cmath>
#include <utility>

#include "base/sha256.h"
#include "teacher_gateway/metrics.h"

namespace swerve {
namespace {

constexpr int kBusyMs = 10'000;
constexpr char kSchema[] =
    "CREATE TABLE IF NOT EXISTS reports (id TEXT PRIMARY KEY, used INTEGER NOT NULL, size INTEGER NOT NULL,"
    " bytes BLOB NOT NULL) WITHOUT ROWID;"
    "CREATE INDEX IF NOT EXISTS reports_used ON reports (used);"
    "CREATE TABLE IF NOT EXISTS spent (teacher TEXT PRIMARY KEY, tokens INTEGER NOT NULL, nano INTEGER NOT NULL)"
    " WITHOUT ROWID;";
constexpr double kNano = 1e9;  // money is kept in thousand-millionths: whole numbers add up exactly

}  // namespace

absl::StatusOr<std::unique_ptr<GatewayStore>> GatewayStore::Open(const std::string& path, int64_t max_bytes) {
  SWERVE_ASSIGN_OR_RETURN(std::unique_ptr<SqliteDb> db, SqliteDb::Open(path, kBusyMs));
  std::unique_ptr<GatewayStore> store(new GatewayStore(std::move(db), max_bytes));
  SWERVE_RETURN_IF_ERROR(store->Init());
  return store;
}

absl::Status GatewayStore::Init() {
  absl::MutexLock lock(&mu_);
  // The last reports before a loss of power can be asked for again.
  SWERVE_RETURN_IF_ERROR(db_->Execute("PRAGMA synchronous=NORMAL"));
  SWERVE_RETURN_IF_ERROR(db_->Write([&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return db_->Execute(kSchema); }));
  SqliteStatement sums(db_->get(), "SELECT COALESCE(SUM(size), 0), COALESCE(MAX(used), 0) FROM reports");
  SWERVE_RETURN_IF_ERROR(sums.Step().status());
  bytes_ = sums.Int(0);
  uses_ = sums.Int(1);
  return db_->Write([&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return Evict(); });
}

void GatewayStore::Tell(const absl::Status& status) {
  if (status.ok()) return;
  TeacherMetrics::StoreErrors().Increment();
  if (std::exchange(told_, true)) return;
  spdlog::warn("reports and spending are not being kept on disk: {}", std::string(status.message()));
}

absl::StatusOr<std::optional<v1::Feedback>> GatewayStore::GetLocked(const std::string& id) {
  SqliteStatement get(db_->get(), "SELECT bytes FROM reports WHERE id = ?");
  SWERVE_ASSIGN_OR_RETURN(const bool found, get.BindText(1, id).Step());
  if (!found) return std::optional<v1::Feedback>();
  v1::Feedback feedback;
  if (!feedback.ParseFromString(get.Bytes(0))) return std::optional<v1::Feedback>();  // Put replaces it
  SqliteStatement touch(db_->get(), "UPDATE reports SET used = ? WHERE id = ?");
  SWERVE_RETURN_IF_ERROR(touch.Bind(1, ++uses_).BindText(2, id).Run());
  return std::optional<v1::Feedback>(std::move(feedback));
}

std::optional<v1::Feedback> GatewayStore::Get(const std::string& key) {
  if (max_bytes_ <= 0) return std::nullopt;
  const std::string id = Sha256(key);
  absl::MutexLock lock(&mu_);
  auto feedback = GetLocked(id);
  Tell(feedback.status());
  return feedback.ok() ? *std::move(feedback) : std::nullopt;
}

absl::Status GatewayStore::PutLocked(const std::string& id, const v1::Feedback& feedback) {
  const std::string bytes = feedback.SerializeAsString();
  const int64_t size = static_cast<int64_t>(bytes.size() + id.size());
  if (size > max_bytes_) return absl::OkStatus();
  SqliteStatement old(db_->get(), "SELECT size FROM reports WHERE id = ?");
  SWERVE_ASSIGN_OR_RETURN(const bool replaced, old.BindText(1, id).Step());
  const int64_t freed = replaced ? old.Int(0) : 0;
  SqliteStatement put(db_->get(), "INSERT OR REPLACE INTO reports VALUES (?, ?, ?, ?)");
  SWERVE_RETURN_IF_ERROR(put.BindText(1, id).Bind(2, ++uses_).Bind(3, size).BindBlob(4, bytes).Run());
  bytes_ += size - freed;
  return Evict();
}

absl::Status GatewayStore::Evict() {
  while (bytes_ > max_bytes_) {
    SqliteStatement oldest(db_->get(), "SELECT used, size FROM reports ORDER BY used LIMIT 1");
    SWERVE_ASSIGN_OR_RETURN(const bool found, oldest.Step());
    if (!found) {
      bytes_ = 0;
      break;
    }
    const int64_t used = oldest.Int(0), size = oldest.Int(1);
    oldest.Reset();
    SqliteStatement drop(db_->get(), "DELETE FROM reports WHERE used = ?");
    SWERVE_RETURN_IF_ERROR(drop.Bind(1, used).Run());
    bytes_ -= size;
  }
  TeacherMetrics::CacheBytes().Set(static_cast<double>(bytes_));
  return absl::OkStatus();
}

void GatewayStore::Put(const std::string& key, const v1::Feedback& feedback) {
  if (max_bytes_ <= 0) return;
  const std::string id = Sha256(key);
  absl::MutexLock lock(&mu_);
  const int64_t before = bytes_;
  const absl::Status status =
      db_->Write([&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return PutLocked(id, feedback); });
  if (!status.ok()) bytes_ = before;  // rolled back
  Tell(status);
}

Cost GatewayStore::Spent(const std::string& teacher) {
  absl::MutexLock lock(&mu_);
  SqliteStatement get(db_->get(), "SELECT tokens, nano FROM spent WHERE teacher = ?");
  const auto found = get.BindText(1, teacher).Step();
  Tell(found.status());
  if (!found.ok() || !*found) return Cost();
  return Cost{static_cast<double>(get.Int(0)), static_cast<double>(get.Int(1)) / kNano};
}

void GatewayStore::AddSpent(const std::string& teacher, const Cost& cost) {
  if (cost.tokens == 0 && cost.money == 0) return;
  absl::MutexLock lock(&mu_);
  SqliteStatement add(db_->get(),
                      "INSERT INTO spent VALUES (?1, ?2, ?3) ON CONFLICT (teacher) DO UPDATE SET"
                      " tokens = tokens + ?2, nano = nano + ?3");
  Tell(add.BindText(1, teacher).Bind(2, std::llround(cost.tokens)).Bind(3, std::llround(cost.money * kNano)).Run());
}

int64_t GatewayStore::bytes() const {
  absl::MutexLock lock(&mu_);
  return bytes_;
}

}  // namespace swerve
