// The safetensors file format (spec conventions.md 4.3): memory-mapped reading, atomic writing. Torch-free.
#ifndef SWERVE_POLICY_SAFETENSORS_H_
#define SWERVE_POLICY_SAFETENSORS_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace swerve {

enum class DType { kF32, kF16, kBF16, kOther };  // kOther: carried along as bytes, never computed with

struct TensorView {
  DType dtype = DType::kF32;
  std::string dtype_name;         // as the file has it
  std::vector<int64_t> shape;
  const uint8_t* data = nullptr;  // owned by the SafetensorsFile; may be unaligned
  uint64_t bytes = 0;
  int64_t elements() const;
  // Converted copy. Not for kOther.
  std::vector<float> ToFloat() const;
};

// One mapped file. Immutable, thread-safe. Every offset is checked before it is trusted.
class SafetensorsFile {
 public:
  // NOT_FOUND; INVALID_ARGUMENT says what in the header is wrong.
  static absl::StatusOr<std::unique_ptr<SafetensorsFile>> Open(const std::string& path);
  ~SafetensorsFile();
  SafetensorsFile(const SafetensorsFile&) = delete;
  SafetensorsFile& operator=(const SafetensorsFile&) = delete;
  const std::map<std::string, TensorView>& tensors() const { return tensors_; }

 private:
  SafetensorsFile() = default;
  void* map_ = nullptr;
  size_t size_ = 0;
  std::map<std::string, TensorView> tensors_;
};

// The shards of model.safetensors.index.json, or model.safetensors. The files stay open as long as the value lives.
struct Weights {
  std::vector<std::shared_ptr<SafetensorsFile>> files;
  std::map<std::string, TensorView> tensors;
};
// NOT_FOUND; INVALID_ARGUMENT: a damaged index or shard, a shard without a tensor that the index puts there.
absl::StatusOr<Weights> OpenWeights(const std::string& dir);

// A tensor to write; `data`, dense in row-major order, must outlive the call.
struct NamedTensor {
  std::string name;
  std::vector<int64_t> shape;
  const void* data;
  std::string dtype = "F32";  // the format's name of it
};
// Writes with metadata {"format":"pt"}, through a temporary file and a rename.
absl::Status WriteSafetensors(const std::string& path, absl::Span<const NamedTensor> tensors);

// model.safetensors; beyond `max_shard_bytes` of data, model-0000i-of-0000N.safetensors, and last of all the index.
absl::Status WriteWeights(const std::string& dir, absl::Span<const NamedTensor> tensors, uint64_t max_shard_bytes = 5'000'000'000);

}  // namespace swerve

#endif  // SWERVE_POLICY_SAFETENSORS_H_
