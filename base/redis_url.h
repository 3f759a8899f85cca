// Where a Redis server is, as a URL, and how its password is kept out of what people read. Stateless, thread-safe.
//   redis://[user[:password]@]host[:port][/db]     port 6379, db 0; an IPv6 host in brackets
//   unix://[user[:password]@]/path/to.sock[?db=N]
// User and password are percent-decoded; '@', ':' and '/' in them must be written %40, %3A, %2F.
#ifndef SWERVE_BASE_REDIS_URL_H_
#define SWERVE_BASE_REDIS_URL_H_

#include <string>

#include "absl/strings/string_view.h"
#include "base/status.h"

namespace swerve {

struct RedisUrl {
  std::string host;  // empty: a unix socket
  int port = 6379;
  std::string unix_path;
  std::string user;  // empty: Redis's default user
  std::string password;
  int db = 0;

  // The URL again without the password: what may be written anywhere.
  std::string ToString() const;
};

// Says whether `url` begins as a Redis URL does (redis, rediss, unix), however it goes on.
bool IsRedisUrl(absl::string_view url);

// INVALID_ARGUMENT says what part is wrong, and never quotes it: it may hold a password.
absl::StatusOr<RedisUrl> ParseRedisUrl(absl::string_view url);

// `text` with the password of every URL in it removed; where a URL is malformed, rather too much goes than too little.
std::string WithoutPasswords(absl::string_view text);

}  // namespace swerve

#endif  // SWERVE_BASE_REDIS_URL_H_
