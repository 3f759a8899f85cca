#include "policy/unicode_text.h"

#include <unicode/normalizer2.h>
#include <unicode/uchar.h>
#include <unicode/uniset.h>
#include <unicode/unistr.h>
#include <unicode/utf8.h>

#include <cstdint>
#include <vector>

namespace swerve {
namespace {

// GPT-2's map from printable code points to bytes; -1: no byte.
const std::vector<int16_t>& ByteOfCode() {
  static const std::vector<int16_t> map = [] {
    std::vector<int16_t> out(512, -1);
    int next = 256;
    for (int b = 0; b < 256; ++b) {
      const bool printable = (b >= '!' && b <= '~') || (b >= 0xa1 && b <= 0xac) || b >= 0xae;
      out[printable ? b : next++] = static_cast<int16_t>(b);
    }
    return out;
  }();
  return map;
}

// A character of a word, as Rust's regular expressions have \w.
bool IsWord(UChar32 c) {
  return u_hasBinaryProperty(c, UCHAR_ALPHABETIC) || u_hasBinaryProperty(c, UCHAR_JOIN_CONTROL) ||
         (U_GET_GC_MASK(c) & (U_GC_M_MASK | U_GC_ND_MASK | U_GC_PC_MASK)) != 0;
}

UChar32 Before(absl::string_view text, size_t at, size_t* start) {
  int32_t i = static_cast<int32_t>(at);
  UChar32 c;
  U8_PREV(text.data(), 0, i, c);
  *start = static_cast<size_t>(i);
  return c;
}
UChar32 After(absl::string_view text, size_t at, size_t* end) {
  int32_t i = static_cast<int32_t>(at);
  UChar32 c;
  U8_NEXT(text.data(), i, static_cast<int32_t>(text.size()), c);
  *end = static_cast<size_t>(i);
  return c;
}

}  // namespace

bool Unspell(absl::string_view token, std::string* raw) {
  const int32_t n = static_cast<int32_t>(token.size());
  for (int32_t i = 0; i < n;) {
    UChar32 c;
    U8_NEXT(token.data(), i, n, c);
    if (c < 0 || c >= 512 || ByteOfCode()[c] < 0) return false;
    raw->push_back(static_cast<char>(ByteOfCode()[c]));
  }
  return true;
}

std::string Lossy(absl::string_view bytes) {
  std::string out;
  icu::UnicodeString::fromUTF8(icu::StringPiece(bytes.data(), static_cast<int32_t>(bytes.size()))).toUTF8String(out);
  return out;
}

std::string Nfc(absl::string_view text) {
  UErrorCode status = U_ZERO_ERROR;
  static const icu::UnicodeSet* known = [] {
    UErrorCode ignored = U_ZERO_ERROR;
    auto* set = new icu::UnicodeSet("[:age=9.0:]", ignored);
    set->freeze();
    return set;
  }();
  const icu::FilteredNormalizer2 filtered(*icu::Normalizer2::getNFCInstance(status), *known);
  const icu::Normalizer2& normalizer = filtered;
  std::string out;
  const icu::StringPiece piece(text.data(), static_cast<int32_t>(text.size()));
  normalizer.normalize(icu::UnicodeString::fromUTF8(piece), status).toUTF8String(out);
  return out;
}

bool WordBefore(absl::string_view text, size_t at) {
  size_t unused;
  return at > 0 && IsWord(Before(text, at, &unused));
}
bool WordAfter(absl::string_view text, size_t at) {
  size_t unused;
  return at < text.size() && IsWord(After(text, at, &unused));
}
size_t SpaceBefore(absl::string_view text, size_t at) {
  for (size_t start; at > 0 && u_isUWhiteSpace(Before(text, at, &start)); at = start) {}
  return at;
}
size_t SpaceAfter(absl::string_view text, size_t at) {
  for (size_t end; at < text.size() && u_isUWhiteSpace(After(text, at, &end)); at = end) {}
  return at;
}

}  // namespace swerve
