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

enum class DType { kF32, kF16, kBF16 };

struct TensorView {
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;
  const uint8_t* data = nullptr;  // owned by the SafetensorsFile; may be unaligned
  int64_t elements() const;
  // Converted copy.
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

// model.safetensors, or the shards of model.safetensors.index.json. The files stay open as long as the value lives.
struct Weights {
  std::vector<std::shared_ptr<SafetensorsFile>> files;
  std::map<std::string, TensorView> tensors;
};
absl::StatusOr<Weights> OpenWeights(const std::string& dir);

// Float tensors to write; `data` must outlive the call.
struct NamedFloats {
  std::string name;
  std::vector<int64_t> shape;
  const float* data;
};
// Writes F32 with metadata {"format":"pt"}, through a temporary file and a rename.
absl::Status WriteSafetensors(const std::string& path, absl::Span<const NamedFloats> tensors);

}  // namespace swerve

#endif  // SWERVE_POLICY_SAFETENSORS_H_
