// What the tokenizer asks of Unicode, as the `tokenizers` package answers it. Texts are UTF-8 of less than 2 GiB,
// positions are bytes at a character's boundary. Pure and thread-safe.
#ifndef SWERVE_POLICY_UNICODE_TEXT_H_
#define SWERVE_POLICY_UNICODE_TEXT_H_

#include <cstddef>
#include <string>

#include "absl/strings/string_view.h"

namespace swerve {

// Appends the bytes that a token's spelling in GPT-2's map of bytes stands for. False when it is not spelled in that map.
bool Unspell(absl::string_view token, std::string* raw);

// Every byte that is no UTF-8 becomes U+FFFD.
std::string Lossy(absl::string_view bytes);

// Normalisation form C by the package's tables, which are those of Unicode 9: what came later neither composes nor moves.
std::string Nfc(absl::string_view text);

// Whether a character of a word (\w of Rust's regular expressions) ends at `at`, or begins there.
bool WordBefore(absl::string_view text, size_t at);
bool WordAfter(absl::string_view text, size_t at);

// Where the white space that ends at `at` begins, and where that which begins there ends.
size_t SpaceBefore(absl::string_view text, size_t at);
size_t SpaceAfter(absl::string_view text, size_t at);

}  // namespace swerve

#endif  // SWERVE_POLICY_UNICODE_TEXT_H_
