#include "policy/kernels.h"

namespace swerve::kernels {
namespace {
#include "policy/kernels_body.inc"
}  // namespace
extern const Table kAvx2Table;
const Table kAvx2Table = SWERVE_KERNEL_TABLE("avx2");
}  // namespace swerve::kernels
