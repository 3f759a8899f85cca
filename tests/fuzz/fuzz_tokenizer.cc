// tokenizer.json up to a byte 0, then a text for it.
#include "policy/tokenizer.h"
#include "tests/fuzz/require.h"

using swerve::testing::Require;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view bytes(reinterpret_cast<const char*>(data), size);
  const size_t cut = bytes.find('\0');
  const auto tokenizer = swerve::Tokenizer::FromJson(std::string(bytes.substr(0, cut)));
  if (!tokenizer.ok()) return 0;
  const absl::string_view text = cut == absl::string_view::npos ? bytes : bytes.substr(cut + 1);
  const std::vector<int32_t> ids = (*tokenizer)->Encode(text);
  for (int32_t id : ids) Require(id >= 0 && id < (*tokenizer)->size());
  (void)(*tokenizer)->Decode(ids);
  (void)(*tokenizer)->Decode({-1, (*tokenizer)->size(), INT32_MAX}, true);
  (void)(*tokenizer)->Bytes((*tokenizer)->size());
  return 0;
}
