#include "policy/kernels.h"

namespace swerve::kernels {
namespace {
#define SWERVE_VECTOR_FLOATS 8
#include "policy/kernels_body.inc"
#include "policy/kernels_attention.inc"
#include "policy/kernels_training.inc"
}  // namespace
extern const Table kAvx2Table;
const Table kAvx2Table = SWERVE_KERNEL_TABLE("avx2", false);
}  // namespace swerve::kernels
