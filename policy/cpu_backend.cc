#include "policy/cpu_backend.h"

#include <algorithm>

#include "base/status.h"
#include "policy/checkpoint.h"
#include "policy/fused_model.h"
#include "policy/team.h"

namespace swerve {
namespace {

struct CpuWeights : DecodeWeights {
  std::shared_ptr<const FusedModel> model;
};
const FusedModel& ModelOf(const DecodeWeights& weights) { return *static_cast<const CpuWeights&>(weights).model; }

struct CpuPrompt : DecodeBackend::Prompt {
  std::shared_ptr<const FusedModel> model;
  FusedModel::Cache cache;
  std::vector<float> logits;
};
struct CpuRow : DecodeBackend::Row {
  FusedModel::Row row;
};

class CpuBackend : public DecodeBackend {
 public:
  explicit CpuBackend(const ModelConfig& config, Team* team) : config_(config), team_(team), scratch_(team == nullptr ? 1 : team->size()) { pass_.team = team; }

  absl::Status Prefill(const DecodeWeights& weights, absl::Span<PromptWork> prompts) override {
    for (PromptWork& work : prompts) {
      auto prompt = std::make_unique<CpuPrompt>();
      prompt->model = static_cast<const CpuWeights&>(weights).model;
      prompt->logits.resize(prompt->model->logit_stride());
      SWERVE_RETURN_IF_ERROR(prompt->model->Prefill(*work.ids, *work.images, &prompt->cache, prompt->logits.data(), &pass_));
      work.prompt = std::move(prompt);
    }
    return absl::OkStatus();
  }

  absl::Status First(const Prompt& prompt, absl::Span<Draw> draws) override {
    for (Draw& draw : draws) DrawFrom(static_cast<const CpuPrompt&>(prompt).logits.data(), &draw, &scratch_[0]);
    return absl::OkStatus();
  }

  std::unique_ptr<Row> Begin(const Prompt& prompt, int tokens) override {
    const auto& p = static_cast<const CpuPrompt&>(prompt);
    std::unique_ptr<CpuRow> row;
    if (spare_.empty()) {
      row = std::make_unique<CpuRow>();
    } else {
      row = std::move(spare_.back());
      spare_.pop_back();
      spare_bytes_ -= FusedModel::CacheBytes(config_, row->row.own.stride);
      if (row->row.own.stride != FusedModel::Cache::StrideOf(tokens)) row->row.own = {};
    }
    row->row.prompt = &p.cache;
    row->row.own.Reset(*p.model, tokens);
    return row;
  }

  // Kept for the next: fresh pages cost more than a step.
  void End(std::unique_ptr<Row> row) override {
    spare_.emplace_back(static_cast<CpuRow*>(row.release()));
    spare_bytes_ += FusedModel::CacheBytes(config_, spare_.back()->row.own.stride);
  }

  absl::Status Step(const DecodeWeights& weights, absl::Span<RowWork> rows) override {
    const FusedModel& model = ModelOf(weights);
    const int64_t stride = model.logit_stride();
    rows_.clear(), tokens_.clear();
    for (const RowWork& work : rows) rows_.push_back(&static_cast<CpuRow*>(work.row)->row), tokens_.push_back(work.token);
    logits_.resize(rows.size() * stride);
    model.Step(rows_, tokens_, logits_.data(), &pass_);
    const auto draw = [&](size_t i, std::vector<float>* scratch) { DrawFrom(logits_.data() + i * stride, &rows[i].draw, scratch); };
    if (team_ == nullptr) {
      for (size_t i = 0; i < rows.size(); ++i) draw(i, &scratch_[0]);
    } else {
      team_->Run([&](int member) {
        for (size_t i = member; i < rows.size(); i += team_->size()) draw(i, &scratch_[member]);
      });
    }
    return absl::OkStatus();
  }

  void Trim(int64_t bytes, int64_t spare) override {
    if (spare_bytes_ > spare) spare_.clear(), spare_bytes_ = 0;
  }

 private:
  void DrawFrom(const float* logits, Draw* draw, std::vector<float>* scratch) const {
    draw->drawn = DrawToken(logits, config_.text.vocab, *draw->request, draw->uniform, scratch);
  }

  const ModelConfig& config_;
  Team* const team_;
  FusedModel::Scratch pass_;
  std::vector<std::vector<float>> scratch_;  // probabilities, of the members
  std::vector<FusedModel::Row*> rows_;
  std::vector<int32_t> tokens_;
  std::vector<float> logits_;
  std::vector<std::unique_ptr<CpuRow>> spare_;
  int64_t spare_bytes_ = 0;
};

class CpuPlatform : public EnginePlatform {
 public:
  CpuPlatform(const EngineOptions& options, FusedModel::Precision precision) : options_(options), precision_(precision) {}

  absl::Status Check(const ModelConfig& config) const override { return FusedModel::Check(config, precision_); }

  absl::StatusOr<std::shared_ptr<const DecodeWeights>> Load(const std::string& dir, const ModelConfig& config) const override {
    SWERVE_ASSIGN_OR_RETURN(const MappedTensors tensors, MapTensors(dir, config));
    auto weights = std::make_shared<CpuWeights>();
    SWERVE_ASSIGN_OR_RETURN(weights->model, FusedModel::Create(config, tensors, precision_));
    return weights;
  }

  int64_t CacheBytes(const ModelConfig& config, int tokens) const override { return FusedModel::CacheBytes(config, tokens); }

  absl::StatusOr<Layout> Start(const ModelConfig& config, const DecodeWeights& first) override {
    const bool together = options_.threads > 1 && ModelOf(first).wants_team();
    if (together) team_ = std::make_unique<Team>(options_.threads);
    const int loops = together ? 1 : options_.threads;
    Layout layout;
    layout.rows = std::clamp(options_.max_batch / loops, 1, ModelOf(first).rows_at_once());
    layout.cache_bytes = (options_.cache_mb << 20) / loops;
    for (int i = 0; i < loops; ++i) layout.loops.push_back(std::make_unique<CpuBackend>(config, team_.get()));
    return layout;
  }

 private:
  const EngineOptions options_;
  const FusedModel::Precision precision_;
  std::unique_ptr<Team> team_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<EnginePlatform>> CreateCpuPlatform(const EngineOptions& options) {
  SWERVE_ASSIGN_OR_RETURN(const FusedModel::Precision precision, FusedModel::ParsePrecision(options.dtype));
  return std::make_unique<CpuPlatform>(options, precision);
}

}  // namespace swerve
