// Matrix products on a CUDA device by cuBLASLt, each shape with the algorithm that was fastest when it first came. Used by one
// thread. Needs CUDA's headers. Throws std::runtime_error.
#ifndef SWERVE_POLICY_CUDA_MATRIX_PRODUCTS_H_
#define SWERVE_POLICY_CUDA_MATRIX_PRODUCTS_H_

#include <cuda_runtime.h>

#include <memory>

namespace swerve::device {

class MatrixProducts {
 public:
  // y[rows, n] (+)= x[rows, k] · w[n, k]ᵀ, sums in float. half: x and w are bfloat16, and so is y unless it is `wide`.
  struct Product {
    bool half = false, wide = false, add = false;
    int rows = 0, n = 0, k = 0;
    bool operator<(const Product& o) const {
      if (half != o.half) return half < o.half;
      if (wide != o.wide) return wide < o.wide;
      if (add != o.add) return add < o.add;
      if (rows != o.rows) return rows < o.rows;
      return n != o.n ? n < o.n : k < o.k;
    }
  };
  // The library is looked for where LibTorch has loaded it, then where the system finds it.
  static std::unique_ptr<MatrixProducts> Create(cudaStream_t stream);
  virtual ~MatrixProducts() = default;

  // On the stream. A product that was not seen before is tried out first, which waits for the device: not while a graph is
  // being recorded.
  virtual void Run(const Product& product, const void* w, const void* x, void* y) = 0;
};

}  // namespace swerve::device

#endif  // SWERVE_POLICY_CUDA_MATRIX_PRODUCTS_H_
