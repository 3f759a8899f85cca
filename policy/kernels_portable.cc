#include "policy/kernels.h"

namespace swerve::kernels {
namespace {
#define SWERVE_VECTOR_FLOATS 8
#include "policy/kernels_body.inc"
#include "policy/kernels_attention.inc"
#include "policy/kernels_training.inc"
}  // namespace
extern const Table kPortableTable;
const Table kPortableTable = SWERVE_KERNEL_TABLE("portable", false);
}  // namespace swerve::kernels
