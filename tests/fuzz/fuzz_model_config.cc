// A model directory's config.json and, after a byte 0, its preprocessor_config.json; the first also as the index of shards
// and as an adapter's configuration.
#include "policy/checkpoint.h"
#include "policy/lora.h"
#include "policy/prompt_input.h"
#include "tests/fuzz/require.h"
#include "tests/fuzz/temporary_dir.h"

using swerve::testing::Require;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const swerve::testing::TemporaryDir dir("fuzz_model_config");
  const absl::string_view bytes(reinterpret_cast<const char*>(data), size);
  const size_t cut = bytes.find('\0');
  for (const char* name : {"config.json", "model.safetensors.index.json", "adapter_config.json", "generation_config.json"}) dir.Write(name, bytes.substr(0, cut));
  dir.Write("preprocessor_config.json", cut == absl::string_view::npos ? "{}" : bytes.substr(cut + 1));
  (void)swerve::OpenWeights(dir.path());
  const auto config = swerve::LoadModelConfig(dir.path());
  if (!config.ok()) return 0;
  (void)swerve::ReadAdapter(dir.path(), *config);
  const auto& t = config->text;
  Require(t.vocab > 0 && t.heads % t.kv_heads == 0 && t.head_dim % 2 == 0 && t.eps >= 0);
  for (const auto& [name, shape] : swerve::ExpectedTensors(*config)) {
    for (int64_t n : shape) Require(n > 0);
    Require(!swerve::CanonicalName(swerve::StoredName(name, *config), *config).empty());
  }
  if (!config->has_vision) return 0;
  Require(swerve::ImageSize(*config) > 0);
  const auto tokens = swerve::ImageTokens(config->processor, 40, 90);
  Require(!tokens.ok() || *tokens >= 0);
  return 0;
}
