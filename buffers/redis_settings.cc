#include "buffers/redis_settings.h"

namespace swerve {

absl::Status CheckRedisSettings(const std::map<std::string, std::string>& settings, bool allow_volatile,
                                std::vector<std::string>* warnings) {
  for (const char* name : kRedisSettings) {
    if (settings.find(name) == settings.end()) {
      return absl::FailedPreconditionError(
          absl::StrCat("the server does not tell its setting ", name, "; Redis 7 is needed"));
    }
  }
  const std::string& policy = settings.at("maxmemory-policy");
  if (policy != "noeviction") {
    return absl::FailedPreconditionError(
        absl::StrCat("the server's maxmemory-policy is ", policy, ", which throws episodes away when memory is short; "
                     "set maxmemory-policy noeviction (deploy/redis/redis.conf)"));
  }
  if (settings.at("appendonly") != "yes") {
    if (!allow_volatile) {
      return absl::FailedPreconditionError(
          "the server keeps no append-only file, so its death loses episodes; set appendonly yes "
          "(deploy/redis/redis.conf), or accept the loss by buffers.allow_volatile=true");
    }
    warnings->push_back("the server keeps no append-only file: its death loses episodes, and the run with them");
  } else if (const std::string& fsync = settings.at("appendfsync"); fsync == "everysec") {
    warnings->push_back("appendfsync is everysec: the death of the server or a loss of power may lose up to about two "
                        "seconds; appendfsync always loses nothing");
  } else if (fsync != "always") {
    warnings->push_back(absl::StrCat("appendfsync is ", fsync, ": the death of the server loses nothing, a loss of "
                                     "power all that the kernel had not written; appendfsync always loses nothing"));
  }
  if (settings.at("maxmemory") == "0") {
    warnings->push_back("maxmemory is 0: only buffers.max_waiting_mb bounds the server's memory; set maxmemory");
  }
  return absl::OkStatus();
}

}  // namespace swerve
