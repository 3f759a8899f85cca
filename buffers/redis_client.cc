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

RedisClient::RedisClient(Options options)
    : options_(WithDefaults(std::move(options))),
      calls_({options_.connections, kPipelineCalls, kPipelineBytes},
             [this](int lane, const std::vector<Call*>& calls) { Serve(lanes_[lane], calls); }) {
  for (int i = 0; i < options_.connections; ++i) lanes_.emplace_back(options_.seed + i);
}

void RedisClient::Run(Call* call) {
  for (const RedisCommand& command : call->commands) {
    for (const std::string& argument : command) call->bytes += argument.size();
  }
  if (!call->commands.empty()) calls_.Run(call);
}

absl::StatusOr<std::vector<RedisReply>> RedisClient::RunAll(std::vector<RedisCommand> commands) {
  Call call;
  call.commands = std::move(commands);
  call.replies.resize(call.commands.size());
  Run(&call);
  SWERVE_RETURN_IF_ERROR(call.status);
  return std::move(call.replies);
}

absl::Status RedisClient::RunEach(std::vector<RedisCommand> commands, Take take) {
  Call call;
  call.commands = std::move(commands);
  call.take = std::move(take);
  Run(&call);
  return call.status;
}

absl::StatusOr<RedisReply> RedisClient::Run(RedisCommand command) {
  std::vector<RedisCommand> one;
  one.push_back(std::move(command));
  SWERVE_ASSIGN_OR_RETURN(std::vector<RedisReply> replies, RunAll(std::move(one)));
  SWERVE_RETURN_IF_ERROR(StatusOf(*replies[0]));
  return std::move(replies[0]);
}

absl::Status RedisClient::Connect(Lane& lane) {
  if (lane.connection != nullptr) return absl::OkStatus();
  SWERVE_ASSIGN_OR_RETURN(std::unique_ptr<RedisConnection> connection, RedisConnection::Open(options_.connection));
  if (options_.prepare) SWERVE_RETURN_IF_ERROR(options_.prepare(*connection));
  if (lane.was_connected) {
    RedisMetrics::Get().reconnects.Increment();
    spdlog::info("connected again to {}", options_.connection.url.ToString());
  }
  lane.was_connected = true;
  lane.connection = std::move(connection);
  return absl::OkStatus();
}

// Sends what is open; leaves in `open` what got no conclusive replies.
absl::Status RedisClient::Attempt(Lane& lane, std::vector<Call*>* open) {
  SWERVE_RETURN_IF_ERROR(Connect(lane));
  std::vector<const RedisCommand*> commands;
  for (Call* call : *open) {
    call->answered = 0;
    call->status = absl::OkStatus();
    for (const RedisCommand& command : call->commands) commands.push_back(&command);
  }
  size_t at = 0;  // of the call whose replies arrive
  absl::Status status = lane.connection->Exchange(commands, [&](size_t, RedisReply reply) {
    Call& call = *(*open)[at];
    const size_t i = call.answered++;
    if (call.answered == call.commands.size()) ++at;
    RedisMetrics::Get().commands.Increment();
    if (absl::Status one = StatusOfAll(*reply); absl::IsUnavailable(one)) {
      if (call.status.ok()) call.status = std::move(one);
    } else if (call.take) {
      call.take(i, *reply);
    } else {
      call.replies[i] = std::move(reply);
    }
  });
  RedisMetrics::Get().pipelines.Increment();
  std::vector<Call*> left;
  for (Call* call : *open) {
    if (call->answered < call->commands.size()) call->status = status;
    if (!call->status.ok()) left.push_back(call);
    if (status.ok()) status = call->status;
  }
  *open = std::move(left);
  return status;
}

void RedisClient::Serve(Lane& lane, const std::vector<Call*>& calls) {
  // Those that were answered before the server went away are done, and stay so.
  for (Call* call : calls) call->status = absl::UnavailableError("not sent");
  const absl::Status status = ServeAll(lane, calls);
  for (Call* call : calls) {
    if (!call->status.ok()) call->status = status;
  }
}

absl::Status RedisClient::ServeAll(Lane& lane, std::vector<Call*> open) {
  const absl::Time until = options_.now() + options_.patience;
  bool told = false;
  while (true) {
    const absl::Status status = Attempt(lane, &open);
    if (status.ok()) {
      lane.backoff.Reset();
      return status;
    }
    // A fresh connection also loads the scripts again and sees a server's new settings.
    lane.connection.reset();
    if (!absl::IsUnavailable(status)) return status;
    const absl::Duration pause = lane.backoff.Next();
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
