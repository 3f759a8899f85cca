#include <torch/torch.h>

#include "policy/device_backend.h"

#include <algorithm>

#include "base/status.h"
#include "policy/cuda_library.h"
#include "policy/device_pages.h"
#include "policy/device_step.h"
#include "policy/device_weights.h"
#include "policy/packed_batch.h"
#include "policy/torch_linear.h"

namespace swerve {
namespace {

using device::DeviceOps;
using torch::Tensor;

constexpr int64_t kPrefillTokens = 16384;  // run together at most, but for a longer prompt
constexpr size_t kPrompts = 256;

const DeviceWeights& Of(const DecodeWeights& weights) { return static_cast<const DeviceWeights&>(weights); }

struct DevicePrompt : DecodeBackend::Prompt {
  DevicePages pages;
  int length = 0, next = 0;  // tokens; the rotary position that follows
  Tensor logits;             // float32 [vocabulary], after the last token
};
struct DeviceRow : DecodeBackend::Row {
  const DevicePrompt* prompt = nullptr;
  DevicePages pages;
  int slot = 0;  // of the table of pages
  int own = 0;   // tokens
  bool tabled = false;  // the device knows its pages
};

// Runs `body`; what the device or LibTorch throws becomes UNAVAILABLE.
template <typename Body>
absl::Status Guarded(const Body& body) {
  try {
    return body();
  } catch (const std::exception& e) {
    return absl::UnavailableError(absl::StrCat("the CUDA device: ", e.what()));
  }
}

class DeviceBackend : public DecodeBackend {
 public:
  DeviceBackend(const ModelConfig& config, const DeviceWeights& first, torch::Device device, int width, int64_t pages, std::unique_ptr<DeviceOps> ops)
      : config_(config), ops_(std::move(ops)), cache_(config.text, first.tensors().compute, device, pages), pool_(static_cast<int>(pages)),
        step_(first, cache_, width, ops_.get()) {
    for (int i = step_.width() - 1; i >= 0; --i) free_slots_.push_back(i);
  }

  absl::Status Prefill(const DecodeWeights& weights, absl::Span<PromptWork> prompts) override {
    return Guarded([&]() -> absl::Status {
      torch::NoGradGuard constant;
      for (size_t from = 0; from < prompts.size();) {
        size_t to = from;
        for (int64_t tokens = 0; to < prompts.size(); ++to) {
          tokens += static_cast<int64_t>(prompts[to].ids->size());
          if (to > from && tokens > kPrefillTokens) break;
        }
        RunPrompts(Of(weights), prompts.subspan(from, to - from));
        from = to;
      }
      ops_->Synchronize();
      return absl::OkStatus();
    });
  }

  absl::Status First(const Prompt& prompt, absl::Span<Draw> draws) override {
    return Guarded([&]() -> absl::Status {
      std::vector<Draw*> all;
      for (Draw& draw : draws) all.push_back(&draw);
      const float* logits = static_cast<const DevicePrompt&>(prompt).logits.data_ptr<float>();
      for (size_t at = 0; at < all.size(); at += step_.width()) {
        const size_t count = std::min<size_t>(step_.width(), all.size() - at);
        step_.DrawFrom(logits, 0, absl::MakeSpan(all).subspan(at, count));
      }
      return absl::OkStatus();
    });
  }

  std::unique_ptr<Row> Begin(const Prompt& prompt, int tokens) override {
    auto row = std::make_unique<DeviceRow>();
    row->prompt = &static_cast<const DevicePrompt&>(prompt);
    row->pages = pool_.Take(tokens);
    row->slot = free_slots_.back();
    free_slots_.pop_back();
    return row;
  }

  void End(std::unique_ptr<Row> row) override { free_slots_.push_back(static_cast<DeviceRow&>(*row).slot); }

  absl::Status Step(const DecodeWeights& weights, absl::Span<RowWork> rows) override {
    return Guarded([&]() -> absl::Status {
      std::vector<device::StepRow> steps;
      std::vector<const void*> prompts;
      std::vector<Draw*> draws;
      for (RowWork& work : rows) {
        auto& row = static_cast<DeviceRow&>(*work.row);
        if (!row.tabled) Tell(&row);
        steps.push_back({work.token, row.prompt->next + row.own, row.slot * step_.table_stride(), row.prompt->length, row.own});
        prompts.push_back(row.prompt);
        draws.push_back(&work.draw);
      }
      step_.Run(Of(weights), steps, prompts, absl::MakeSpan(draws));
      for (RowWork& work : rows) ++static_cast<DeviceRow*>(work.row)->own;
      return absl::OkStatus();
    });
  }

  std::map<std::string, double> TimeParts(const DecodeWeights& weights) override { return step_.TimeParts(Of(weights)); }

 private:
  // Here and not where the row begins, which cannot fail.
  void Tell(DeviceRow* row) {
    std::vector<int32_t> table = row->prompt->pages.numbers();
    table.insert(table.end(), row->pages.numbers().begin(), row->pages.numbers().end());
    step_.SetTable(row->slot, table);
    row->tabled = true;
  }
  void RunPrompts(const DeviceWeights& w, absl::Span<PromptWork> prompts) {
    PackedBatch batch;
    std::vector<int64_t> slots, last;
    std::vector<std::unique_ptr<DevicePrompt>> made;
    for (const PromptWork& work : prompts) {
      auto prompt = std::make_unique<DevicePrompt>();
      prompt->length = static_cast<int>(work.ids->size());
      prompt->pages = pool_.Take(prompt->length);
      for (int t = 0; t < prompt->length; ++t) slots.push_back(prompt->pages.SlotOf(t));
      batch.AddPrompt(config_, *work.ids, *work.images);
      prompt->next = static_cast<int>(batch.next.back());
      last.push_back(static_cast<int64_t>(batch.ids.size()) - 1);
      made.push_back(std::move(prompt));
    }
    const TorchWeights& t = w.tensors();
    const Tensor x = EmbedBatch(t, config_, batch, /*vision_frozen=*/true), index = IndexTensor(slots, x.device());
    const Attend attend = BatchAttention(t, config_.text, batch.sequences);
    const Tensor hidden = RunDecoder(t, config_.text, x, RotaryOf(config_.text, batch.FlatPositions(), x),
                                     [&](int layer, const Tensor& q, const Tensor& k, const Tensor& v) {
                                       cache_.keys(layer).index_copy_(0, index, k);
                                       cache_.values(layer).index_copy_(0, index, v);
                                       return attend(layer, q, k, v);
                                     });
    const Tensor seen = FinalNorm(t, config_.text, hidden.index_select(0, IndexTensor(last, x.device())));
    const Tensor logits = WideProduct(seen, w.head().transpose(0, 1)).contiguous();
    for (size_t i = 0; i < prompts.size(); ++i) {
      made[i]->logits = logits.select(0, static_cast<int64_t>(i));
      prompts[i].prompt = std::move(made[i]);
    }
  }

  const ModelConfig& config_;
  const std::unique_ptr<DeviceOps> ops_;
  DeviceCache cache_;
  DevicePagePool pool_;
  DeviceStep step_;
  std::vector<int> free_slots_;
};

class DevicePlatform : public EnginePlatform {
 public:
  using MakeOps = std::function<absl::StatusOr<std::unique_ptr<DeviceOps>>()>;
  DevicePlatform(const EngineOptions& options, torch::Device device, torch::ScalarType type, MakeOps make_ops)
      : options_(options), device_(device), type_(type), make_ops_(std::move(make_ops)) {}

  absl::Status Check(const ModelConfig& config) const override {
    const TextConfig& t = config.text;
    auto bad = [](auto... what) { return absl::UnimplementedError(absl::StrCat("the CUDA engine's kernels need ", what...)); };
    if (t.head_dim != 32 && t.head_dim != 64 && t.head_dim != 128) return bad("a head_dim of 32, 64 or 128, not ", t.head_dim);
    if (t.heads / t.kv_heads > device::kCohortRows) return bad("at most ", device::kCohortRows, " query heads to a key head, not ", t.heads / t.kv_heads);
    if (t.hidden > 8192) return bad("a hidden_size of at most 8192, not ", t.hidden);
    if (t.hidden % 8 != 0 || t.mlp % 8 != 0) return bad("hidden_size and intermediate_size that are multiples of 8, not ", t.hidden, " and ", t.mlp);
    return absl::OkStatus();
  }

  absl::StatusOr<std::shared_ptr<const DecodeWeights>> Load(const std::string& dir, const ModelConfig& config) const override {
    return DeviceWeights::Load(dir, config, device_, type_);
  }

  int64_t CacheBytes(const ModelConfig& config, int tokens) const override {
    return DevicePagePool::PagesFor(tokens) * DeviceCache::PageBytes(config.text, type_);
  }

  absl::StatusOr<Layout> Start(const ModelConfig& config, const DecodeWeights& first) override {
    Layout layout;
    layout.rows = options_.max_batch;
    layout.prompts = kPrompts;
    const int64_t page = DeviceCache::PageBytes(config.text, type_), pages = (options_.cache_mb << 20) / page;
    if (pages < 2) return absl::InvalidArgumentError(absl::StrCat("cache_mb ", options_.cache_mb, " holds no two pages of keys and values, ", page >> 10, " KiB each"));
    layout.cache_bytes = pages * page;
    SWERVE_ASSIGN_OR_RETURN(std::unique_ptr<DeviceOps> ops, make_ops_());
    SWERVE_RETURN_IF_ERROR(Guarded([&]() -> absl::Status {
      torch::NoGradGuard constant;
      layout.loops.push_back(std::make_unique<DeviceBackend>(config, Of(first), device_, options_.max_batch, pages, std::move(ops)));
      return absl::OkStatus();
    }));
    return layout;
  }

 private:
  const EngineOptions options_;
  const torch::Device device_;
  const torch::ScalarType type_;
  const MakeOps make_ops_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<EnginePlatform>> CreateDevicePlatform(const EngineOptions& options, const std::string& device,
                                                                     std::function<absl::StatusOr<std::unique_ptr<DeviceOps>>()> make_ops) {
  if (options.dtype != "float32" && options.dtype != "bfloat16") return absl::InvalidArgumentError(absl::StrCat("dtype '", options.dtype, "' is not supported (float32, bfloat16)"));
  return std::make_unique<DevicePlatform>(options, torch::Device(device), options.dtype == "bfloat16" ? torch::kBFloat16 : torch::kFloat32, std::move(make_ops));
}

absl::StatusOr<std::unique_ptr<EnginePlatform>> CreateCudaPlatform(const EngineOptions& options) {
#ifdef SWERVE_CUDA
  SWERVE_ASSIGN_OR_RETURN(const torch::Device device, OpenDevice(options.device));
  const int index = device.index();
  return CreateDevicePlatform(options, absl::StrCat("cuda:", index), [index]() -> absl::StatusOr<std::unique_ptr<DeviceOps>> {
    std::string error;
    std::unique_ptr<DeviceOps> ops = device::CreateCudaOps(index, &error);
    if (ops == nullptr) return absl::UnavailableError(error);
    return ops;
  });
#else
  return absl::UnavailableError("built without CUDA (CMake found no CUDA compiler), so the generation engine runs on cpu alone");
#endif
}

}  // namespace swerve
