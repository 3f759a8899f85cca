#include <torch/torch.h>

#include "policy/torch_fused.h"

#include <ATen/Parallel.h>

#include <algorithm>

#include "policy/cuda/train_kernels.h"
#include "policy/kernels.h"

namespace swerve {
namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::tensor_list;

constexpr int64_t kGrain = 1 << 15;  // elements below which a thread is not worth its while

bool Plain(const Tensor& t) { return t.device().is_cpu() && t.scalar_type() == torch::kFloat32; }

// Rows of `width` elements, in parallel.
template <typename Body>
void EachRows(int64_t rows, int64_t width, Body body) {
  at::parallel_for(0, rows, std::max<int64_t>(1, kGrain / std::max<int64_t>(1, width)), body);
}

class FusedRmsNorm : public Function<FusedRmsNorm> {
 public:
  static Tensor forward(AutogradContext* ctx, const Tensor& input, const Tensor& weight, double eps) {
    const Tensor x = input.contiguous();
    ctx->save_for_backward({x, weight});
    ctx->saved_data["eps"] = eps;
    const int64_t d = x.size(1);
    Tensor y = torch::empty_like(x);
    const float *from = x.const_data_ptr<float>(), *w = weight.const_data_ptr<float>();
    float* to = y.data_ptr<float>();
    EachRows(x.size(0), d, [&](int64_t a, int64_t b) {
      kernels::Best().rms_norm(from + a * d, w, static_cast<float>(eps), static_cast<int>(b - a), static_cast<int>(d), to + a * d);
    });
    return y;
  }

  static tensor_list backward(AutogradContext* ctx, tensor_list gradients) {
    const auto saved = ctx->get_saved_variables();
    const Tensor &x = saved[0], &weight = saved[1];
    const Tensor gy = gradients[0].contiguous();
    const float eps = static_cast<float>(ctx->saved_data["eps"].toDouble());
    const int64_t n = x.size(0), d = x.size(1);
    // The weight's gradient is summed in blocks of fixed rows, so that it does not depend on who computes which.
    constexpr int64_t kBlock = 128;
    const int64_t blocks = (n + kBlock - 1) / kBlock;
    Tensor gx = torch::empty_like(x), parts = torch::zeros({blocks, d}, x.options());
    const float *from = x.const_data_ptr<float>(), *w = weight.const_data_ptr<float>(), *g = gy.const_data_ptr<float>();
    float *to = gx.data_ptr<float>(), *sums = parts.data_ptr<float>();
    EachRows(blocks, kBlock * d, [&](int64_t a, int64_t b) {
      for (int64_t i = a; i < b; ++i) {
        const int64_t at = i * kBlock * d, rows = std::min(kBlock, n - i * kBlock);
        kernels::Best().rms_norm_backward(from + at, w, eps, g + at, static_cast<int>(rows), static_cast<int>(d), to + at, sums + i * d);
      }
    });
    return {gx, ctx->needs_input_grad(1) ? parts.sum(0) : Tensor(), Tensor()};
  }
};

Tensor RotatedBy(const Tensor& x, const Tensor& cos, const Tensor& sin, bool backward) {
  Tensor y = torch::empty_like(x);
  const int64_t heads = x.size(1), d = x.size(2), width = heads * d;
  const float *from = x.const_data_ptr<float>(), *c = cos.const_data_ptr<float>(), *s = sin.const_data_ptr<float>();
  float* to = y.data_ptr<float>();
  EachRows(x.size(0), width, [&](int64_t a, int64_t b) {
    kernels::Best().rotate(from + a * width, c + a * d, s + a * d, static_cast<int>(b - a), static_cast<int>(heads), static_cast<int>(d), backward, to + a * width);
  });
  return y;
}

class FusedRotate : public Function<FusedRotate> {
 public:
  static Tensor forward(AutogradContext* ctx, const Tensor& x, const Tensor& cos, const Tensor& sin) {
    const Tensor c = cos.contiguous(), s = sin.contiguous();
    ctx->save_for_backward({c, s});
    return RotatedBy(x.contiguous(), c, s, false);
  }
  static tensor_list backward(AutogradContext* ctx, tensor_list gradients) {
    const auto saved = ctx->get_saved_variables();
    return {RotatedBy(gradients[0].contiguous(), saved[0], saved[1], true), Tensor(), Tensor()};
  }
};

class FusedSwiglu : public Function<FusedSwiglu> {
 public:
  static Tensor forward(AutogradContext* ctx, const Tensor& gate_in, const Tensor& up_in) {
    const Tensor gate = gate_in.contiguous(), up = up_in.contiguous();
    ctx->save_for_backward({gate, up});
    Tensor out = torch::empty_like(gate);
    const float *g = gate.const_data_ptr<float>(), *u = up.const_data_ptr<float>();
    float* to = out.data_ptr<float>();
    EachRows(gate.numel(), 1, [&](int64_t a, int64_t b) { kernels::Best().swiglu(g + a, u + a, b - a, to + a); });
    return out;
  }
  static tensor_list backward(AutogradContext* ctx, tensor_list gradients) {
    const auto saved = ctx->get_saved_variables();
    const Tensor outer = gradients[0].contiguous();
    Tensor ggate = torch::empty_like(saved[0]), gup = torch::empty_like(saved[1]);
    const float *g = saved[0].const_data_ptr<float>(), *u = saved[1].const_data_ptr<float>(), *o = outer.const_data_ptr<float>();
    float *to_gate = ggate.data_ptr<float>(), *to_up = gup.data_ptr<float>();
    EachRows(outer.numel(), 1, [&](int64_t a, int64_t b) { kernels::Best().swiglu_backward(g + a, u + a, o + a, b - a, to_gate + a, to_up + a); });
    return {ggate, gup};
  }
};

bool OnDevice(const Tensor& t) {
  return device::kHasCuda && t.is_cuda() && (t.scalar_type() == torch::kFloat32 || t.scalar_type() == torch::kBFloat16);
}
bool Half(const Tensor& t) { return t.scalar_type() == torch::kBFloat16; }

class DeviceRmsNorm : public Function<DeviceRmsNorm> {
 public:
  static Tensor forward(AutogradContext* ctx, const Tensor& input, const Tensor& weight, double eps, bool half) {
    const Tensor x = input.contiguous(), scales = torch::empty({x.size(0)}, x.options());
    Tensor y = torch::empty(x.sizes(), x.options().dtype(half ? torch::kBFloat16 : torch::kFloat32));
    device::RmsNorm(x.const_data_ptr<float>(), weight.const_data_ptr<float>(), x.size(0), x.size(1), static_cast<float>(eps), half, y.mutable_data_ptr(),
                    scales.data_ptr<float>());
    ctx->save_for_backward({x, weight, scales});
    return y;
  }
  static tensor_list backward(AutogradContext* ctx, tensor_list gradients) {
    const auto saved = ctx->get_saved_variables();
    const Tensor &x = saved[0], &weight = saved[1], gy = gradients[0].contiguous();
    Tensor gx = torch::empty_like(x), parts = torch::empty({device::RmsNormParts(x.size(0)), x.size(1)}, x.options());
    device::RmsNormBackward(gy.const_data_ptr(), x.const_data_ptr<float>(), weight.const_data_ptr<float>(), saved[2].const_data_ptr<float>(), x.size(0), x.size(1),
                            Half(gy), gx.data_ptr<float>(), parts.data_ptr<float>());
    return {gx, ctx->needs_input_grad(1) ? parts.sum(0) : Tensor(), Tensor(), Tensor()};
  }
};

Tensor DeviceRotatedBy(const Tensor& x, const Tensor& cos, const Tensor& sin, bool backward) {
  Tensor y = torch::empty_like(x);
  device::Rotate(x.const_data_ptr(), cos.const_data_ptr<float>(), sin.const_data_ptr<float>(), x.size(0), static_cast<int>(x.size(1)), static_cast<int>(x.size(2)), Half(x),
                 backward, y.mutable_data_ptr());
  return y;
}

class DeviceRotate : public Function<DeviceRotate> {
 public:
  static Tensor forward(AutogradContext* ctx, const Tensor& x, const Tensor& cos, const Tensor& sin) {
    const Tensor c = cos.contiguous(), s = sin.contiguous();
    ctx->save_for_backward({c, s});
    return DeviceRotatedBy(x.contiguous(), c, s, false);
  }
  static tensor_list backward(AutogradContext* ctx, tensor_list gradients) {
    const auto saved = ctx->get_saved_variables();
    return {DeviceRotatedBy(gradients[0].contiguous(), saved[0], saved[1], true), Tensor(), Tensor()};
  }
};

class DeviceSwiglu : public Function<DeviceSwiglu> {
 public:
  static Tensor forward(AutogradContext* ctx, const Tensor& gate_in, const Tensor& up_in) {
    const Tensor gate = gate_in.contiguous(), up = up_in.contiguous();
    ctx->save_for_backward({gate, up});
    Tensor out = torch::empty_like(gate);
    device::Swiglu(gate.const_data_ptr(), up.const_data_ptr(), gate.numel(), Half(gate), out.mutable_data_ptr());
    return out;
  }
  static tensor_list backward(AutogradContext* ctx, tensor_list gradients) {
    const auto saved = ctx->get_saved_variables();
    const Tensor outer = gradients[0].contiguous();
    Tensor ggate = torch::empty_like(saved[0]), gup = torch::empty_like(saved[1]);
    device::SwigluBackward(saved[0].const_data_ptr(), saved[1].const_data_ptr(), outer.const_data_ptr(), outer.numel(), Half(outer), ggate.mutable_data_ptr(),
                           gup.mutable_data_ptr());
    return {ggate, gup};
  }
};

}  // namespace

Tensor RmsNorm(const Tensor& x, const Tensor& weight, double eps, torch::ScalarType type) {
  if (Plain(x) && Plain(weight) && x.dim() == 2 && type == torch::kFloat32) return FusedRmsNorm::apply(x, weight, eps);
  const bool plain = x.scalar_type() == torch::kFloat32 && weight.scalar_type() == torch::kFloat32 && x.dim() == 2;
  if (plain && OnDevice(x) && (type == torch::kFloat32 || type == torch::kBFloat16) && device::FitsRmsNorm(x.size(1))) {
    return DeviceRmsNorm::apply(x, weight, eps, type == torch::kBFloat16);
  }
  const Tensor f = x.to(torch::kFloat32), n = f * torch::rsqrt(f.square().mean(-1, true) + eps);
  return x.scalar_type() == type ? n.to(type) * weight.to(type) : (n * weight.to(torch::kFloat32)).to(type);
}

Tensor Rotate(const Tensor& x, const Tensor& cos, const Tensor& sin) {
  if (Plain(x) && Plain(cos) && Plain(sin) && x.dim() == 3) return FusedRotate::apply(x, cos, sin);
  if (OnDevice(x) && cos.scalar_type() == torch::kFloat32 && x.dim() == 3 && x.size(2) % 4 == 0) return DeviceRotate::apply(x, cos, sin);
  const Tensor f = x.to(cos.scalar_type());
  const int64_t half = x.size(-1) / 2;
  return (f * cos + torch::cat({-f.narrow(-1, half, half), f.narrow(-1, 0, half)}, -1) * sin).to(x.scalar_type());
}

Tensor Swiglu(const Tensor& gate, const Tensor& up) {
  if (Plain(gate) && Plain(up)) return FusedSwiglu::apply(gate, up);
  if (OnDevice(gate) && gate.scalar_type() == up.scalar_type() && gate.numel() % 8 == 0) return DeviceSwiglu::apply(gate, up);
  return torch::silu(gate) * up;
}

}  // namespace swerve
