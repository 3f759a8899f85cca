#include <torch/torch.h>

#include "policy/torch_linear.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <memory>
#include <optional>

#include "policy/kernels.h"

namespace swerve {
namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::tensor_list;

constexpr int64_t kColumns = 256;  // of a block, whose packed part of W stays near while A passes by
constexpr int64_t kDepth = 8192;   // packed at once: a vocabulary's worth of columns would be as large as the weight
constexpr int64_t kFewRows = 16;   // below them packing costs more than it saves

bool Plain(const Tensor& t) { return t.device().is_cpu() && t.scalar_type() == torch::kFloat32 && t.dim() == 2; }
bool Whole(int64_t n) { return n % kernels::kLanes == 0; }

// What a thread packs into; kept, because fresh pages cost as much as packing does.
float* Scratch(int64_t floats) {
  thread_local std::unique_ptr<float[]> buffer;
  thread_local int64_t size = 0;
  if (size < floats) {
    buffer.reset(new float[floats]);
    size = floats;
  }
  return buffer.get();
}

int64_t Up(int64_t n, int64_t by) { return (n + by - 1) / by * by; }

// Calls body(first row, rows, first column, columns, scratch) for the blocks of an [m, n] product, in parallel, as many blocks
// of columns as make the threads' shares equal; the scratch holds a block's columns of `depth` values each. Rows are split only where columns are too few for the threads;
// each block then packs for itself.
template <typename Body>
void EachBlock(int64_t m, int64_t n, int64_t depth, Body body) {
  const int64_t threads = at::get_num_threads(), width = Up((n - 1) / Up((n + kColumns - 1) / kColumns, threads) + 1, 2 * kernels::kLanes);
  const int64_t columns = (n + width - 1) / width;
  const int64_t parts = std::clamp<int64_t>(threads / columns, 1, std::max<int64_t>(1, m / 96)), rows = (m - 1) / parts + 1;
  at::parallel_for(0, columns * parts, 1, [&](int64_t a, int64_t b) {
    float* packed = Scratch(width * depth);
    for (int64_t i = a; i < b; ++i) {
      const int64_t j = i / parts * width, row = i % parts * rows;
      if (row < m) body(row, std::min(rows, m - row), j, std::min(width, n - j), packed);
    }
  });
}

class LinearFunction : public Function<LinearFunction> {
 public:
  static Tensor forward(AutogradContext* ctx, const Tensor& input, const Tensor& w, const std::optional<Tensor>& bias) {
    const Tensor x = input.contiguous();
    ctx->save_for_backward({x, w});
    ctx->saved_data["bias"] = bias && bias->requires_grad();
    return TimesTransposed(x, w, bias.value_or(Tensor()));
  }
  static tensor_list backward(AutogradContext* ctx, tensor_list gradients) {
    const auto saved = ctx->get_saved_variables();
    const Tensor &x = saved[0], &w = saved[1], g = gradients[0].contiguous();
    Tensor gx, gw, gbias;
    if (ctx->needs_input_grad(0)) gx = Times(g, w);
    if (ctx->needs_input_grad(1)) {
      gw = torch::empty_like(w);
      TransposedTimes(g, x, /*add=*/false, gw);
    }
    if (ctx->saved_data["bias"].toBool()) gbias = g.sum(0);
    return {gx, gw, gbias};
  }
};

}  // namespace

Tensor Linear(const Tensor& x, const Tensor& w, const Tensor& bias) {
  const bool fits = Plain(x) && Plain(w) && Whole(w.size(0)) && Whole(w.size(1)) && x.size(0) >= kFewRows && w.is_contiguous();
  if (!fits) return bias.defined() ? torch::linear(x, w, bias) : torch::linear(x, w);
  return LinearFunction::apply(x, w, bias.defined() ? std::optional<Tensor>(bias) : std::nullopt);
}

Tensor TimesTransposed(const Tensor& a, const Tensor& w, const Tensor& bias) {
  const int64_t m = a.size(0), k = a.size(1), n = w.size(0);
  if (!Plain(a) || !Plain(w) || !Whole(n) || m < kFewRows || !a.is_contiguous() || !w.is_contiguous()) {
    return bias.defined() ? torch::linear(a, w, bias) : torch::linear(a, w);
  }
  Tensor out = torch::empty({m, n}, a.options());
  const float *from = a.const_data_ptr<float>(), *weight = w.const_data_ptr<float>(), *add = bias.defined() ? bias.const_data_ptr<float>() : nullptr;
  float* to = out.data_ptr<float>();
  const kernels::Table& t = kernels::Best();
  EachBlock(m, n, k, [&](int64_t row, int64_t rows, int64_t j, int64_t columns, float* packed) {
    t.pack_rows(weight + j * k, k, static_cast<int>(columns), static_cast<int>(k), packed);
    t.gemm(from + row * k, k, static_cast<int>(rows), packed, static_cast<int>(columns), static_cast<int>(k), add == nullptr ? nullptr : add + j,
           to + row * n + j, n, false);
  });
  return out;
}

Tensor Times(const Tensor& a, const Tensor& w) {
  const int64_t m = a.size(0), k = a.size(1), n = w.size(1);
  if (!Plain(a) || !Plain(w) || !Whole(n) || m < kFewRows || !a.is_contiguous() || !w.is_contiguous()) return torch::matmul(a, w);
  Tensor out = torch::empty({m, n}, a.options());
  const float *from = a.const_data_ptr<float>(), *weight = w.const_data_ptr<float>();
  float* to = out.data_ptr<float>();
  const kernels::Table& t = kernels::Best();
  EachBlock(m, n, std::min(k, kDepth), [&](int64_t row, int64_t rows, int64_t j, int64_t columns, float* packed) {
    for (int64_t p = 0; p < k; p += kDepth) {
      const int depth = static_cast<int>(std::min(kDepth, k - p));
      t.pack_columns(weight + p * n + j, n, static_cast<int>(columns), depth, packed);
      t.gemm(from + row * k + p, k, static_cast<int>(rows), packed, static_cast<int>(columns), depth, nullptr, to + row * n + j, n, p > 0);
    }
  });
  return out;
}

void TransposedTimes(const Tensor& a, const Tensor& b, bool add, Tensor& out) {
  const int64_t k = a.size(0), m = a.size(1), n = b.size(1);
  if (!Plain(a) || !Plain(b) || !Whole(n) || m < kFewRows || !a.is_contiguous() || !b.is_contiguous() || !out.is_contiguous()) {
    if (!add) out.zero_();
    out.addmm_(a.transpose(0, 1), b);
    return;
  }
  const float *from = a.const_data_ptr<float>(), *other = b.const_data_ptr<float>();
  float* to = out.data_ptr<float>();
  const kernels::Table& t = kernels::Best();
  EachBlock(m, n, std::min(k, kDepth), [&](int64_t row, int64_t rows, int64_t j, int64_t columns, float* packed) {
    for (int64_t p = 0; p < k; p += kDepth) {
      const int depth = static_cast<int>(std::min(kDepth, k - p));
      t.pack_columns(other + p * n + j, n, static_cast<int>(columns), depth, packed);
      t.gemm_transposed(from + p * m + row, m, static_cast<int>(rows), packed, static_cast<int>(columns), depth, to + row * n + j, n, add || p > 0);
    }
  });
}

Tensor WideProduct(const Tensor& a, const Tensor& b) {
  return a.is_cuda() && a.scalar_type() != torch::kFloat32 ? torch::mm(a, b, torch::kFloat32) : torch::mm(a, b).to(torch::kFloat32);
}

}  // namespace swerve
