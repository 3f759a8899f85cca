#include <torch/torch.h>

#include "policy/device_step.h"

#include <algorithm>
#include <cmath>

#include "policy/kernels.h"

namespace swerve {
namespace {

using device::DrawnRow;
using device::DrawRow;
using device::StepRow;
using torch::Tensor;

constexpr size_t kGraphs = 3;  // rows under way may be of older weights

// Rows as bytes on the device.
template <typename T>
T* Rows(const Tensor& t) {
  return reinterpret_cast<T*>(t.data_ptr<uint8_t>());
}

// The device draws from all of the distribution; a nucleus and alternatives are the host's.
bool OnHost(const GenerateRequest& request) { return request.top_logprobs > 0 || (request.temperature > 0 && request.top_p < 1); }

}  // namespace

DeviceStep::DeviceStep(const DeviceWeights& like, DeviceCache& cache, int width, device::DeviceOps* ops)
    : shape_(like.shape()), device_(like.head().device()), width_(width),
      table_stride_(static_cast<int>(2 + (like.config().text.max_positions + device::kPage - 1) / device::kPage)), ops_(ops), cache_(cache) {
  const TextConfig& c = like.config().text;
  const int64_t w = width;
  const torch::ScalarType type = shape_.half ? torch::kBFloat16 : torch::kFloat32, f = torch::kFloat32;
  steps_ = Room({w * static_cast<int64_t>(sizeof(StepRow))}, torch::kUInt8);
  draws_ = Room({w * static_cast<int64_t>(sizeof(DrawRow))}, torch::kUInt8);
  drawn_ = Room({w * static_cast<int64_t>(sizeof(DrawnRow))}, torch::kUInt8);
  tables_ = Room({w * table_stride_}, torch::kInt32);
  frequencies_ = torch::pow(c.rope_theta, torch::arange(0, c.head_dim, 2, torch::kFloat64) / -c.head_dim).to(f).to(device_);
  x_ = Room({w, c.hidden}, f);
  n_ = Room({w, c.hidden}, type);
  qkv_ = Room({w, (c.heads + 2 * c.kv_heads) * c.head_dim}, type);
  attention_ = Room({w, c.heads * c.head_dim}, type);
  gate_up_ = Room({w, 2 * c.mlp}, type);
  gated_ = Room({w, c.mlp}, type);
  logits_ = Room({w, c.vocab}, f);
  partial_ = Room({device::PartialFloats(shape_, width)}, f);
  arrivals_ = Room({w * c.kv_heads}, torch::kInt32);
  masses_ = Room({device::SamplePartialFloats(shape_, width)}, f);
  host_draws_.resize(width);
  host_drawn_.resize(width);
  ops_->Synchronize();
}

void DeviceStep::SetTable(int slot, const std::vector<int32_t>& pages) {
  ops_->ToDevice(tables_.data_ptr<int32_t>() + static_cast<int64_t>(slot) * table_stride_, pages.data(), static_cast<int64_t>(pages.size() * sizeof(int32_t)));
}

void DeviceStep::Compute(const DeviceWeights& w) {
  const StepRow* steps = Rows<StepRow>(steps_);
  const int32_t* tables = tables_.data_ptr<int32_t>();
  float* x = x_.data_ptr<float>();
  auto times = [&](const Tensor& matrix, const Tensor& from, void* to, bool wide, bool add) {
    ops_->Multiply(shape_, matrix.data_ptr(), from.data_ptr(), to, width_, static_cast<int>(matrix.size(0)), static_cast<int>(matrix.size(1)), wide, add);
  };
  auto norm = [&](const Tensor& weight) { ops_->RmsNorm(shape_, x, weight.data_ptr<float>(), width_, n_.data_ptr()); };
  ops_->Embed(shape_, steps, width_, w.embedding().data_ptr(), x);
  for (size_t l = 0; l < w.layers().size(); ++l) {
    const DeviceWeights::Layer& layer = w.layers()[l];
    void *keys = cache_.keys(static_cast<int>(l)).data_ptr(), *values = cache_.values(static_cast<int>(l)).data_ptr();
    norm(layer.norm1);
    times(layer.qkv, n_, qkv_.data_ptr(), false, false);
    ops_->Place(shape_, steps, tables, width_, qkv_.data_ptr(), layer.qkv_bias.defined() ? layer.qkv_bias.data_ptr() : nullptr, frequencies_.data_ptr<float>(), keys, values);
    ops_->Attend(shape_, steps, tables, width_, qkv_.data_ptr(), keys, values, partial_.data_ptr<float>(), arrivals_.data_ptr<int32_t>(), attention_.data_ptr());
    times(layer.o, attention_, x, true, true);
    norm(layer.norm2);
    times(layer.gate_up, n_, gate_up_.data_ptr(), false, false);
    ops_->Swiglu(shape_, gate_up_.data_ptr(), width_, gated_.data_ptr());
    times(layer.down, gated_, x, true, true);
  }
  norm(w.norm());
  times(w.head(), n_, logits_.data_ptr(), true, false);
  ops_->Sample(shape_, Rows<DrawRow>(draws_), width_, logits_.data_ptr<float>(), shape_.vocab, masses_.data_ptr<float>(), Rows<DrawnRow>(drawn_));
}

void DeviceStep::Run(const DeviceWeights& w, const std::vector<StepRow>& steps, absl::Span<DecodeBackend::Draw*> draws) {
  ops_->ToDevice(Rows<StepRow>(steps_), steps.data(), static_cast<int64_t>(width_ * sizeof(StepRow)));
  PutDraws(1, draws);
  const auto found = std::find_if(graphs_.begin(), graphs_.end(), [&](const Recorded& r) { return r.weights == w.id(); });
  if (found != graphs_.end()) {
    graphs_.splice(graphs_.begin(), graphs_, found);
    graphs_.front().graph->Launch();
  } else {
    Compute(w);  // chooses algorithms, which cannot be recorded
    graphs_.push_front({w.id(), ops_->Record([&] { Compute(w); })});
    if (graphs_.size() > kGraphs) graphs_.pop_back();
  }
  TakeDraws(logits_.data_ptr<float>(), 1, draws);
}

void DeviceStep::DrawFrom(const float* logits, int apart, absl::Span<DecodeBackend::Draw*> draws) {
  PutDraws(apart, draws);
  ops_->Sample(shape_, Rows<DrawRow>(draws_), static_cast<int>(draws.size()), logits, shape_.vocab, masses_.data_ptr<float>(), Rows<DrawnRow>(drawn_));
  TakeDraws(logits, apart, draws);
}

void DeviceStep::PutDraws(int apart, absl::Span<DecodeBackend::Draw*> draws) {
  std::fill(host_draws_.begin(), host_draws_.end(), DrawRow{});
  for (size_t i = 0; i < draws.size(); ++i) {
    const GenerateRequest& request = *draws[i]->request;
    if (OnHost(request)) continue;
    host_draws_[i] = {static_cast<int32_t>(i) * apart, request.temperature > 0 ? static_cast<float>(1 / request.temperature) : 0.0f, draws[i]->uniform};
  }
  ops_->ToDevice(Rows<DrawRow>(draws_), host_draws_.data(), static_cast<int64_t>(width_ * sizeof(DrawRow)));
}

void DeviceStep::TakeDraws(const float* logits, int apart, absl::Span<DecodeBackend::Draw*> draws) {
  ops_->ToHost(host_drawn_.data(), Rows<DrawnRow>(drawn_), static_cast<int64_t>(draws.size() * sizeof(DrawnRow)));
  for (size_t i = 0; i < draws.size(); ++i) {
    DecodeBackend::Draw& draw = *draws[i];
    if (!OnHost(*draw.request)) {
      draw.drawn = {{host_drawn_[i].token, host_drawn_[i].logprob}, {}};
      continue;
    }
    row_.resize(kernels::Padded(shape_.vocab));
    ops_->ToHost(row_.data(), logits + static_cast<int64_t>(i) * apart * shape_.vocab, static_cast<int64_t>(shape_.vocab) * sizeof(float));
    draw.drawn = DrawToken(row_.data(), shape_.vocab, *draw.request, draw.uniform, &scratch_);
  }
}

}  // namespace swerve
