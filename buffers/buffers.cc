#include "buffers/buffers.h"

#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "base/files.h"
#include "base/random.h"
#include "base/redis_url.h"
#include "buffers/redis_buffers.h"
#include "buffers/sqlite_buffers.h"

namespace swerve {
namespace {

// Differs between processes and calls.
uint64_t FreshSeed() {
  static uint64_t calls = 0;
  return StreamSeed(static_cast<uint64_t>(absl::GetCurrentTimeNanos()), static_cast<uint64_t>(getpid()),
                    __atomic_add_fetch(&calls, 1, __ATOMIC_RELAXED));
}

absl::StatusOr<std::string> PasswordOf(const RedisUrl& url, const v1::BuffersConfig& config) {
  if (!url.password.empty()) return url.password;
  if (!config.password_file().empty()) {
    absl::StatusOr<std::string> text = ReadFile(config.password_file());
    if (!text.ok()) return Annotate(text.status(), "buffers.password_file");
    while (!text->empty() && (text->back() == '\n' || text->back() == '\r')) text->pop_back();
    if (text->empty()) return absl::InvalidArgumentError("buffers.password_file: the file is empty");
    return text;
  }
  const char* variable = std::getenv(kRedisPasswordVariable);
  return std::string(variable == nullptr ? "" : variable);
}

// The run directory's mark, made by whichever role is first.
absl::StatusOr<std::string> OwnerOf(const std::string& run_dir) {
  SWERVE_RETURN_IF_ERROR(MakeDirectories(run_dir));
  const std::string path = run_dir + "/buffers.owner";
  const std::string mine = absl::StrCat(path, ".", getpid(), ".", absl::Hex(FreshSeed()));
  SWERVE_RETURN_IF_ERROR(WriteFileAtomically(mine, absl::StrCat(absl::Hex(FreshSeed()), "\n")));
  const int linked = link(mine.c_str(), path.c_str());
  const int error = errno;
  unlink(mine.c_str());
  if (linked != 0 && error != EEXIST) return ErrnoStatus(error, "make", path);
  return ReadFile(path);
}

absl::StatusOr<std::unique_ptr<Buffers>> OpenRedis(const v1::BuffersConfig& config, const std::string& run_dir,
                                                   const std::string& run_id) {
  RedisBuffersOptions options;
  SWERVE_ASSIGN_OR_RETURN(RedisUrl url, ParseRedisUrl(config.url()));
  SWERVE_ASSIGN_OR_RETURN(url.password, PasswordOf(url, config));
  SWERVE_ASSIGN_OR_RETURN(options.owner, OwnerOf(run_dir));
  options.client.connection.url = std::move(url);
  options.client.patience = absl::Seconds(config.patience_seconds());
  options.client.seed = FreshSeed();
  options.run_id = run_id;
  options.allow_volatile = config.allow_volatile();
  options.max_waiting_bytes = static_cast<uint64_t>(config.max_waiting_mb()) << 20;
  return OpenRedisBuffers(std::move(options));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Buffers>> OpenBuffers(const v1::BuffersConfig& config, const std::string& run_dir,
                                                     const std::string& run_id) {
  const std::string& url = config.url();
  if (url == "sqlite") {
    SWERVE_RETURN_IF_ERROR(MakeDirectories(run_dir));
    return OpenSqliteBuffers(run_dir + "/buffers.sqlite", run_id);
  }
  absl::string_view rest = url;
  if (absl::ConsumePrefix(&rest, "sqlite:///")) return OpenSqliteBuffers(absl::StrCat("/", rest), run_id);
  if (IsRedisUrl(url)) return OpenRedis(config, run_dir, run_id);
  return absl::InvalidArgumentError(
      absl::StrCat("buffers.url: \"", WithoutPasswords(url),
                   "\" is unknown; use sqlite, sqlite:///absolute/path, redis://host:port/db or unix:///path"));
}

absl::StatusOr<std::unique_ptr<Buffers>> OpenBuffers(const std::string& url, const std::string& run_dir,
                                                     const std::string& run_id) {
  v1::BuffersConfig config;
  config.set_url(url);
  return OpenBuffers(config, run_dir, run_id);
}

void ExportRedisPassword(v1::BuffersConfig* config) {
  if (!IsRedisUrl(config->url())) return;
  const absl::StatusOr<RedisUrl> url = ParseRedisUrl(config->url());
  if (!url.ok() || url->password.empty()) return;
  setenv(kRedisPasswordVariable, url->password.c_str(), 1);
  config->set_url(url->ToString());
}

}  // namespace swerve
