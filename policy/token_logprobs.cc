#include <torch/torch.h>

#include "policy/token_logprobs.h"

#include <algorithm>

#include "policy/torch_linear.h"

namespace swerve {
namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;

class Chunked : public torch::autograd::Function<Chunked> {
 public:
  static Tensor forward(AutogradContext* ctx, const Tensor& hidden, const Tensor& weight, const Tensor& targets, double temperature, int64_t rows) {
    const int64_t n = hidden.size(0);
    Tensor out = torch::empty({n}, hidden.options().dtype(torch::kFloat32)), total = torch::empty_like(out);
    for (int64_t at = 0; at < n; at += rows) {
      const int64_t count = std::min(rows, n - at);
      const Tensor logits = Logits(hidden.narrow(0, at, count), weight, temperature);
      total.narrow(0, at, count).copy_(torch::logsumexp(logits, 1));
      out.narrow(0, at, count).copy_(logits.gather(1, targets.narrow(0, at, count).unsqueeze(1)).squeeze(1));
    }
    ctx->save_for_backward({hidden, weight, targets, total});
    ctx->saved_data["temperature"] = temperature;
    ctx->saved_data["rows"] = rows;
    return out - total;
  }

  static torch::autograd::tensor_list backward(AutogradContext* ctx, torch::autograd::tensor_list gradients) {
    const auto saved = ctx->get_saved_variables();
    const Tensor &hidden = saved[0], &weight = saved[1], &targets = saved[2], &total = saved[3];
    const double temperature = ctx->saved_data["temperature"].toDouble();
    const int64_t n = hidden.size(0), rows = ctx->saved_data["rows"].toInt();
    const bool for_weight = ctx->needs_input_grad(1), for_hidden = ctx->needs_input_grad(0);
    Tensor grad_hidden = for_hidden ? torch::empty_like(hidden) : Tensor(), grad_weight = for_weight ? torch::zeros_like(weight) : Tensor();
    const Tensor outer = gradients[0] / temperature;
    for (int64_t at = 0; at < n; at += rows) {
      const int64_t count = std::min(rows, n - at);
      const Tensor h = hidden.narrow(0, at, count), g = outer.narrow(0, at, count).unsqueeze(1);
      // d log p(target) / d logits = [target] - softmax
      Tensor d = Logits(h, weight, temperature).sub_(total.narrow(0, at, count).unsqueeze(1)).exp_().mul_(-g);
      d.scatter_add_(1, targets.narrow(0, at, count).unsqueeze(1), g);
      d = d.to(weight.scalar_type());
      if (for_hidden) grad_hidden.narrow(0, at, count).copy_(Times(d, weight));
      if (for_weight) TransposedTimes(d, h, /*add=*/true, grad_weight);
    }
    return {grad_hidden, grad_weight, Tensor(), Tensor(), Tensor()};
  }

 private:
  static Tensor Logits(const Tensor& hidden, const Tensor& weight, double temperature) {
    const Tensor logits = TimesTransposed(hidden, weight).to(torch::kFloat32);
    return temperature == 1.0 ? logits : logits / temperature;
  }
};

// Rows of a chunk, at most `limit`, so that none is much smaller than the others.
int64_t EqualChunks(int64_t rows, int64_t limit) {
  const int64_t chunks = (rows + limit - 1) / limit;
  return (rows + chunks - 1) / chunks;
}

}  // namespace

Tensor TokenLogprobs(const Tensor& hidden, const Tensor& weight, const Tensor& targets, double temperature, int64_t chunk_elements) {
  if (hidden.size(0) * weight.size(0) > chunk_elements) {
    return Chunked::apply(hidden, weight, targets, temperature, EqualChunks(hidden.size(0), std::max<int64_t>(1, chunk_elements / weight.size(0))));
  }
  Tensor logits = Linear(hidden, weight).to(torch::kFloat32);
  if (temperature != 1.0) logits = logits / temperature;
  return -torch::nn::functional::cross_entropy(logits, targets, torch::nn::functional::CrossEntropyFuncOptions().reduction(torch::kNone));
}

}  // namespace swerve
