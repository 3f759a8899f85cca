#include "base/redis_url.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/strip.h"

namespace swerve {
namespace {

constexpr char kForms[] = "redis://[user:password@]host[:port][/db] or unix://[user:password@]/path[?db=N]";

absl::Status Bad(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("the Redis URL ", what, "; it is written ", kForms));
}

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

absl::StatusOr<std::string> PercentDecoded(absl::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out.push_back(text[i]);
      continue;
    }
    const int high = i + 2 < text.size() ? HexDigit(text[i + 1]) : -1;
    const int low = high >= 0 ? HexDigit(text[i + 2]) : -1;
    if (low < 0) return Bad("has a % in user or password that no two hex digits follow (write % as %25)");
    out.push_back(static_cast<char>(16 * high + low));
    i += 2;
  }
  return out;
}

std::string PercentEncoded(absl::string_view text) {
  std::string out;
  for (const char c : text) {
    if (absl::ascii_isalnum(static_cast<unsigned char>(c)) || absl::StrContains("-._~", absl::string_view(&c, 1))) {
      out.push_back(c);
    } else {
      absl::StrAppend(&out, "%", absl::Hex(static_cast<unsigned char>(c), absl::kZeroPad2));
    }
  }
  return out;
}

// Takes "user:password@" off the front of `authority`.
absl::Status TakeUser(absl::string_view* authority, RedisUrl* out) {
  const size_t at = authority->rfind('@');
  if (at == absl::string_view::npos) return absl::OkStatus();
  const absl::string_view who = authority->substr(0, at);
  authority->remove_prefix(at + 1);
  const size_t colon = who.find(':');
  SWERVE_ASSIGN_OR_RETURN(out->user, PercentDecoded(who.substr(0, colon)));
  if (colon != absl::string_view::npos) {
    SWERVE_ASSIGN_OR_RETURN(out->password, PercentDecoded(who.substr(colon + 1)));
  }
  return absl::OkStatus();
}

absl::Status SetDb(absl::string_view text, RedisUrl* out) {
  if (!absl::SimpleAtoi(text, &out->db) || out->db < 0) return Bad("has a database that is not a number of 0 or more");
  return absl::OkStatus();
}

absl::Status SetHost(absl::string_view authority, RedisUrl* out) {
  absl::string_view port;
  bool has_port = false;
  if (absl::ConsumePrefix(&authority, "[")) {
    const size_t end = authority.find(']');
    if (end == absl::string_view::npos) return Bad("has a '[' without its ']'");
    out->host = std::string(authority.substr(0, end));
    if (!absl::StrContains(out->host, ":")) return Bad("has something in brackets that is no IPv6 address");
    port = authority.substr(end + 1);
    has_port = absl::ConsumePrefix(&port, ":");
    if (!has_port && !port.empty()) return Bad("has something behind ']' that is no port");
  } else {
    const size_t colon = authority.rfind(':');
    has_port = colon != absl::string_view::npos;
    out->host = std::string(authority.substr(0, colon));
    if (out->host.find_first_of(":[]") != std::string::npos) return Bad("has a host that is none");
    if (has_port) port = authority.substr(colon + 1);
  }
  if (out->host.empty()) return Bad("names no host");
  if (out->host.find_first_of(" \t\n") != std::string::npos) return Bad("has a host that is none");
  if (has_port && (!absl::SimpleAtoi(port, &out->port) || out->port < 1 || out->port > 65535)) {
    return Bad("has a port that is not a number of 1 to 65535");
  }
  return absl::OkStatus();
}

}  // namespace

bool IsRedisUrl(absl::string_view url) {
  return absl::StartsWith(url, "redis:") || absl::StartsWith(url, "rediss:") || absl::StartsWith(url, "unix:");
}

absl::StatusOr<RedisUrl> ParseRedisUrl(absl::string_view url) {
  RedisUrl out;
  if (url.find('\0') != absl::string_view::npos) return Bad("holds a zero byte");
  if (absl::StartsWith(url, "rediss:")) {
    return absl::InvalidArgumentError(
        "the Redis URL asks for TLS, which the client library of Debian has not; put stunnel in front "
        "(docs/redis.md) and use redis:// or unix://");
  }
  if (absl::ConsumePrefix(&url, "unix://")) {
    const size_t slash = url.find('/');
    if (slash == absl::string_view::npos) return Bad("names no absolute path");
    absl::string_view authority = url.substr(0, slash);
    if (!authority.empty() && authority.back() != '@') return Bad("names no absolute path");
    SWERVE_RETURN_IF_ERROR(TakeUser(&authority, &out));
    absl::string_view path = url.substr(slash);
    const size_t question = path.find('?');
    if (question != absl::string_view::npos) {
      absl::string_view query = path.substr(question + 1);
      if (!absl::ConsumePrefix(&query, "db=")) return Bad("has a query other than ?db=N");
      SWERVE_RETURN_IF_ERROR(SetDb(query, &out));
      path = path.substr(0, question);
    }
    // sockaddr_un holds 108 bytes.
    if (path.size() > 107) return Bad("has a socket path of more than 107 bytes");
    if (path.size() < 2) return Bad("names no absolute path");
    out.unix_path = std::string(path);
    return out;
  }
  if (!absl::ConsumePrefix(&url, "redis://")) return Bad("does not begin with redis:// or unix://");
  const size_t slash = url.find('/');
  absl::string_view authority = url.substr(0, slash);
  SWERVE_RETURN_IF_ERROR(TakeUser(&authority, &out));
  SWERVE_RETURN_IF_ERROR(SetHost(authority, &out));
  if (slash != absl::string_view::npos && slash + 1 < url.size()) {
    SWERVE_RETURN_IF_ERROR(SetDb(url.substr(slash + 1), &out));
  }
  return out;
}

std::string RedisUrl::ToString() const {
  const std::string who = user.empty() ? "" : absl::StrCat(PercentEncoded(user), "@");
  if (!unix_path.empty()) return absl::StrCat("unix://", who, unix_path, db == 0 ? "" : absl::StrCat("?db=", db));
  const bool v6 = absl::StrContains(host, ":");
  return absl::StrCat("redis://", who, v6 ? "[" : "", host, v6 ? "]" : "", ":", port, "/", db);
}

std::string WithoutPasswords(absl::string_view text) {
  std::string out;
  while (true) {
    const size_t scheme = text.find("://");
    if (scheme == absl::string_view::npos) break;
    const size_t begin = scheme + 3;
    const size_t line = std::min(text.find('\n', begin), text.size());
    const size_t at = text.substr(0, line).rfind('@');
    const size_t colon = text.find(':', begin);
    absl::StrAppend(&out, text.substr(0, begin));
    text.remove_prefix(begin);
    if (at == absl::string_view::npos || at < begin || colon == absl::string_view::npos || colon > at) continue;
    absl::StrAppend(&out, text.substr(0, colon - begin));
    text.remove_prefix(at - begin);
  }
  absl::StrAppend(&out, text);
  return out;
}

}  // namespace swerve
