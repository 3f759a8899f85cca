#include "policy/kernels.h"

namespace swerve::kernels {
namespace {
#include "policy/kernels_body.inc"
}  // namespace
extern const Table kPortableTable;
const Table kPortableTable = SWERVE_KERNEL_TABLE("portable");
}  // namespace swerve::kernels
