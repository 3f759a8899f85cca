#include "policy/generate_bench.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <iostream>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/status.h"
#include "policy/bench_input.h"
#include "policy/checkpoint.h"
#include "policy/fused_model.h"
#include "policy/machine_bounds.h"
#include "policy/prompt_input.h"
#include "policy/team.h"

namespace swerve {
namespace {

double Seconds() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

struct Times {
  double prefill = 0, decode = 0;
};

// Prompts that a thread continues at a time.
int Wave(const FusedModel& model, const GenerateBenchOptions& o, int prompts) {
  return std::clamp(model.rows_at_once() / std::max(1, o.group), 1, std::max(1, prompts));
}

// One thread's prompts, every `step`th from `first` on, and their rows.
class Share {
 public:
  Share(const FusedModel& model, const GenerateBenchOptions& o, const FusedModel::Images& picture, int first, int step, Team* team)
      : model_(model), o_(o), picture_(picture) {
    scratch_.team = team;
    for (int i = first; i < o.scenes; i += step) ids_.push_back(BenchIds(model.config(), o.prompt, i));
    wave_ = Wave(model, o, static_cast<int>(ids_.size()));
    prompts_.resize(wave_);
    for (FusedModel::Cache& prompt : prompts_) {
      prompt.Reset(model, o.prompt);
      for (int g = 0; g < o.group; ++g) {
        rows_.push_back(std::make_unique<FusedModel::Row>());
        rows_.back()->prompt = &prompt;
        rows_.back()->own.Reset(model, o.tokens);
      }
    }
    logits_.resize(rows_.size() * model.logit_stride());
  }

  // As the engine does, no more rows at a time than are good.
  Times Run() {
    Times times;
    for (size_t from = 0; from < ids_.size(); from += wave_) RunWave(from, std::min(ids_.size(), from + wave_), &times);
    return times;
  }

 private:
  void RunWave(size_t from, size_t to, Times* times) {
    const ModelConfig& config = model_.config();
    double t = Seconds();
    active_.clear(), next_.clear();
    for (size_t i = from; i < to; ++i) {
      const bool image = config.has_vision && ids_[i][std::min<size_t>(1, ids_[i].size() - 1)] == config.image_token_id;
      if (!model_.Prefill(ids_[i], image ? picture_ : FusedModel::Images(), &prompts_[i - from], logits_.data(), &scratch_).ok()) std::abort();  // BenchIds fit
      next_.insert(next_.end(), o_.group, ids_[i].back());
    }
    for (size_t i = 0; i < next_.size(); ++i) {
      rows_[i]->own.length = 0;
      active_.push_back(rows_[i].get());
    }
    times->prefill += Seconds() - t;
    t = Seconds();
    for (int s = 0; s < o_.tokens; ++s) {
      model_.Step(active_, next_, logits_.data(), &scratch_);
      for (size_t i = 0; i < next_.size(); ++i) next_[i] = kernels::Best().largest(logits_.data() + i * model_.logit_stride(), config.text.vocab);
    }
    times->decode += Seconds() - t;
  }

  const FusedModel& model_;
  const GenerateBenchOptions& o_;
  const FusedModel::Images& picture_;
  FusedModel::Scratch scratch_;
  std::vector<std::vector<int32_t>> ids_;
  size_t wave_ = 0;  // prompts at a time
  std::vector<FusedModel::Cache> prompts_;
  std::vector<std::unique_ptr<FusedModel::Row>> rows_;
  std::vector<FusedModel::Row*> active_;
  std::vector<int32_t> next_;
  std::vector<float> logits_;
};

Times RunOnce(const FusedModel& model, const GenerateBenchOptions& o, const FusedModel::Images& picture, Team* team) {
  if (team != nullptr) return Share(model, o, picture, 0, 1, team).Run();
  std::vector<std::unique_ptr<Share>> shares;
  for (int i = 0; i < o.threads; ++i) shares.push_back(std::make_unique<Share>(model, o, picture, i, o.threads, nullptr));
  std::vector<Times> times(o.threads);
  std::vector<std::thread> threads;
  for (int i = 1; i < o.threads; ++i) threads.emplace_back([&, i] { times[i] = shares[i]->Run(); });
  times[0] = shares[0]->Run();
  for (std::thread& t : threads) t.join();
  Times longest;
  for (const Times& t : times) {
    longest.prefill = std::max(longest.prefill, t.prefill);
    longest.decode = std::max(longest.decode, t.decode);
  }
  return longest;
}

// Of one token after `before` others: scores and what they weigh.
double AttentionMacs(const TextConfig& c, double before) { return 2.0 * c.layers * c.heads * c.head_dim * before; }

// Seconds that the machine's bounds allow at best, both parts at their own bound.
struct Bounds {
  double decode_bandwidth, decode_arithmetic, prefill_arithmetic;
};
Bounds BoundsOf(const FusedModel& model, const GenerateBenchOptions& o, bool together) {
  const TextConfig& c = model.config().text;
  const bool bf16 = model.precision() == FusedModel::Precision::kBfloat16;
  const double bandwidth = ReadBytesPerSecond(o.threads), flops = FlopsPerSecond(o.threads, bf16), plain = bf16 ? FlopsPerSecond(o.threads, false) : flops;
  const double rows = 1.0 * o.scenes * o.group, middle = o.prompt + o.tokens / 2.0;
  // A step reads the weights once for its rows, which are all, or what a thread continues at a time; every prompt's keys and
  // values once for its group, and those of each row.
  const int prompts = together ? o.scenes : (o.scenes + o.threads - 1) / o.threads, wave = Wave(model, o, prompts);
  const double passes = (together ? 1.0 : o.threads) * ((prompts + wave - 1) / wave);
  const double cache = (1.0 * o.scenes * o.prompt + rows * o.tokens / 2.0) * 2.0 * c.layers * c.kv_heads * c.head_dim * sizeof(float);
  Bounds b;
  b.decode_bandwidth = o.tokens * (passes * static_cast<double>(model.step_bytes()) + cache) / bandwidth;
  b.decode_arithmetic = o.tokens * rows * 2 * (model.step_macs() / flops + AttentionMacs(c, middle) / plain);
  const double head = static_cast<double>(c.vocab) * c.hidden;
  b.prefill_arithmetic = o.scenes * 2 * ((o.prompt * (model.step_macs() - head) + head) / flops + o.prompt * AttentionMacs(c, o.prompt / 2.0) / plain);
  return b;
}

}  // namespace

absl::Status GenerateBench(const GenerateBenchOptions& o) {
  SWERVE_ASSIGN_OR_RETURN(const FusedModel::Precision precision, FusedModel::ParsePrecision(o.dtype));
  SWERVE_ASSIGN_OR_RETURN(const ModelConfig config, LoadModelConfig(o.model));
  if (o.prompt + o.tokens > config.text.max_positions) {
    return absl::InvalidArgumentError(absl::StrCat("--prompt ", o.prompt, " and --new ", o.tokens, " exceed the model's ", config.text.max_positions, " positions"));
  }
  std::shared_ptr<const FusedModel> model;
  {
    SWERVE_ASSIGN_OR_RETURN(const MappedTensors tensors, MapTensors(o.model, config));
    SWERVE_ASSIGN_OR_RETURN(model, FusedModel::Create(config, tensors, precision));
  }
  FusedModel::Images picture;
  if (config.has_vision) {
    SWERVE_ASSIGN_OR_RETURN(ProcessedImage processed, VisionInput(config, *BenchPicture(config)));
    picture.push_back(std::make_shared<const ProcessedImage>(std::move(processed)));
  }
  const bool together = o.threads > 1 && model->wants_team();
  Team team(together ? o.threads : 1);
  const Times t = RunOnce(*model, o, picture, together ? &team : nullptr);
  const int64_t peak = PeakMemoryBytes();
  const Bounds bound = BoundsOf(*model, o, together);
  const double tokens = 1.0 * o.scenes * o.group * o.tokens;
  std::cout << nlohmann::json{{"prefill_tokens_per_second", o.scenes * o.prompt / t.prefill},
                              {"decode_tokens_per_second", tokens / t.decode},
                              {"end_to_end_tokens_per_second", tokens / (t.prefill + t.decode)},
                              {"dtype", o.dtype},
                              {"kernels", kernels::Best().name},
                              {"threads", o.threads},
                              {"threads_share_each_step", together},
                              {"peak_memory_bytes", peak},
                              {"decode_bandwidth_bound_tokens_per_second", tokens / bound.decode_bandwidth},
                              {"decode_share_of_bandwidth_bound", bound.decode_bandwidth / t.decode},
                              {"decode_arithmetic_bound_tokens_per_second", tokens / bound.decode_arithmetic},
                              {"decode_share_of_arithmetic_bound", bound.decode_arithmetic / t.decode},
                              {"prefill_share_of_arithmetic_bound", bound.prefill_arithmetic / t.prefill}}
                   .dump()
            << "\n";
  return absl::OkStatus();
}

}  // namespace swerve
