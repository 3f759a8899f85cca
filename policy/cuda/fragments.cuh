// How rows that are multiplied by streamed weights lie in memory: as the matrix instruction takes them.
#ifndef SWERVE_POLICY_CUDA_FRAGMENTS_CUH_
#define SWERVE_POLICY_CUDA_FRAGMENTS_CUH_

#include <cstdint>

#include "policy/cuda/numbers.cuh"

namespace swerve::device {

// Where element `column` of row `row` of [rows, k] lies, k a multiple of 32: sixteen rows after sixteen rows, in them step after step of
// 16 columns, in a step lane after lane with the 8 elements that it multiplies (warp_ops.cuh: Mma's a). A step's columns are every
// other two pairs of 32, because a lane's 16 bytes of a weight row are 8 neighbours: pairs 0 and 1 for one step, 2 and 3 for the
// next. Columns 2i and 2i + 1 are neighbours.
__device__ inline int64_t FragmentIndex(int row, int column, int k) {
  const int r = row % 16, in = column % 32, t = in / 8, pair = in % 8 / 2;
  const int step = column / 32 * 2 + pair / 2, lane = r % 8 * 4 + t, place = r / 8 + 2 * (pair % 2);
  return (static_cast<int64_t>(row / 16) * (k / 16) + step) * 256 + lane * 8 + place * 2 + column % 2;
}

__device__ inline uint32_t Pair(float first, float second) {
  return static_cast<uint32_t>(FromFloat<Bf16>(first).bits) | static_cast<uint32_t>(FromFloat<Bf16>(second).bits) << 16;
}

}  // namespace swerve::device

#endif  // SWERVE_POLICY_CUDA_FRAGMENTS_CUH_
