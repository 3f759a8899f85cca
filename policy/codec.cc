#include "policy/codec.h"

#include <charconv>
#include <cmath>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/strip.h"

namespace swerve {
namespace {

constexpr absl::string_view kOpen = "<answer>", kClose = "</answer>", kThinkEnd = "</think>";

// Reads `-?digits(.digits)?` off the front of *s; nothing else is a number of this codec.
std::optional<double> TakeNumber(absl::string_view* s) {
  size_t i = 0;
  auto digits = [&] {
    size_t from = i;
    while (i < s->size() && absl::ascii_isdigit((*s)[i])) ++i;
    return i > from;
  };
  if (i < s->size() && (*s)[i] == '-') ++i;
  if (!digits()) return std::nullopt;
  if (i < s->size() && (*s)[i] == '.') {
    ++i;
    if (!digits()) return std::nullopt;
  }
  double value = 0;
  auto [end, error] = std::from_chars(s->data(), s->data() + i, value);
  if (error != std::errc() || end != s->data() + i || !std::isfinite(value)) return std::nullopt;
  s->remove_prefix(i);
  return value;
}

bool Strict(absl::string_view body, std::vector<v1::Pose>* poses) {
  for (int p = 0; p < kPoses; ++p) {
    if (p > 0 && !absl::ConsumePrefix(&body, ",")) return false;
    if (!absl::ConsumePrefix(&body, "[")) return false;
    double v[3];
    for (int i = 0; i < 3; ++i) {
      if (i > 0 && !absl::ConsumePrefix(&body, ",")) return false;
      auto number = TakeNumber(&body);
      if (!number) return false;
      v[i] = *number;
    }
    if (!absl::ConsumePrefix(&body, "]")) return false;
    v1::Pose& pose = poses->emplace_back();
    pose.set_x(v[0]), pose.set_y(v[1]), pose.set_heading(v[2]);
  }
  return body.empty();
}

// Collects bracketed or parenthesised triples, tolerating spaces and a plus sign.
void Loose(absl::string_view body, std::vector<v1::Pose>* poses) {
  auto skip = [&] {
    while (!body.empty() && (absl::ascii_isspace(body[0]) || body[0] == '+')) body.remove_prefix(1);
  };
  while (poses->size() < kPoses) {
    size_t open = body.find_first_of("[(");
    if (open == absl::string_view::npos) return;
    body.remove_prefix(open + 1);
    double v[3];
    bool good = true;
    for (int i = 0; i < 3 && good; ++i) {
      skip();
      if (i > 0) good = absl::ConsumePrefix(&body, ",") || absl::ConsumePrefix(&body, ";");
      skip();
      auto number = good ? TakeNumber(&body) : std::nullopt;
      good = number.has_value();
      if (good) v[i] = *number;
    }
    skip();
    if (!good || !(absl::StartsWith(body, "]") || absl::StartsWith(body, ")"))) continue;
    v1::Pose& pose = poses->emplace_back();
    pose.set_x(v[0]), pose.set_y(v[1]), pose.set_heading(v[2]);
  }
}

}  // namespace

Parsed ParsePose3(absl::string_view text) {
  text = absl::StripTrailingAsciiWhitespace(text);
  absl::ConsumeSuffix(&text, "<|im_end|>");
  text = absl::StripTrailingAsciiWhitespace(text);
  Parsed parsed;
  size_t open = text.rfind(kOpen);
  absl::string_view body = text;
  if (open != absl::string_view::npos) {
    body = text.substr(open + kOpen.size());
    size_t close = body.find(kClose);
    bool last = close != absl::string_view::npos && close + kClose.size() == body.size();
    bool only = text.find(kOpen) == open;
    body = body.substr(0, close);
    if (last && only && Strict(body, &parsed.poses)) {
      parsed.status = v1::EXACT;
      return parsed;
    }
  } else if (size_t think = text.rfind(kThinkEnd); think != absl::string_view::npos) {
    body = text.substr(think + kThinkEnd.size());
  }
  parsed.poses.clear();
  Loose(body, &parsed.poses);
  if (parsed.poses.size() == kPoses) {
    parsed.status = v1::REPAIRED;
  } else {
    parsed.poses.clear();
  }
  return parsed;
}

}  // namespace swerve
