// A weights file: its header, what it holds read to the last byte, as a model's weights and as an adapter; written and
// read again.
#include <cmath>
#include <cstring>

#include "policy/checkpoint.h"
#include "policy/lora.h"
#include "tests/fuzz/require.h"
#include "tests/fuzz/temporary_dir.h"

namespace {

using swerve::testing::Require;

swerve::ModelConfig SmallModel() {
  swerve::ModelConfig c;
  c.model_type = "qwen2";
  c.text = {.vocab = 3, .hidden = 2, .layers = 1, .heads = 1, .kv_heads = 1, .head_dim = 2, .mlp = 2, .max_positions = 8, .tied = true};
  return c;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const swerve::testing::TemporaryDir dir("fuzz_safetensors");
  static const swerve::ModelConfig model = SmallModel();
  const std::string adapter = R"({"peft_type":"LORA","r":1,"lora_alpha":2})";
  const absl::string_view bytes(reinterpret_cast<const char*>(data), size);
  dir.Write("model.safetensors", bytes);
  (void)swerve::MapTensors(dir.path(), model);
  dir.Write("adapter_config.json", adapter);
  dir.Write("adapter_model.safetensors", bytes);
  (void)swerve::ReadAdapter(dir.path(), model);
  const auto weights = swerve::OpenWeights(dir.path());
  if (!weights.ok()) return 0;
  std::vector<swerve::NamedTensor> named;
  uint64_t held = 0;
  for (const auto& [name, view] : weights->tensors) {
    held += view.bytes;
    if (view.dtype != swerve::DType::kOther) Require(view.ToFloat().size() == static_cast<size_t>(view.elements()));
    named.push_back({name, view.shape, view.data, view.dtype_name});
  }
  Require(held <= size);
  const std::string copy = dir.path() + "/copy.safetensors";
  Require(swerve::WriteSafetensors(copy, named).ok());
  const auto again = swerve::SafetensorsFile::Open(copy);
  Require(again.ok() && (*again)->tensors().size() == named.size());
  for (const auto& [name, view] : (*again)->tensors()) {
    const auto& was = weights->tensors.at(name);
    Require(was.shape == view.shape && was.bytes == view.bytes && std::memcmp(was.data, view.data, view.bytes) == 0);
  }
  return 0;
}
