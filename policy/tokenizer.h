// Byte-level BPE as tokenizer.json describes it (spec models.md 2.4): added tokens, NFC, Split by any regular expression,
// merges. Equal to the Python `tokenizers` package with add_special_tokens=False. Immutable, thread-safe, torch-free.
#ifndef SWERVE_POLICY_TOKENIZER_H_
#define SWERVE_POLICY_TOKENIZER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace swerve {

class Tokenizer {
 public:
  // Reads `dir`/tokenizer.json. NOT_FOUND; INVALID_ARGUMENT names the part that is malformed or not supported.
  static absl::StatusOr<std::unique_ptr<const Tokenizer>> Load(const std::string& dir);
  static absl::StatusOr<std::unique_ptr<const Tokenizer>> FromJson(const std::string& json);
  ~Tokenizer();

  // Special and added tokens in `text` become their ids. Bytes that are not UTF-8 count as U+FFFD.
  std::vector<int32_t> Encode(absl::string_view text) const;
  // Valid UTF-8 always (U+FFFD for broken sequences); unknown ids vanish. `skip_special` drops tokens marked special.
  std::string Decode(absl::Span<const int32_t> ids, bool skip_special = false) const;
  // What a token stands for, not always whole characters; empty for an unknown id.
  std::string Bytes(int32_t id) const;
  // Id of a whole token as vocabulary or added tokens spell it; -1 when there is none.
  int32_t Id(absl::string_view token) const;
  int32_t size() const;

 private:
  struct Impl;
  explicit Tokenizer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace swerve

#endif  // SWERVE_POLICY_TOKENIZER_H_
