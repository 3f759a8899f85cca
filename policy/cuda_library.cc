#include <torch/torch.h>

#include "policy/cuda_library.h"

#include <dlfcn.h>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace swerve {

absl::Status LoadCudaBackend() {
  static const absl::Status loaded = [] {
    if (dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_LOCAL) != nullptr) {
      at::globalContext().setAllowTF32CuDNN(false);  // float32 means float32, in the vision tower too
      return absl::OkStatus();
    }
    return absl::UnavailableError(absl::StrCat("LibTorch's CUDA library does not load (", dlerror(), "); `pip install torch==2.11.0` brings what it needs"));
  }();
  if (!loaded.ok()) return loaded;
  return torch::cuda::is_available() ? absl::OkStatus() : absl::UnavailableError("no CUDA device is visible (see nvidia-smi, CUDA_VISIBLE_DEVICES)");
}

absl::StatusOr<torch::Device> OpenDevice(const std::string& name) {
  const auto bad = [&] { return absl::InvalidArgumentError(absl::StrCat("device '", name, "' must be cpu or cuda:N")); };
  try {
    torch::Device device(name);
    if (device.is_cpu()) return device;
    if (!device.is_cuda()) return bad();
    SWERVE_RETURN_IF_ERROR(LoadCudaBackend());
    device = torch::Device(torch::kCUDA, device.has_index() ? device.index() : 0);
    const auto count = torch::cuda::device_count();
    if (device.index() < static_cast<int64_t>(count)) return device;
    return absl::UnavailableError(absl::StrCat("device '", name, "': there are ", count, " CUDA devices, counted from 0"));
  } catch (const c10::Error&) {
    return bad();
  }
}

}  // namespace swerve
