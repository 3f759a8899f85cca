#include <torch/torch.h>

#include "policy/device_step.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "policy/kernels.h"

namespace swerve {
namespace {

using device::DrawnRow;
using device::DrawRow;
using device::StepRow;
using torch::Tensor;

constexpr size_t kGraphs = 3;  // rows under way may be of older weights

// Rows that a step computes, whatever is active: a number that matrix instructions divide well.
int WidthFor(int rows) { return (rows + 15) / 16 * 16; }

// The device draws from all of the distribution; a nucleus and alternatives are the host's.
bool OnHost(const GenerateRequest& request) { return request.top_logprobs > 0 || (request.temperature > 0 && request.top_p < 1); }

}  // namespace

DeviceStep::DeviceStep(const DeviceWeights& like, DeviceCache& cache, int wanted, device::DeviceOps* ops)
    : shape_(like.shape()), device_(like.head().device()), width_(WidthFor(wanted)),
      table_stride_(static_cast<int>(2 + (like.config().text.max_positions + device::kPage - 1) / device::kPage)), ops_(ops),
      cache_(cache) {
  const TextConfig& c = like.config().text;
  const int64_t w = width_, qkv = (c.heads + 2 * c.kv_heads) * c.head_dim;
  const torch::ScalarType type = shape_.half ? torch::kBFloat16 : torch::kFloat32, f = torch::kFloat32;
  draws_at_ = w * static_cast<int64_t>(sizeof(StepRow));
  draws_at_ += -draws_at_ & 15;
  cohorts_at_ = draws_at_ + w * static_cast<int64_t>(sizeof(DrawRow));
  input_host_.resize(cohorts_at_ + 3 * w * sizeof(int32_t));
  input_ = Room({static_cast<int64_t>(input_host_.size())}, torch::kUInt8);
  drawn_ = Room({w * static_cast<int64_t>(sizeof(DrawnRow))}, torch::kUInt8);
  tables_ = Room({w * table_stride_}, torch::kInt32);
  frequencies_ = torch::pow(c.rope_theta, torch::arange(0, c.head_dim, 2, torch::kFloat64) / -c.head_dim).to(f).to(device_);
  x_ = Room({w, c.hidden}, f);
  n_ = Room({w, c.hidden}, type);
  qkv_ = Room({w, qkv}, type);
  attention_ = Room({w, c.heads * c.head_dim}, type);
  gated_ = Room({w, c.mlp}, type);
  logits_ = Room({w, c.vocab}, f);
  partial_ = Room({device::PartialFloats(shape_, width_)}, f);
  arrivals_ = Room({w * c.kv_heads}, torch::kInt32);
  masses_ = Room({device::SamplePartialFloats(shape_, width_)}, f);
  gate_up_ = Room({w, 2 * c.mlp}, type);
  host_drawn_.resize(width_);
  ops_->Synchronize();
}

void DeviceStep::SetTable(int slot, const std::vector<int32_t>& pages) {
  ops_->ToDevice(tables_.data_ptr<int32_t>() + static_cast<int64_t>(slot) * table_stride_, pages.data(), static_cast<int64_t>(pages.size() * sizeof(int32_t)));
}

std::vector<DeviceStep::Part> DeviceStep::Parts(const DeviceWeights& w) {
  uint8_t* input = input_.data_ptr<uint8_t>();
  const StepRow* steps = reinterpret_cast<const StepRow*>(input);
  const DrawRow* draws = reinterpret_cast<const DrawRow*>(input + draws_at_);
  const int32_t *cohorts = reinterpret_cast<const int32_t*>(input + cohorts_at_), *tables = tables_.data_ptr<int32_t>();
  DrawnRow* drawn = reinterpret_cast<DrawnRow*>(drawn_.data_ptr<uint8_t>());
  float* x = x_.data_ptr<float>();
  auto times = [this](const Tensor& m, const Tensor& from, void* to, bool wide, bool add) {
    ops_->Multiply(shape_, m.data_ptr(), from.data_ptr(), to, width_, static_cast<int>(m.size(0)), static_cast<int>(m.size(1)), wide, add);
  };
  auto norm = [this, x](const Tensor& weight) { ops_->RmsNorm(shape_, x, weight.data_ptr<float>(), width_, n_.data_ptr()); };
  auto layer = [&w](int l) -> const DeviceWeights::Layer& { return w.layers()[l]; };
  return {
      {"embed", [=, this, &w](int) { ops_->Embed(shape_, steps, width_, w.embedding().data_ptr(), x); }, false},
      {"norm1", [=](int l) { norm(layer(l).norm1); }},
      {"qkv", [=, this](int l) { times(layer(l).qkv, n_, qkv_.data_ptr(), false, false); }},
      {"place",
       [=, this](int l) {
         const Tensor& bias = layer(l).qkv_bias;
         ops_->Place(shape_, steps, tables, width_, qkv_.data_ptr(), bias.defined() ? bias.data_ptr() : nullptr, frequencies_.data_ptr<float>(), cache_.keys(l).data_ptr(),
                     cache_.values(l).data_ptr());
       }},
      {"attend",
       [=, this](int l) {
         ops_->Attend(shape_, steps, tables, cohorts, width_, qkv_.data_ptr(), cache_.keys(l).data_ptr(), cache_.values(l).data_ptr(), partial_.data_ptr<float>(),
                      arrivals_.data_ptr<int32_t>(), attention_.data_ptr());
       }},
      {"o", [=, this](int l) { times(layer(l).o, attention_, x, true, true); }},
      {"norm2", [=](int l) { norm(layer(l).norm2); }},
      {"gate_up", [=, this](int l) { times(layer(l).gate_up, n_, gate_up_.data_ptr(), false, false); }},
      {"swiglu", [=, this](int) { ops_->Swiglu(shape_, gate_up_.data_ptr(), width_, gated_.data_ptr()); }},
      {"down", [=, this](int l) { times(layer(l).down, gated_, x, true, true); }},
      {"final_norm", [=, &w](int) { norm(w.norm()); }, false},
      {"head", [=, this, &w](int) { times(w.head(), n_, logits_.data_ptr(), true, false); }, false},
      {"sample", [=, this](int) { ops_->Sample(shape_, draws, width_, logits_.data_ptr<float>(), shape_.vocab, masses_.data_ptr<float>(), drawn); }, false},
  };
}

void DeviceStep::Compute(const DeviceWeights& w) {
  const std::vector<Part> parts = Parts(w);
  const auto from = std::find_if(parts.begin(), parts.end(), [](const Part& p) { return p.each_layer; });
  const auto to = std::find_if(from, parts.end(), [](const Part& p) { return !p.each_layer; });
  for (auto p = parts.begin(); p != from; ++p) p->work(0);
  for (int l = 0; l < static_cast<int>(w.layers().size()); ++l) {
    for (auto p = from; p != to; ++p) p->work(l);
  }
  for (auto p = to; p != parts.end(); ++p) p->work(0);
}

std::map<std::string, double> DeviceStep::TimeParts(const DeviceWeights& w) {
  constexpr int kRounds = 20;
  auto now = [] { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); };
  std::map<std::string, double> out;
  for (const Part& part : Parts(w)) {
    const auto graph = ops_->Record([&] {
      for (int l = 0; l < (part.each_layer ? static_cast<int>(w.layers().size()) : 1); ++l) part.work(l);
    });
    graph->Launch();
    ops_->Synchronize();
    const double begin = now();
    for (int i = 0; i < kRounds; ++i) graph->Launch();
    ops_->Synchronize();
    out[part.name] = (now() - begin) / kRounds;
  }
  return out;
}

void DeviceStep::Run(const DeviceWeights& w, absl::Span<const StepRow> steps, absl::Span<const void* const> prompts, absl::Span<DecodeBackend::Draw*> draws) {
  std::fill(Host<StepRow>(0), Host<StepRow>(0) + width_, StepRow{});
  std::copy(steps.begin(), steps.end(), Host<StepRow>(0));
  FillDraws(1, draws);
  FillCohorts(prompts);
  ops_->ToDevice(input_.data_ptr(), input_host_.data(), static_cast<int64_t>(input_host_.size()));
  const auto found = std::find_if(graphs_.begin(), graphs_.end(), [&](const Recorded& r) { return r.weights == w.id(); });
  if (found != graphs_.end()) {
    graphs_.splice(graphs_.begin(), graphs_, found);
    graphs_.front().graph->Launch();
  } else {
    Compute(w);  // chooses algorithms, which cannot be recorded
    graphs_.push_front({w.id(), ops_->Record([this, &w] { Compute(w); })});
    if (graphs_.size() > kGraphs) graphs_.pop_back();
  }
  TakeDraws(logits_.data_ptr<float>(), 1, draws);
}

void DeviceStep::DrawFrom(const float* logits, int apart, absl::Span<DecodeBackend::Draw*> draws) {
  FillDraws(apart, draws);
  DrawRow* to = reinterpret_cast<DrawRow*>(input_.data_ptr<uint8_t>() + draws_at_);
  ops_->ToDevice(to, Host<DrawRow>(draws_at_), width_ * static_cast<int64_t>(sizeof(DrawRow)));
  ops_->Sample(shape_, to, static_cast<int>(draws.size()), logits, shape_.vocab, masses_.data_ptr<float>(), reinterpret_cast<DrawnRow*>(drawn_.data_ptr<uint8_t>()));
  TakeDraws(logits, apart, draws);
}

void DeviceStep::FillDraws(int apart, absl::Span<DecodeBackend::Draw*> draws) {
  DrawRow* to = Host<DrawRow>(draws_at_);
  std::fill(to, to + width_, DrawRow{});
  for (size_t i = 0; i < draws.size(); ++i) {
    const GenerateRequest& request = *draws[i]->request;
    if (OnHost(request)) continue;
    to[i] = {static_cast<int32_t>(i) * apart, request.temperature > 0 ? static_cast<float>(1 / request.temperature) : 0.0f, draws[i]->uniform};
  }
}

// Rows in order of their prompts, cut where a cohort is full.
void DeviceStep::FillCohorts(absl::Span<const void* const> prompts) {
  int32_t *order = Host<int32_t>(cohorts_at_), *first = order + width_, *count = first + width_;
  std::fill(order, order + 3 * width_, 0);
  std::map<const void*, std::vector<int32_t>> rows;
  for (size_t i = 0; i < prompts.size(); ++i) rows[prompts[i]].push_back(static_cast<int32_t>(i));
  const int most = device::CohortRows(shape_);
  int at = 0, cohort = 0;
  for (const auto& [prompt, members] : rows) {
    for (size_t i = 0; i < members.size(); ++i) {
      if (i % most == 0) first[cohort++] = at;
      ++count[cohort - 1];
      order[at++] = members[i];
    }
  }
}

void DeviceStep::TakeDraws(const float* logits, int apart, absl::Span<DecodeBackend::Draw*> draws) {
  ops_->ToHost(host_drawn_.data(), drawn_.data_ptr(), static_cast<int64_t>(draws.size() * sizeof(DrawnRow)));
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
