#include "buffers/redis_appends.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "buffers/metrics.h"

namespace swerve {
namespace {

constexpr int kTransactions = 1;   // at once; more at once would be smaller ones, and slower
constexpr size_t kEpisodes = 256;  // of a transaction
constexpr size_t kBytes = 8 << 20;

absl::Status Unexpected() {
  return absl::InternalError("redis: append was answered with a reply of an unexpected kind");
}

absl::Status StatusOfAnswer(const redisReply& answer, uint64_t group) {
  if (answer.type == REDIS_REPLY_INTEGER) return absl::OkStatus();
  if (answer.type == REDIS_REPLY_ARRAY && answer.elements == 1) {
    RedisMetrics::Get().full.Increment();
    return absl::ResourceExhaustedError(
        absl::StrCat("Append: ", answer.element[0]->integer, " bytes of episodes wait in Redis already "
                     "(buffers.max_waiting_mb); the learner's acknowledgements make room"));
  }
  if (answer.type != REDIS_REPLY_STRING) return Unexpected();
  return absl::AlreadyExistsError(
      absl::StrCat("group ", group, " is stored already (attempt and scene ", TextOf(answer), ")"));
}

}  // namespace

RedisAppends::RedisAppends(RedisClient* client, std::string keys, std::string script, uint64_t max_waiting_bytes)
    : client_(client),
      keys_(std::move(keys)),
      script_(std::move(script)),
      max_waiting_bytes_(max_waiting_bytes),
      items_({kTransactions, kEpisodes, kBytes}, [this](int, const std::vector<Item*>& batch) { Serve(batch); }) {}

absl::Status RedisAppends::Append(uint64_t group, std::string identity, std::string episode) {
  Item item;
  item.group = group;
  item.identity = std::move(identity);
  item.episode = std::move(episode);
  item.bytes = item.episode.size();
  items_.Run(&item);
  return item.status;
}

std::vector<RedisCommand> RedisAppends::Transaction(const std::vector<Item*>& batch) const {
  std::vector<RedisCommand> commands;
  commands.push_back({"MULTI"});
  RedisCommand take = {"EVALSHA", script_, "4"};
  for (const char* name : {"ids", "waiting", "bytes", "e:"}) take.push_back(absl::StrCat(keys_, name));
  take.push_back(absl::StrCat(max_waiting_bytes_));
  for (Item* item : batch) {
    const std::string group = absl::StrFormat("%016x", item->group);
    RedisCommand set = {"SET", absl::StrCat(keys_, "e:", group, " ", item->identity)};
    set.push_back(std::move(item->episode));  // an initializer list would copy it
    set.push_back("NX");
    commands.push_back(std::move(set));
    take.insert(take.end(), {group, item->identity, absl::StrCat(item->bytes)});
  }
  commands.push_back(std::move(take));
  commands.push_back({"EXEC"});
  return commands;
}

// Gives each item its answer, or says why there is none.
absl::Status RedisAppends::Take(const std::vector<Item*>& batch, const std::vector<RedisReply>& replies) const {
  for (const RedisReply& reply : replies) SWERVE_RETURN_IF_ERROR(StatusOfAll(*reply));
  const redisReply& exec = *replies.back();
  if (exec.type != REDIS_REPLY_ARRAY || exec.elements != batch.size() + 1) return Unexpected();
  const redisReply& answers = *exec.element[batch.size()];  // the script's, after those of the SETs
  if (answers.type != REDIS_REPLY_ARRAY || answers.elements != batch.size()) return Unexpected();
  for (size_t i = 0; i < batch.size(); ++i) batch[i]->status = StatusOfAnswer(*answers.element[i], batch[i]->group);
  return absl::OkStatus();
}

void RedisAppends::Serve(const std::vector<Item*>& batch) {
  const absl::StatusOr<std::vector<RedisReply>> replies = client_->RunAll(Transaction(batch));
  const absl::Status status = replies.ok() ? Take(batch, *replies) : replies.status();
  if (status.ok()) return;
  for (Item* item : batch) item->status = status;
}

}  // namespace swerve
