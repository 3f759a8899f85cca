// Where there is no CUDA compiler: nothing calls these (kHasCuda).
#include "policy/cuda/train_kernels.h"

#include <cstdlib>

namespace swerve::device {

void RmsNorm(const float*, const float*, int64_t, int64_t, float, bool, void*, float*) { std::abort(); }
void RmsNormBackward(const void*, const float*, const float*, const float*, int64_t, int64_t, bool, float*, float*) { std::abort(); }
void Rotate(const void*, const float*, const float*, int64_t, int, int, bool, bool, void*) { std::abort(); }
void Swiglu(const void*, const void*, int64_t, bool, void*) { std::abort(); }
void SwigluBackward(const void*, const void*, const void*, int64_t, bool, void*, void*) { std::abort(); }
void LogSumExp(const float*, const int64_t*, int64_t, int64_t, float, float*, float*) { std::abort(); }
void LogprobBackward(const float*, const int64_t*, const float*, const float*, int64_t, int64_t, float, bool, void*) { std::abort(); }

}  // namespace swerve::device
