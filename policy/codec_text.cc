#include "policy/codec_text.h"

#include <charconv>
#include <cmath>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"

namespace swerve::codec {
namespace {

constexpr absl::string_view kOpen = "<answer>", kClose = "</answer>", kThinkEnd = "</think>";

bool TakeTuple(absl::string_view* text, const TupleStyle& style, Tuple* tuple) {
  if (!absl::ConsumePrefix(text, absl::string_view(&style.open, 1))) return false;
  for (int i = 0; i < style.values; ++i) {
    if (i > 0 && !absl::ConsumePrefix(text, ",")) return false;
    if (i > 0 && style.spaces) absl::ConsumePrefix(text, " ");
    const std::optional<double> number = TakeNumber(text, style.plus);
    if (!number) return false;
    (*tuple)[i] = *number;
  }
  return absl::ConsumePrefix(text, absl::string_view(&style.close, 1));
}

}  // namespace

Section FindAnswer(absl::string_view text) {
  text = absl::StripTrailingAsciiWhitespace(text);
  absl::ConsumeSuffix(&text, "<|im_end|>");
  text = absl::StripTrailingAsciiWhitespace(text);
  Section section{text, false, true};
  if (const size_t open = text.rfind(kOpen); open != absl::string_view::npos) {
    section.body = text.substr(open + kOpen.size());
    const size_t close = section.body.find(kClose);
    const bool last = close != absl::string_view::npos && close + kClose.size() == section.body.size();
    section.tagged = true;
    section.alone = last && text.find(kOpen) == open;
    section.body = section.body.substr(0, close);
  } else if (const size_t think = text.rfind(kThinkEnd); think != absl::string_view::npos) {
    section.body = absl::StripLeadingAsciiWhitespace(text.substr(think + kThinkEnd.size()));
  }
  return section;
}

std::optional<double> TakeNumber(absl::string_view* s, bool plus) {
  size_t i = 0;
  auto digits = [&] {
    const size_t from = i;
    while (i < s->size() && absl::ascii_isdigit((*s)[i])) ++i;
    return i > from;
  };
  const bool positive = plus && absl::StartsWith(*s, "+");
  if (positive || absl::StartsWith(*s, "-")) ++i;
  if (!digits()) return std::nullopt;
  if (i < s->size() && (*s)[i] == '.') {
    ++i;
    if (!digits()) return std::nullopt;
  }
  double value = 0;
  const auto [end, error] = std::from_chars(s->data() + positive, s->data() + i, value);
  if (error != std::errc() || end != s->data() + i || !std::isfinite(value)) return std::nullopt;
  s->remove_prefix(i);
  return value;
}

bool StrictTuples(absl::string_view text, const TupleStyle& style, std::vector<Tuple>* tuples) {
  do {
    if (!tuples->empty() && style.spaces) absl::ConsumePrefix(&text, " ");
    if (!TakeTuple(&text, style, &tuples->emplace_back())) return false;
  } while (absl::ConsumePrefix(&text, ","));
  return text.empty();
}

std::vector<Tuple> LooseTuples(absl::string_view text, int values, size_t most) {
  std::vector<Tuple> tuples;
  auto skip = [&] {
    while (!text.empty() && (absl::ascii_isspace(text[0]) || text[0] == '+')) text.remove_prefix(1);
  };
  while (tuples.size() < most) {
    const size_t open = text.find_first_of("[(");
    if (open == absl::string_view::npos) break;
    text.remove_prefix(open + 1);
    Tuple tuple{};
    bool good = true;
    for (int i = 0; i < values && good; ++i) {
      skip();
      if (i > 0) good = absl::ConsumePrefix(&text, ",") || absl::ConsumePrefix(&text, ";");
      skip();
      const std::optional<double> number = good ? TakeNumber(&text) : std::nullopt;
      good = number.has_value();
      if (good) tuple[i] = *number;
    }
    skip();
    if (good && (absl::StartsWith(text, "]") || absl::StartsWith(text, ")"))) tuples.push_back(tuple);
  }
  return tuples;
}

std::string Fixed(double value, int decimals, bool plus) {
  const double unit = std::pow(10.0, decimals);
  const double rounded = std::round(value * unit) / unit;
  const double shown = rounded == 0 ? 0.0 : rounded;
  return plus ? absl::StrFormat("%+.*f", decimals, shown) : absl::StrFormat("%.*f", decimals, shown);
}

}  // namespace swerve::codec
