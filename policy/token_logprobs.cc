#include <torch/torch.h>

#include "policy/token_logprobs.h"

#include <algorithm>

#include "policy/cuda/train_kernels.h"
#include "policy/torch_linear.h"

namespace swerve {
namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;

// What a chunk needs of logits [rows, vocab], composed of LibTorch's operations, or by kernels that pass over them once.
struct Composed {
  static void Forward(const Tensor& logits, const Tensor& targets, double scale, Tensor total, Tensor value) {
    const Tensor scaled = scale == 1.0 ? logits : logits * scale;
    total.copy_(torch::logsumexp(scaled, 1));
    value.copy_(scaled.gather(1, targets.unsqueeze(1)).squeeze(1));
  }
  // d log p(target) / d logits = [target] - softmax
  static Tensor Backward(const Tensor& logits, const Tensor& targets, const Tensor& total, const Tensor& g, double scale, torch::ScalarType type) {
    const Tensor outer = (g * scale).unsqueeze(1);
    Tensor d = (scale == 1.0 ? logits : logits * scale).sub_(total.unsqueeze(1)).exp_().mul_(-outer);
    return d.scatter_add_(1, targets.unsqueeze(1), outer).to(type);
  }
};
struct Kernels {
  static void Forward(const Tensor& logits, const Tensor& targets, double scale, const Tensor& total, const Tensor& value) {
    device::LogSumExp(logits.const_data_ptr<float>(), targets.const_data_ptr<int64_t>(), logits.size(0), logits.size(1), static_cast<float>(scale), total.data_ptr<float>(),
                      value.data_ptr<float>());
  }
  static Tensor Backward(const Tensor& logits, const Tensor& targets, const Tensor& total, const Tensor& g, double scale, torch::ScalarType type) {
    Tensor d = torch::empty(logits.sizes(), logits.options().dtype(type));
    device::LogprobBackward(logits.const_data_ptr<float>(), targets.const_data_ptr<int64_t>(), total.const_data_ptr<float>(), g.const_data_ptr<float>(), logits.size(0),
                            logits.size(1), static_cast<float>(scale), type == torch::kBFloat16, d.mutable_data_ptr());
    return d;
  }
};
bool HasKernels(const Tensor& t) { return device::kHasCuda && t.is_cuda() && (t.scalar_type() == torch::kBFloat16 || t.scalar_type() == torch::kFloat32); }

class Chunked : public torch::autograd::Function<Chunked> {
 public:
  static Tensor forward(AutogradContext* ctx, const Tensor& hidden, const Tensor& weight, const Tensor& targets, double temperature, int64_t rows) {
    const int64_t n = hidden.size(0);
    const Tensor w = weight.to(hidden.scalar_type());
    Tensor out = torch::empty({n}, hidden.options().dtype(torch::kFloat32)), total = torch::empty_like(out);
    for (int64_t at = 0; at < n; at += rows) {
      const int64_t count = std::min(rows, n - at);
      auto cut = [&](const Tensor& t) { return t.narrow(0, at, count); };
      const Tensor logits = Logits(cut(hidden), w);
      HasKernels(hidden) ? Kernels::Forward(logits, cut(targets), 1 / temperature, cut(total), cut(out))
                         : Composed::Forward(logits, cut(targets), 1 / temperature, cut(total), cut(out));
    }
    ctx->save_for_backward({hidden, weight, targets, total});
    ctx->saved_data["temperature"] = temperature;
    ctx->saved_data["rows"] = rows;
    return out - total;
  }

  static torch::autograd::tensor_list backward(AutogradContext* ctx, torch::autograd::tensor_list gradients) {
    const auto saved = ctx->get_saved_variables();
    const Tensor &hidden = saved[0], &weight = saved[1], &targets = saved[2], &total = saved[3], outer = gradients[0].contiguous();
    const double scale = 1 / ctx->saved_data["temperature"].toDouble();
    const int64_t n = hidden.size(0), rows = ctx->saved_data["rows"].toInt();
    const bool for_weight = ctx->needs_input_grad(1), for_hidden = ctx->needs_input_grad(0);
    const Tensor w = weight.to(hidden.scalar_type());
    Tensor grad_hidden = for_hidden ? torch::empty_like(hidden) : Tensor(), grad_weight = for_weight ? torch::zeros_like(weight) : Tensor();
    for (int64_t at = 0; at < n; at += rows) {
      const int64_t count = std::min(rows, n - at);
      auto cut = [&](const Tensor& t) { return t.narrow(0, at, count); };
      const Tensor h = cut(hidden), logits = Logits(h, w);
      const Tensor d = HasKernels(hidden) ? Kernels::Backward(logits, cut(targets), cut(total), cut(outer), scale, w.scalar_type())
                                          : Composed::Backward(logits, cut(targets), cut(total), cut(outer), scale, w.scalar_type());
      if (for_hidden) cut(grad_hidden).copy_(Times(d, w));
      if (!for_weight) continue;
      if (weight.scalar_type() == d.scalar_type()) {
        TransposedTimes(d, h, /*add=*/true, grad_weight);
      } else {
        grad_weight.add_(WideProduct(d.transpose(0, 1), h));
      }
    }
    return {grad_hidden, grad_weight, Tensor(), Tensor(), Tensor()};
  }

 private:
  static Tensor Logits(const Tensor& hidden, const Tensor& weight) {
    return hidden.is_cuda() ? WideProduct(hidden, weight.transpose(0, 1)) : TimesTransposed(hidden, weight).to(torch::kFloat32);
  }
};

// Rows of a chunk, at most `limit`, so that none is much smaller than the others.
int64_t EqualChunks(int64_t rows, int64_t limit) {
  const int64_t chunks = (rows + limit - 1) / limit;
  return (rows + chunks - 1) / chunks;
}

}  // namespace

Tensor TokenLogprobs(const Tensor& hidden, const Tensor& weight, const Tensor& targets, double temperature, int64_t chunk_elements) {
  if (chunk_elements == 0) chunk_elements = int64_t{1} << (hidden.is_cuda() ? 28 : 26);
  if (hidden.is_cuda() || hidden.size(0) * weight.size(0) > chunk_elements) {
    return Chunked::apply(hidden.contiguous(), weight, targets, temperature, EqualChunks(hidden.size(0), std::max<int64_t>(1, chunk_elements / weight.size(0))));
  }
  Tensor logits = Linear(hidden, weight.to(hidden.scalar_type())).to(torch::kFloat32);
  if (temperature != 1.0) logits = logits / temperature;
  return -torch::nn::functional::cross_entropy(logits, targets, torch::nn::functional::CrossEntropyFuncOptions().reduction(torch::kNone));
}

}  // namespace swerve
