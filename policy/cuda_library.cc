#include <torch/torch.h>

#include "policy/cuda_library.h"

#include <dlfcn.h>

#include "absl/strings/str_cat.h"

namespace swerve {

absl::Status LoadCudaBackend() {
  static const absl::Status loaded = [] {
    if (dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_LOCAL) != nullptr) return absl::OkStatus();
    return absl::UnavailableError(absl::StrCat("LibTorch's CUDA library does not load (", dlerror(), "); `pip install torch==2.11.0` brings what it needs"));
  }();
  if (!loaded.ok()) return loaded;
  return torch::cuda::is_available() ? absl::OkStatus() : absl::UnavailableError("no CUDA device is visible (see nvidia-smi, CUDA_VISIBLE_DEVICES)");
}

}  // namespace swerve
