// What a Redis server must be set to before episodes are entrusted to it. Pure.
#ifndef SWERVE_BUFFERS_REDIS_SETTINGS_H_
#define SWERVE_BUFFERS_REDIS_SETTINGS_H_

#include <map>
#include <string>
#include <vector>

#include "base/status.h"

namespace swerve {

// `settings` as CONFIG GET tells them, of at least the names in kRedisSettings. FAILED_PRECONDITION, saying what to set:
//   * maxmemory-policy other than noeviction: Redis would throw episodes away when memory is short;
//   * appendonly other than yes, without `allow_volatile`: what came after the last snapshot would be lost with the
//     process, snapshots or not;
//   * a setting that is missing.
// Settings that are admitted but weaken a promise are explained in `warnings`, one sentence each.
absl::Status CheckRedisSettings(const std::map<std::string, std::string>& settings, bool allow_volatile,
                                std::vector<std::string>* warnings);

inline constexpr const char* kRedisSettings[] = {"maxmemory", "maxmemory-policy", "appendonly", "appendfsync"};

}  // namespace swerve

#endif  // SWERVE_BUFFERS_REDIS_SETTINGS_H_
