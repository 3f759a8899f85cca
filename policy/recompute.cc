#include <torch/torch.h>

#include "policy/recompute.h"

#include <utility>

namespace swerve {
namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;

using Body = std::function<Tensor(const Tensor&)>;

// What AutogradContext keeps of a body until the graph is freed.
struct Held : torch::CustomClassHolder {
  explicit Held(Body b) : body(std::move(b)) {}
  const Body body;
};

class Checkpoint : public torch::autograd::Function<Checkpoint> {
 public:
  // `live`, an empty leaf that wants a gradient, makes the output differentiable where x is not: the embedding is frozen
  // under adapters, and the leaves that the body reads are no inputs.
  static Tensor forward(AutogradContext* ctx, const Tensor& x, const Tensor& live, Body body) {
    ctx->save_for_backward({x});
    ctx->saved_data["x"] = x.requires_grad();
    const Tensor out = body(x);
    ctx->saved_data["body"] = torch::IValue::make_capsule(c10::make_intrusive<Held>(std::move(body)));
    return out;
  }

  static torch::autograd::tensor_list backward(AutogradContext* ctx, torch::autograd::tensor_list gradients) {
    const bool wanted = ctx->saved_data["x"].toBool();
    const Tensor x = ctx->get_saved_variables()[0].detach().requires_grad_(wanted);
    Tensor out;
    {
      torch::AutoGradMode record(true);
      out = static_cast<const Held&>(*ctx->saved_data["body"].toCapsule()).body(x);
    }
    torch::autograd::backward({out}, {gradients[0]});
    return {wanted ? x.grad() : Tensor(), Tensor(), Tensor()};
  }
};

}  // namespace

Tensor Recompute(Body body, const Tensor& x) {
  if (!torch::GradMode::is_enabled()) return body(x);
  return Checkpoint::apply(x, torch::empty({0}, x.options().requires_grad(true)), std::move(body));
}

}  // namespace swerve
