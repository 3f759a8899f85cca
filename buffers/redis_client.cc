#include "buffers/redis_client.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "absl/time/clock.h"
#include "buffers/metrics.h"

namespace swerve {
namespace {

constexpr size_t kPipelineBytes = 8 << 20;  // what one leader sends at once, so that the server's buffers stay small
constexpr size_t kPipelineCalls = 256;

RedisClient::Options WithDefaults(RedisClient::Options options) {
  if (!options.now) options.now = [] { return absl::Now(); };
  if (!options.sleep) options.sleep = [](absl::Duration d) { absl::SleepFor(d); };
  return options;
}

}  // namespace

absl::Duration Backoff::Next() {
  const absl::Duration pause = pause_ * random_.Uniform(0.5, 1.5);
  pause_ = std::min(2 * pause_, absl::Seconds(2));
  return pause;
}

RedisClient::RedisClient(Options options) : options_(WithDefaults(std::move(options))), backoff_(options_.seed) {}

absl::StatusOr<std::vector<RedisReply>> RedisClient::RunAll(std::vector<RedisCommand> commands) {
  Call call;
  call.commands = std::move(commands);
  if (call.commands.empty()) return std::move(call.replies);
  call.replies.resize(call.commands.size());
  for (const RedisCommand& command : call.commands) {
    for (const std::string& argument : command) call.bytes += argument.size();
  }
  {
    absl::MutexLock lock(&mu_);
    queue_.push_back(&call);
  }
  const auto my_turn = [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return call.done || !led_; };
  while (true) {
    std::vector<Call*> batch;
    {
      absl::MutexLock lock(&mu_);
      mu_.Await(absl::Condition(&my_turn));
      if (call.done) break;
      led_ = true;
      batch = TakeBatch();
    }
    const absl::Status status = Serve(batch);
    absl::MutexLock lock(&mu_);
    for (Call* served : batch) {
      served->status = status;
      served->done = true;
    }
    led_ = false;
  }
  SWERVE_RETURN_IF_ERROR(call.status);
  return std::move(call.replies);
}

absl::StatusOr<RedisReply> RedisClient::Run(RedisCommand command) {
  std::vector<RedisCommand> one;
  one.push_back(std::move(command));
  SWERVE_ASSIGN_OR_RETURN(std::vector<RedisReply> replies, RunAll(std::move(one)));
  SWERVE_RETURN_IF_ERROR(StatusOf(*replies[0]));
  return std::move(replies[0]);
}

std::vector<RedisClient::Call*> RedisClient::TakeBatch() {
  std::vector<Call*> batch;
  size_t bytes = 0;
  while (!queue_.empty() && batch.size() < kPipelineCalls && (batch.empty() || bytes + queue_.front()->bytes <= kPipelineBytes)) {
    bytes += queue_.front()->bytes;
    batch.push_back(queue_.front());
    queue_.pop_front();
  }
  return batch;
}

absl::Status RedisClient::Connect() {
  if (connection_ != nullptr) return absl::OkStatus();
  SWERVE_ASSIGN_OR_RETURN(std::unique_ptr<RedisConnection> connection, RedisConnection::Open(options_.connection));
  if (options_.prepare) SWERVE_RETURN_IF_ERROR(options_.prepare(*connection));
  if (was_connected_) {
    RedisMetrics::Get().reconnects.Increment();
    spdlog::info("connected again to {}", options_.connection.url.ToString());
  }
  was_connected_ = true;
  connection_ = std::move(connection);
  return absl::OkStatus();
}

// Sends what is open; leaves in `open` what got no conclusive reply.
absl::Status RedisClient::Attempt(std::vector<std::pair<const RedisCommand*, RedisReply*>>* open) {
  SWERVE_RETURN_IF_ERROR(Connect());
  std::vector<const RedisCommand*> commands;
  for (const auto& [command, reply] : *open) commands.push_back(command);
  std::vector<RedisReply> replies;
  absl::Status status = connection_->Exchange(commands, &replies);
  std::vector<std::pair<const RedisCommand*, RedisReply*>> left;
  for (size_t i = 0; i < open->size(); ++i) {
    if (i >= replies.size()) {
      left.push_back((*open)[i]);
    } else if (const absl::Status one = StatusOf(*replies[i]); absl::IsUnavailable(one)) {
      left.push_back((*open)[i]);
      if (status.ok()) status = one;
    } else {
      *(*open)[i].second = std::move(replies[i]);
    }
  }
  RedisMetrics::Get().pipelines.Increment();
  RedisMetrics::Get().commands.Increment(static_cast<double>(open->size() - left.size()));
  *open = std::move(left);
  return status;
}

absl::Status RedisClient::Serve(const std::vector<Call*>& calls) {
  std::vector<std::pair<const RedisCommand*, RedisReply*>> open;
  for (Call* call : calls) {
    for (size_t i = 0; i < call->commands.size(); ++i) open.push_back({&call->commands[i], &call->replies[i]});
  }
  const absl::Time until = options_.now() + options_.patience;
  bool told = false;
  while (true) {
    const absl::Status status = Attempt(&open);
    if (status.ok()) {
      backoff_.Reset();
      return status;
    }
    // A fresh connection also loads the scripts again and sees a server's new settings.
    connection_.reset();
    if (!absl::IsUnavailable(status)) return status;
    const absl::Duration pause = backoff_.Next();
    if (options_.now() + pause >= until) {
      return absl::UnavailableError(
          absl::StrCat(status.message(), "; gave up after ", absl::FormatDuration(options_.patience)));
    }
    if (!told) spdlog::warn("{}; trying again", std::string(status.message()));
    told = true;
    options_.sleep(pause);
  }
}

}  // namespace swerve
