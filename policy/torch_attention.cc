#include <torch/torch.h>

#include "policy/torch_attention.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "policy/kernels.h"

namespace swerve {
namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::tensor_list;
using Stretch = PackedSequences::Stretch;

constexpr int64_t kBlock = 96;        // queries at a time, and keys of a block where they are a product's depth
constexpr float kNothing = -3e38f;    // a score that weighs nothing

// The tensors of one call. Query head h reads key head h / group; its keys' gradients are its own until they are summed.
struct Call {
  const float *q, *k, *v, *gout;   // gout null: forward
  float *out, *gq, *gk, *gv;       // [N, heads, d] each
  int64_t heads, kv_heads, d;
  int64_t query_stride() const { return heads * d; }
  int64_t key_stride() const { return kv_heads * d; }
};

// Keys, or values, of a stretch for one head, packed for both kinds of product: as columns whose scores are wanted, and in
// blocks of kBlock as the depth that weights are summed over.
class PackedKeys {
 public:
  void Set(const float* from, int64_t stride, int64_t length, int64_t d, bool as_columns, bool as_depth) {
    const kernels::Table& t = kernels::Best();
    length_ = length, d_ = d;
    if (as_columns) {
      columns_.resize(kernels::Padded(length) * d);
      t.pack_rows(from, stride, static_cast<int>(length), static_cast<int>(d), columns_.data());
    }
    if (!as_depth) return;
    depth_.resize(length * d);
    for (int64_t at = 0; at < length; at += kBlock) {
      t.pack_columns(from + at * stride, stride, static_cast<int>(d), static_cast<int>(std::min(kBlock, length - at)), depth_.data() + at * d);
    }
  }

  int64_t length() const { return length_; }
  const float* columns() const { return columns_.data(); }

  // c (+)= weights[rows, 0:count] · keys[0:count]; count the whole length or a multiple of kBlock.
  void Mix(const float* weights, int64_t stride, int64_t rows, int64_t count, float* c, int64_t ldc, bool add) const {
    for (int64_t at = 0; at < count; at += kBlock) {
      kernels::Best().gemm(weights + at, stride, static_cast<int>(rows), depth_.data() + at * d_, static_cast<int>(d_),
                           static_cast<int>(std::min(kBlock, count - at)), nullptr, c, ldc, add || at > 0);
    }
  }

 private:
  std::vector<float> columns_, depth_;
  int64_t length_ = 0, d_ = 0;
};

// One query head over one group of sequences; its buffers are used again for the next.
class Head {
 public:
  void Run(const Call& call, const PackedSequences::Group& group, int64_t head) {
    call_ = &call, head_ = head, key_head_ = head / (call.heads / call.kv_heads);
    scale_ = static_cast<float>(1.0 / std::sqrt(static_cast<double>(call.d)));
    Pack(group.prompt, &prompt_k_, &prompt_v_);
    Attend(group.prompt, 0, {}, prompt_k_, prompt_v_);
    for (const Stretch& answer : group.answers) {
      if (answer.length == 0) continue;
      Pack(answer, &own_k_, &own_v_);
      Attend(answer, group.prompt.length, group.prompt, own_k_, own_v_);
    }
  }

 private:
  bool backward() const { return call_->gout != nullptr; }

  void Pack(const Stretch& s, PackedKeys* k, PackedKeys* v) const {
    const int64_t at = (s.first * call_->kv_heads + key_head_) * call_->d;
    k->Set(call_->k + at, call_->key_stride(), s.length, call_->d, true, backward());
    v->Set(call_->v + at, call_->key_stride(), s.length, call_->d, backward(), !backward());
  }

  // Tokens of `s` over the first `before` keys of the prompt, which is `seen`, and over their own stretch up to themselves.
  void Attend(const Stretch& s, int64_t before, const Stretch& seen, const PackedKeys& k, const PackedKeys& v) {
    stride_ = kernels::Padded(before) + kernels::Padded(s.length);
    p_.resize(kBlock * stride_);
    if (backward()) dp_.resize(kBlock * stride_);
    for (int64_t t = 0; t < s.length; t += kBlock) {
      const int64_t rows = std::min(kBlock, s.length - t);
      Weigh(s.first + t, t, rows, before, k);
      if (backward()) {
        Backward(s, t, rows, before, seen, k, v);
      } else {
        Forward(s.first + t, t + rows, rows, before, v);
      }
    }
  }

  // p_: of `rows` tokens from `token` on, number t of their stretch, exp(score − the row's largest); sums_: their sums.
  void Weigh(int64_t token, int64_t t, int64_t rows, int64_t before, const PackedKeys& k) {
    const kernels::Table& table = kernels::Best();
    const int64_t d = call_->d, gap = kernels::Padded(before), own = t + rows;
    q_.resize(kBlock * d);
    for (int64_t i = 0; i < rows; ++i) {
      const float* from = call_->q + ((token + i) * call_->heads + head_) * d;
      for (int64_t j = 0; j < d; ++j) q_[i * d + j] = from[j] * scale_;
    }
    auto scores = [&](const float* columns, int64_t count, float* to) {
      table.gemm(q_.data(), d, static_cast<int>(rows), columns, static_cast<int>(kernels::Padded(count)), static_cast<int>(d), nullptr, to, stride_, false);
    };
    if (before > 0) scores(prompt_k_.columns(), before, p_.data());
    scores(k.columns(), own, p_.data() + gap);
    for (int64_t i = 0; i < rows; ++i) {
      float *row = p_.data() + i * stride_, largest;
      std::fill(row + before, row + gap, kNothing);
      const int64_t count = gap + t + i + 1;
      sums_[i] = static_cast<float>(table.exp_sum(row, static_cast<int>(count), &largest));
      std::fill(row + count, row + gap + own, 0.0f);
    }
  }

  void Forward(int64_t token, int64_t own, int64_t rows, int64_t before, const PackedKeys& v) const {
    const int64_t d = call_->d;
    float* out = call_->out + (token * call_->heads + head_) * d;
    if (before > 0) prompt_v_.Mix(p_.data(), stride_, rows, before, out, call_->query_stride(), false);
    v.Mix(p_.data() + kernels::Padded(before), stride_, rows, own, out, call_->query_stride(), before > 0);
    for (int64_t i = 0; i < rows; ++i) {
      const float factor = 1.0f / sums_[i];
      for (int64_t j = 0; j < d; ++j) out[i * call_->query_stride() + j] *= factor;
    }
  }

  void Backward(const Stretch& s, int64_t t, int64_t rows, int64_t before, const Stretch& seen, const PackedKeys& k, const PackedKeys& v) {
    const kernels::Table& table = kernels::Best();
    const int64_t d = call_->d, wide = call_->query_stride(), gap = kernels::Padded(before), own = t + rows;
    const int64_t at = ((s.first + t) * call_->heads + head_) * d;
    const float* gout = call_->gout + at;
    auto gradients = [&](const float* columns, int64_t count, float* to) {
      table.gemm(gout, wide, static_cast<int>(rows), columns, static_cast<int>(kernels::Padded(count)), static_cast<int>(d), nullptr, to, stride_, false);
    };
    if (before > 0) gradients(prompt_v_.columns(), before, dp_.data());
    gradients(v.columns(), own, dp_.data() + gap);
    for (int64_t i = 0; i < rows; ++i) {
      const int64_t count = gap + t + i + 1;
      float* row = dp_.data() + i * stride_;
      table.softmax_backward(p_.data() + i * stride_, row, 1.0f / sums_[i], static_cast<int>(count));
      std::fill(row + count, row + gap + own, 0.0f);
    }
    float* gq = call_->gq + at;
    if (before > 0) prompt_k_.Mix(dp_.data(), stride_, rows, before, gq, wide, false);
    k.Mix(dp_.data() + gap, stride_, rows, own, gq, wide, before > 0);
    for (int64_t i = 0; i < rows; ++i) {
      for (int64_t j = 0; j < d; ++j) gq[i * wide + j] *= scale_;
    }
    packed_.resize(kBlock * d);
    auto add = [&](const std::vector<float>& weights, float* to) {
      auto one = [&](const Stretch& keys, int64_t count, int64_t column) {
        table.gemm_transposed(weights.data() + column, stride_, static_cast<int>(count), packed_.data(), static_cast<int>(d), static_cast<int>(rows),
                              to + (keys.first * call_->heads + head_) * d, wide, true);
      };
      if (before > 0) one(seen, before, 0);
      one(s, own, gap);
    };
    table.pack_columns(q_.data(), d, static_cast<int>(d), static_cast<int>(rows), packed_.data());
    add(dp_, call_->gk);
    table.pack_columns(gout, wide, static_cast<int>(d), static_cast<int>(rows), packed_.data());
    add(p_, call_->gv);
  }

  const Call* call_ = nullptr;
  int64_t head_ = 0, key_head_ = 0, stride_ = 0;
  float scale_ = 1;
  PackedKeys prompt_k_, prompt_v_, own_k_, own_v_;
  std::vector<float> q_, p_, dp_, packed_;
  float sums_[kBlock] = {};
};

void RunAll(const Call& call, const PackedSequences& sequences) {
  const int64_t heads = call.heads, tasks = static_cast<int64_t>(sequences.groups.size()) * heads;
  at::parallel_for(0, tasks, 1, [&](int64_t a, int64_t b) {
    Head head;
    for (int64_t i = a; i < b; ++i) head.Run(call, sequences.groups[i / heads], i % heads);
  });
}

struct Held : torch::CustomClassHolder {
  explicit Held(std::shared_ptr<const PackedSequences> s) : sequences(std::move(s)) {}
  const std::shared_ptr<const PackedSequences> sequences;
};

class Attention : public Function<Attention> {
 public:
  static Tensor forward(AutogradContext* ctx, const Tensor& q_in, const Tensor& k_in, const Tensor& v_in, std::shared_ptr<const PackedSequences> sequences) {
    const Tensor q = q_in.contiguous(), k = k_in.contiguous(), v = v_in.contiguous();
    ctx->save_for_backward({q, k, v});
    Tensor out = torch::empty({q.size(0), q.size(1) * q.size(2)}, q.options());
    Call call = CallOf(q, k, v);
    call.out = out.data_ptr<float>();
    RunAll(call, *sequences);
    ctx->saved_data["sequences"] = torch::IValue::make_capsule(c10::make_intrusive<Held>(std::move(sequences)));
    return out;
  }

  static tensor_list backward(AutogradContext* ctx, tensor_list gradients) {
    const auto saved = ctx->get_saved_variables();
    const Tensor &q = saved[0], &k = saved[1], &v = saved[2], gout = gradients[0].contiguous();
    Tensor gq = torch::empty_like(q), gk = torch::zeros_like(q), gv = torch::zeros_like(q);
    Call call = CallOf(q, k, v);
    call.gout = gout.const_data_ptr<float>();
    call.gq = gq.data_ptr<float>(), call.gk = gk.data_ptr<float>(), call.gv = gv.data_ptr<float>();
    RunAll(call, *static_cast<const Held&>(*ctx->saved_data["sequences"].toCapsule()).sequences);
    const int64_t n = q.size(0), kv = k.size(1), group = q.size(1) / kv, d = q.size(2);
    auto summed = [&](const Tensor& t) { return group == 1 ? t : t.view({n, kv, group, d}).sum(2); };
    return {gq, summed(gk), summed(gv), Tensor()};
  }

 private:
  static Call CallOf(const Tensor& q, const Tensor& k, const Tensor& v) {
    Call call{};
    call.q = q.const_data_ptr<float>(), call.k = k.const_data_ptr<float>(), call.v = v.const_data_ptr<float>();
    call.heads = q.size(1), call.kv_heads = k.size(1), call.d = q.size(2);
    return call;
  }
};

}  // namespace

bool FitsPackedAttention(const Tensor& q) {
  return q.device().is_cpu() && q.scalar_type() == torch::kFloat32 && q.size(2) % kernels::kLanes == 0;
}

Tensor PackedAttention(const Tensor& q, const Tensor& k, const Tensor& v, std::shared_ptr<const PackedSequences> sequences) {
  return Attention::apply(q, k, v, std::move(sequences));
}

}  // namespace swerve
