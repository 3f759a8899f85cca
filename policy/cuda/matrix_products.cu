#include "policy/cuda/matrix_products.h"

#include <cublasLt.h>
#include <dlfcn.h>

#include <algorithm>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

namespace swerve::device {
namespace {

constexpr size_t kWorkspace = 32 << 20;  // as cuBLAS asks for on Hopper
constexpr int kTried = 12, kRounds = 6;  // algorithms, and how often each runs

void Must(cudaError_t e) {
  if (e != cudaSuccess) throw std::runtime_error(std::string("CUDA: matrix products: ") + cudaGetErrorString(e));
}
void Must(cublasStatus_t s, const char* what) {
  if (s != CUBLAS_STATUS_SUCCESS) throw std::runtime_error(std::string("cuBLASLt: ") + what + ": status " + std::to_string(static_cast<int>(s)));
}

// The library is not linked: machines without a device need not have its 700 MB.
struct Library {
  decltype(&cublasLtCreate) create;
  decltype(&cublasLtDestroy) destroy;
  decltype(&cublasLtMatmul) matmul;
  decltype(&cublasLtMatmulDescCreate) desc_create;
  decltype(&cublasLtMatmulDescDestroy) desc_destroy;
  decltype(&cublasLtMatmulDescSetAttribute) desc_set;
  decltype(&cublasLtMatrixLayoutCreate) layout_create;
  decltype(&cublasLtMatrixLayoutDestroy) layout_destroy;
  decltype(&cublasLtMatmulPreferenceCreate) preference_create;
  decltype(&cublasLtMatmulPreferenceDestroy) preference_destroy;
  decltype(&cublasLtMatmulPreferenceSetAttribute) preference_set;
  decltype(&cublasLtMatmulAlgoGetHeuristic) heuristic;

  Library() {
    const std::string name = "libcublasLt.so." + std::to_string(CUBLAS_VER_MAJOR);
    void* handle = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle == nullptr) throw std::runtime_error("cannot load " + name + ": " + dlerror());
    auto find = [&](auto* to, const char* symbol) {
      *to = reinterpret_cast<std::remove_pointer_t<decltype(to)>>(dlsym(handle, symbol));
      if (*to == nullptr) throw std::runtime_error(name + " has no " + symbol);
    };
    find(&create, "cublasLtCreate"), find(&destroy, "cublasLtDestroy"), find(&matmul, "cublasLtMatmul");
    find(&desc_create, "cublasLtMatmulDescCreate"), find(&desc_destroy, "cublasLtMatmulDescDestroy"), find(&desc_set, "cublasLtMatmulDescSetAttribute");
    find(&layout_create, "cublasLtMatrixLayoutCreate"), find(&layout_destroy, "cublasLtMatrixLayoutDestroy");
    find(&preference_create, "cublasLtMatmulPreferenceCreate"), find(&preference_destroy, "cublasLtMatmulPreferenceDestroy");
    find(&preference_set, "cublasLtMatmulPreferenceSetAttribute"), find(&heuristic, "cublasLtMatmulAlgoGetHeuristic");
  }
};

const Library& Lt() {
  static const Library library;
  return library;
}

class LtProducts : public MatrixProducts {
 public:
  explicit LtProducts(cudaStream_t stream) : stream_(stream) {
    Must(Lt().create(&handle_), "a handle");
    Must(cudaMalloc(&workspace_, kWorkspace));
    Must(cudaEventCreate(&begin_));
    Must(cudaEventCreate(&end_));
  }
  ~LtProducts() override {
    for (auto& [product, plan] : plans_) {
      for (cublasLtMatrixLayout_t l : {plan.w, plan.x, plan.y}) Lt().layout_destroy(l);
      Lt().desc_destroy(plan.desc);
    }
    cudaEventDestroy(begin_), cudaEventDestroy(end_);
    cudaFree(workspace_);
    Lt().destroy(handle_);
  }

  void Run(const Product& product, const void* w, const void* x, void* y) override {
    auto found = plans_.find(product);
    if (found == plans_.end()) found = plans_.emplace(product, MakePlan(product, w, x)).first;
    Must(Launch(found->second, found->second.algorithm, product.add, w, x, y), "a product");
  }

 private:
  struct Plan {
    cublasLtMatmulDesc_t desc = nullptr;
    cublasLtMatrixLayout_t w = nullptr, x = nullptr, y = nullptr;
    cublasLtMatmulAlgo_t algorithm = {};
  };

  // cuBLAS counts by columns: y as [n, rows] = wᵀ[n, k] · x[k, rows].
  cublasStatus_t Launch(const Plan& p, const cublasLtMatmulAlgo_t& algorithm, bool add, const void* w, const void* x, void* y) const {
    const float one = 1, beta = add ? 1.0f : 0.0f;
    return Lt().matmul(handle_, p.desc, &one, w, p.w, x, p.x, &beta, y, p.y, y, p.y, &algorithm, workspace_, kWorkspace, stream_);
  }

  Plan MakePlan(const Product& q, const void* w, const void* x) {
    Plan p;
    const cudaDataType_t in = q.half ? CUDA_R_16BF : CUDA_R_32F, out = q.half && !q.wide ? CUDA_R_16BF : CUDA_R_32F;
    Must(Lt().desc_create(&p.desc, CUBLAS_COMPUTE_32F, CUDA_R_32F), "a product's description");
    const cublasOperation_t transposed = CUBLAS_OP_T;
    Must(Lt().desc_set(p.desc, CUBLASLT_MATMUL_DESC_TRANSA, &transposed, sizeof transposed), "a product's description");
    Must(Lt().layout_create(&p.w, in, q.k, q.n, q.k), "a layout");
    Must(Lt().layout_create(&p.x, in, q.k, q.rows, q.k), "a layout");
    Must(Lt().layout_create(&p.y, out, q.n, q.rows, q.n), "a layout");
    cublasLtMatmulPreference_t preference = nullptr;
    Must(Lt().preference_create(&preference), "a preference");
    const size_t workspace = kWorkspace;
    Must(Lt().preference_set(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace, sizeof workspace), "a preference");
    cublasLtMatmulHeuristicResult_t found[kTried] = {};
    int count = 0;
    const cublasStatus_t s = Lt().heuristic(handle_, p.desc, p.w, p.x, p.y, p.y, preference, kTried, found, &count);
    Lt().preference_destroy(preference);
    Must(s, "choosing an algorithm");
    if (count == 0) throw std::runtime_error("cuBLASLt: no algorithm for " + std::to_string(q.rows) + " x " + std::to_string(q.n) + " x " + std::to_string(q.k));
    p.algorithm = found[0].algo;
    // The result of a trial goes nowhere. The weight is larger than the caches of what matters here, or too small to matter.
    void* y = nullptr;
    Must(cudaMalloc(&y, size_t{4} * q.n * q.rows));
    float least = 1e30f;
    for (int i = 0; i < count; ++i) {
      if (found[i].state != CUBLAS_STATUS_SUCCESS || Launch(p, found[i].algo, false, w, x, y) != CUBLAS_STATUS_SUCCESS) continue;
      float milliseconds = 0;
      cudaEventRecord(begin_, stream_);
      for (int r = 0; r < kRounds; ++r) Launch(p, found[i].algo, q.add, w, x, y);
      cudaEventRecord(end_, stream_);
      if (cudaEventSynchronize(end_) != cudaSuccess || cudaEventElapsedTime(&milliseconds, begin_, end_) != cudaSuccess) continue;
      if (milliseconds < least) least = milliseconds, p.algorithm = found[i].algo;
    }
    cudaFree(y);
    Must(cudaGetLastError());
    return p;
  }

  const cudaStream_t stream_;
  cublasLtHandle_t handle_ = nullptr;
  void* workspace_ = nullptr;
  cudaEvent_t begin_ = nullptr, end_ = nullptr;
  std::map<Product, Plan> plans_;
};

}  // namespace

std::unique_ptr<MatrixProducts> MatrixProducts::Create(cudaStream_t stream) { return std::make_unique<LtProducts>(stream); }

}  // namespace swerve::device
