#include "buffers/redis_buffers.h"

#include <openssl/sha.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <atomic>
#include <random>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "buffers/redis_appends.h"
#include "buffers/redis_scripts.h"
#include "buffers/redis_settings.h"

namespace swerve {
namespace {

constexpr int kUpdateAttempts = 1000;
constexpr int kRememberUpdateSeconds = 3600;  // far beyond the time in which a lost reply makes a client repeat

std::string Hex(uint64_t group) { return absl::StrFormat("%016x", group); }

uint64_t FreshId() {
  std::random_device device;
  return uint64_t{device()} << 32 | device();
}

std::string Sha1(absl::string_view text) {
  unsigned char digest[SHA_DIGEST_LENGTH];
  SHA1(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest);
  return absl::BytesToHexString(absl::string_view(reinterpret_cast<const char*>(digest), sizeof digest));
}

absl::Status Unexpected(absl::string_view command) {
  return absl::InternalError(absl::StrCat("redis: ", command, " was answered with a reply of an unexpected kind"));
}

std::string Identity(const v1::Episode& episode) { return absl::StrCat(episode.attempt(), " ", episode.scene_id()); }

absl::StatusOr<int> MajorVersion(RedisConnection& connection) {
  SWERVE_ASSIGN_OR_RETURN(const RedisReply info, connection.Run({"INFO", "server"}));
  const std::string text(TextOf(*info));
  const size_t at = text.find("redis_version:");
  int major = 0;
  if (at == std::string::npos || !absl::SimpleAtoi(text.substr(at + 14, text.find('.', at) - at - 14), &major)) {
    return Unexpected("INFO server");
  }
  return major;
}

absl::StatusOr<std::map<std::string, std::string>> SettingsOf(RedisConnection& connection) {
  RedisCommand command = {"CONFIG", "GET"};
  command.insert(command.end(), std::begin(kRedisSettings), std::end(kRedisSettings));
  SWERVE_ASSIGN_OR_RETURN(const RedisReply reply, connection.Run(command));
  std::map<std::string, std::string> settings;
  if (reply->type != REDIS_REPLY_ARRAY) return Unexpected("CONFIG GET");
  for (size_t i = 0; i + 1 < reply->elements; i += 2) {
    settings[std::string(TextOf(*reply->element[i]))] = std::string(TextOf(*reply->element[i + 1]));
  }
  return settings;
}

class RedisBuffers final : public Buffers, public EpisodeStore, public DifficultyStore {
 public:
  explicit RedisBuffers(RedisBuffersOptions options);
  EpisodeStore& episodes() override { return *this; }
  DifficultyStore& difficulty() override { return *this; }

  // Connects, and claims the run for the owner.
  absl::Status Init();

  absl::Status Append(const v1::Episode& episode) override;
  absl::StatusOr<std::vector<v1::Episode>> Read(uint64_t min_group, int max) override;
  absl::Status Ack(absl::Span<const uint64_t> groups) override;
  absl::StatusOr<EpisodeStats> Stats() override;

  absl::Status Update(absl::string_view scene_id, const GroupOutcome& outcome) override;
  absl::StatusOr<v1::DifficultyRecord> Get(absl::string_view scene_id) override;
  absl::StatusOr<std::vector<v1::DifficultyRecord>> All() override;

 private:
  struct Script {
    explicit Script(const char* text) : text(text), sha(Sha1(text)) {}
    const char* text;
    std::string sha;
  };
  std::string Key(absl::string_view name) const { return absl::StrCat("swerve:{", options_.run_id, "}:", name); }
  absl::Status Prepare(RedisConnection& connection);
  absl::StatusOr<std::string> Record(absl::string_view scene_id);
  absl::StatusOr<v1::DifficultyRecord> ParseRecord(absl::string_view scene_id, absl::string_view bytes) const;
  absl::Status StillWaiting(const std::vector<std::string>& names);
  absl::Status Fetch(const std::vector<std::string>& names, std::vector<v1::Episode>* episodes);

  const RedisBuffersOptions options_;
  const Script append_{kAppendScript}, ack_{kAckScript}, stats_{kStatsScript}, update_{kUpdateScript};
  const std::string ids_, waiting_, bytes_, episode_, difficulty_;
  const uint64_t self_ = FreshId();  // tells this store's updates from those of all others
  std::atomic<uint64_t> updates_{0};
  std::atomic<bool> warned_{false};
  RedisClient client_;
  RedisAppends appends_;
};

RedisBuffers::RedisBuffers(RedisBuffersOptions options)
    : options_(std::move(options)),
      ids_(Key("ids")),
      waiting_(Key("waiting")),
      bytes_(Key("bytes")),
      episode_(Key("e:")),
      difficulty_(Key("difficulty")),
      client_([this] {
        RedisClient::Options client = options_.client;
        client.prepare = [this](RedisConnection& connection) {
          const std::string where = options_.client.connection.url.ToString();
          const absl::Status status = Prepare(connection);
          return absl::StartsWith(status.message(), where) ? status : Annotate(status, where);
        };
        return client;
      }()),
      appends_(&client_, Key(""), append_.sha, options_.max_waiting_bytes) {}

absl::Status RedisBuffers::Prepare(RedisConnection& connection) {
  SWERVE_ASSIGN_OR_RETURN(const int major, MajorVersion(connection));
  if (major < 7) {
    return absl::FailedPreconditionError(absl::StrCat("the server is Redis ", major, "; Redis 7 is needed"));
  }
  SWERVE_ASSIGN_OR_RETURN(const auto settings, SettingsOf(connection));
  std::vector<std::string> warnings;
  SWERVE_RETURN_IF_ERROR(CheckRedisSettings(settings, options_.allow_volatile, &warnings));
  if (!warned_.exchange(true)) {
    const std::string where = options_.client.connection.url.ToString();
    for (const std::string& warning : warnings) spdlog::warn("{}: {}", where, warning);
  }
  SWERVE_RETURN_IF_ERROR(connection.Run({"CLIENT", "SETNAME", "swerve"}).status());
  for (const Script* script : {&append_, &ack_, &stats_, &update_}) {
    SWERVE_RETURN_IF_ERROR(connection.Run({"SCRIPT", "LOAD", script->text}).status());
  }
  return absl::OkStatus();
}

absl::Status RedisBuffers::Init() {
  if (options_.owner.empty()) return Stats().status();
  const std::string key = Key("owner");
  SWERVE_RETURN_IF_ERROR(client_.Run({"SET", key, options_.owner, "NX"}).status());
  SWERVE_ASSIGN_OR_RETURN(const RedisReply held, client_.Run({"GET", key}));
  if (TextOf(*held) == options_.owner) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      options_.client.connection.url.ToString(), ": run ", options_.run_id,
      " is stored there for another run directory; use another db, or delete what that run left (docs/redis.md)"));
}

absl::Status RedisBuffers::Append(const v1::Episode& episode) {
  if (episode.run_id().empty() || episode.scene_id().empty()) {
    return absl::InvalidArgumentError("Append: Episode.run_id and scene_id must be set");
  }
  if (episode.run_id() != options_.run_id) {
    return absl::FailedPreconditionError(
        absl::StrCat("Append: the episode is of run ", episode.run_id(), ", the store of ", options_.run_id));
  }
  std::string bytes = episode.SerializeAsString();
  if (bytes.size() > options_.max_waiting_bytes) {
    return absl::InvalidArgumentError(absl::StrCat("Append: group ", episode.group(), " has ", bytes.size(),
                                                   " bytes, more than buffers.max_waiting_mb allows in all"));
  }
  return appends_.Append(episode.group(), Identity(episode), std::move(bytes));
}

// Episodes ("GROUP attempt scene") whose bytes were not there: acknowledged since they were listed, or the store is
// damaged.
absl::Status RedisBuffers::StillWaiting(const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    SWERVE_ASSIGN_OR_RETURN(const RedisReply score, client_.Run({"ZSCORE", waiting_, name}));
    if (score->type != REDIS_REPLY_NIL) {
      return absl::DataLossError(absl::StrCat("redis: the episode of group 0x", name, " is listed but not there"));
    }
  }
  return absl::OkStatus();
}

absl::Status RedisBuffers::Fetch(const std::vector<std::string>& names, std::vector<v1::Episode>* episodes) {
  std::vector<RedisCommand> commands;
  for (const std::string& name : names) commands.push_back({"GET", episode_ + name});
  episodes->resize(names.size());
  std::vector<absl::Status> read(names.size());
  std::vector<char> there(names.size());
  // One reply each, parsed as it comes: a batch in one reply would be in memory three times.
  SWERVE_RETURN_IF_ERROR(client_.RunEach(std::move(commands), [&](size_t i, const redisReply& reply) {
    read[i] = StatusOf(reply);
    there[i] = reply.type != REDIS_REPLY_NIL;
    if (reply.type == REDIS_REPLY_STRING && !(*episodes)[i].ParseFromArray(reply.str, static_cast<int>(reply.len))) {
      read[i] = absl::DataLossError(absl::StrCat("redis: the episode of group 0x", names[i], " cannot be read"));
    }
  }));
  std::vector<std::string> gone;
  size_t kept = 0;
  for (size_t i = 0; i < names.size(); ++i) {
    SWERVE_RETURN_IF_ERROR(read[i]);
    if (!there[i]) {
      gone.push_back(names[i]);
    } else if (kept++ != i) {
      (*episodes)[kept - 1] = std::move((*episodes)[i]);
    }
  }
  episodes->resize(kept);
  return StillWaiting(gone);
}

absl::StatusOr<std::vector<v1::Episode>> RedisBuffers::Read(uint64_t min_group, int max) {
  std::vector<v1::Episode> episodes;
  if (max <= 0) return episodes;
  SWERVE_ASSIGN_OR_RETURN(const RedisReply listed,
                          client_.Run({"ZRANGE", waiting_, absl::StrCat("[", Hex(min_group)), "+", "BYLEX", "LIMIT",
                                       "0", absl::StrCat(max)}));
  if (listed->type != REDIS_REPLY_ARRAY) return Unexpected("ZRANGE");
  std::vector<std::string> names;
  for (size_t i = 0; i < listed->elements; ++i) names.emplace_back(TextOf(*listed->element[i]));
  SWERVE_RETURN_IF_ERROR(Fetch(names, &episodes));
  return episodes;
}

absl::Status RedisBuffers::Ack(absl::Span<const uint64_t> groups) {
  if (groups.empty()) return absl::OkStatus();
  RedisCommand command = {"EVALSHA", ack_.sha, "4", ids_, waiting_, bytes_, episode_};
  for (const uint64_t group : groups) command.push_back(Hex(group));
  SWERVE_ASSIGN_OR_RETURN(const RedisReply reply, client_.Run(std::move(command)));
  if (reply->type == REDIS_REPLY_INTEGER) return absl::OkStatus();
  uint64_t missing = 0;
  if (reply->type != REDIS_REPLY_STRING || !absl::SimpleHexAtoi(TextOf(*reply), &missing)) return Unexpected("ack");
  return absl::NotFoundError(absl::StrCat("Ack: group ", missing, " was never stored"));
}

absl::StatusOr<EpisodeStats> RedisBuffers::Stats() {
  SWERVE_ASSIGN_OR_RETURN(const RedisReply reply, client_.Run({"EVALSHA", stats_.sha, "2", ids_, waiting_}));
  if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2) return Unexpected("stats");
  const auto stored = static_cast<uint64_t>(reply->element[0]->integer);
  return EpisodeStats{stored, stored - static_cast<uint64_t>(reply->element[1]->integer)};
}

// The stored bytes; empty: none.
absl::StatusOr<std::string> RedisBuffers::Record(absl::string_view scene_id) {
  SWERVE_ASSIGN_OR_RETURN(const RedisReply reply, client_.Run({"HGET", difficulty_, std::string(scene_id)}));
  if (reply->type == REDIS_REPLY_NIL) return std::string();
  if (reply->type != REDIS_REPLY_STRING) return Unexpected("HGET");
  return std::string(TextOf(*reply));
}

absl::StatusOr<v1::DifficultyRecord> RedisBuffers::ParseRecord(absl::string_view scene_id,
                                                              absl::string_view bytes) const {
  v1::DifficultyRecord record;
  if (record.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return record;
  return absl::DataLossError(absl::StrCat("redis: the difficulty record of scene ", scene_id, " cannot be read"));
}

absl::Status RedisBuffers::Update(absl::string_view scene_id, const GroupOutcome& outcome) {
  if (outcome.r_traj.empty()) return absl::OkStatus();
  // One name for all attempts at this update: it is made once, also when a reply is lost or a command runs late.
  const std::string done = Key(absl::StrCat("done:", absl::Hex(self_), "-", updates_.fetch_add(1)));
  for (int attempt = 0; attempt < kUpdateAttempts; ++attempt) {
    SWERVE_ASSIGN_OR_RETURN(std::string held, Record(scene_id));
    SWERVE_ASSIGN_OR_RETURN(v1::DifficultyRecord record, ParseRecord(scene_id, held));
    record.set_scene_id(std::string(scene_id));
    AddOutcome(outcome, &record);
    SWERVE_ASSIGN_OR_RETURN(
        const RedisReply reply,
        client_.Run({"EVALSHA", update_.sha, "2", difficulty_, done, std::string(scene_id), std::move(held),
                     record.SerializeAsString(), absl::StrCat(kRememberUpdateSeconds)}));
    if (reply->type != REDIS_REPLY_INTEGER) return Unexpected("update");
    if (reply->integer == 1) return absl::OkStatus();
  }
  return absl::UnavailableError(absl::StrCat("difficulty: scene ", scene_id, " changes too fast; try again"));
}

absl::StatusOr<v1::DifficultyRecord> RedisBuffers::Get(absl::string_view scene_id) {
  SWERVE_ASSIGN_OR_RETURN(const std::string bytes, Record(scene_id));
  if (bytes.empty()) return absl::NotFoundError(absl::StrCat("difficulty: scene ", scene_id, " was never scored"));
  return ParseRecord(scene_id, bytes);
}

absl::StatusOr<std::vector<v1::DifficultyRecord>> RedisBuffers::All() {
  SWERVE_ASSIGN_OR_RETURN(const RedisReply reply, client_.Run({"HGETALL", difficulty_}));
  if (reply->type != REDIS_REPLY_ARRAY) return Unexpected("HGETALL");
  std::vector<v1::DifficultyRecord> records;
  for (size_t i = 0; i + 1 < reply->elements; i += 2) {
    SWERVE_ASSIGN_OR_RETURN(v1::DifficultyRecord record,
                            ParseRecord(TextOf(*reply->element[i]), TextOf(*reply->element[i + 1])));
    records.push_back(std::move(record));
  }
  std::sort(records.begin(), records.end(), [](const auto& a, const auto& b) { return a.scene_id() < b.scene_id(); });
  return records;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Buffers>> OpenRedisBuffers(RedisBuffersOptions options) {
  if (options.run_id.empty()) return absl::InvalidArgumentError("buffers: the run id is empty");
  auto buffers = std::make_unique<RedisBuffers>(std::move(options));
  SWERVE_RETURN_IF_ERROR(buffers->Init());
  return buffers;
}

}  // namespace swerve
