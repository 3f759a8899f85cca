#include <immintrin.h>

#include "policy/kernels.h"

namespace swerve::kernels {
namespace {
#define SWERVE_VECTOR_FLOATS 16
#include "policy/kernels_body.inc"
#include "policy/kernels_attention.inc"
#include "policy/kernels_training.inc"
}  // namespace
extern const Table kAvx512Table;
const Table kAvx512Table = SWERVE_KERNEL_TABLE("avx512", false);
}  // namespace swerve::kernels
