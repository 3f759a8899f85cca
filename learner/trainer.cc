#include <torch/torch.h>

#include "learner/trainer.h"

#include <algorithm>
#include <cmath>

#include <nlohmann/json.hpp>

#include "absl/cleanup/cleanup.h"
#include "absl/time/clock.h"
#include "base/files.h"
#include "learner/gap_watch.h"
#include "learner/optimiser.h"
#include "learner/restore.h"
#include "learner/schedule.h"
#include "policy/cuda_library.h"
#include "policy/model.h"
#include "policy/torch_memory.h"

namespace swerve {
namespace {

using torch::Tensor;
using Metrics = std::map<std::string, double>;

// Adds the seconds of its life to `*total`.
class Timer {
 public:
  explicit Timer(double* total) : total_(total), start_(absl::Now()) {}
  ~Timer() { *total_ += absl::ToDoubleSeconds(absl::Now() - start_); }

 private:
  double* const total_;
  const absl::Time start_;
};

// Rows that run through the model together.
struct MicroBatch {
  std::vector<size_t> numbers;  // of the batch's rows
  std::vector<Policy::Row> rows;
};

// Whole groups side by side, so that a prompt is encoded once, up to `limit` rows.
std::vector<MicroBatch> Cut(const Batch& batch, const ObjectivePlan& plan, size_t limit) {
  std::vector<std::vector<size_t>> groups(batch.groups.size());
  for (size_t i = 0; i < batch.rows.size(); ++i) {
    if (plan.active(i)) groups[batch.rows[i].group].push_back(i);
  }
  std::vector<MicroBatch> out;
  for (const std::vector<size_t>& group : groups) {
    for (size_t begin = 0; begin < group.size(); begin += limit) {
      const size_t count = std::min(limit, group.size() - begin);
      if (out.empty() || out.back().rows.size() + count > limit) out.emplace_back();
      for (size_t i = begin; i < begin + count; ++i) {
        const BatchRow& row = batch.rows[group[i]];
        const BatchGroup& g = batch.groups[row.group];
        out.back().numbers.push_back(group[i]);
        out.back().rows.push_back({g.prompt_ids, row.response_ids, g.image});
      }
    }
  }
  return out;
}

std::vector<double> ToDoubles(const Tensor& t) {
  const Tensor d = t.detach().to(torch::kCPU, torch::kFloat64).contiguous();
  return {d.data_ptr<double>(), d.data_ptr<double>() + d.numel()};
}

class TorchTrainer : public Trainer {
 public:
  TorchTrainer(const v1::RunConfig& config, std::shared_ptr<Policy> policy, std::shared_ptr<Policy> reference)
      : config_(config), policy_(std::move(policy)), reference_(std::move(reference)),
        total_steps_(static_cast<uint64_t>(config.learner().steps()) * config.learner().num_iterations()) {
    const v1::LearnerConfig& c = config.learner();
    policy_->FreezeVision(c.freeze_vision());
    policy_->CheckpointGradients(c.gradient_checkpointing());
    optimiser_ = std::make_unique<Optimiser>(
        *policy_, OptimiserOptions{.weight_decay = c.weight_decay(), .beta1 = c.adam_beta1(), .beta2 = c.adam_beta2(),
                                   .eps = c.adam_eps(), .max_grad_norm = c.max_grad_norm()});
  }

  absl::StatusOr<Metrics> Train(const Batch& batch, const ObjectivePlan& plan) override {
    try {
      return TrainOrThrow(batch, plan);
    } catch (const std::exception& e) {
      return absl::InternalError(absl::StrCat("LibTorch: ", e.what()));
    }
  }

  absl::Status SavePolicy(const std::string& dir) override {
    SWERVE_RETURN_IF_ERROR(policy_->Save(dir));
    return policy_->has_adapters() ? policy_->SaveAdapters(dir + "/adapter") : absl::OkStatus();
  }

  absl::Status SaveState(const std::string& dir) override {
    SWERVE_RETURN_IF_ERROR(policy_->has_adapters() ? policy_->SaveAdapters(dir + "/policy") : policy_->Save(dir + "/policy"));
    SWERVE_RETURN_IF_ERROR(optimiser_->Save(dir + "/optimiser.safetensors"));
    return WriteFileAtomically(dir + "/trainer.json", nlohmann::json{{"optimiser_steps", optimiser_steps_}}.dump() + "\n");
  }

  absl::Status LoadState(const std::string& dir) override {
    SWERVE_ASSIGN_OR_RETURN(const std::string text, ReadFile(dir + "/trainer.json"));
    const nlohmann::json json = nlohmann::json::parse(text, nullptr, false);
    if (!json.is_object()) return absl::DataLossError(absl::StrCat(dir, "/trainer.json is damaged"));
    SWERVE_RETURN_IF_ERROR(RestoreWeights(dir + "/policy", *policy_));
    SWERVE_RETURN_IF_ERROR(optimiser_->Load(dir + "/optimiser.safetensors"));
    optimiser_steps_ = json.value("optimiser_steps", uint64_t{0});
    return absl::OkStatus();
  }

 private:
  double temperature() const { return config_.rollout().temperature(); }

  absl::StatusOr<Metrics> TrainOrThrow(const Batch& batch, const ObjectivePlan& plan) {
    Metrics out;
    const std::vector<MicroBatch> cuts = Cut(batch, plan, std::max(1, config_.learner().micro_batch()));
    for (const MicroBatch& cut : cuts) {
      SWERVE_RETURN_IF_ERROR(Annotate(policy_->Check(cut.rows), "an episode does not fit the policy"));
    }
    double reference_seconds = 0, update_seconds = 0;
    const std::vector<std::vector<double>> ref_lp = Reference(batch, plan, cuts, &reference_seconds);
    const int passes = plan.empty() ? 0 : std::max(1, config_.learner().num_iterations());
    for (int pass = 0; pass < passes; ++pass) {
      Timer timer(&update_seconds);
      SWERVE_ASSIGN_OR_RETURN(const Metrics m, Pass(batch, plan, cuts, ref_lp, pass == 0));
      for (const auto& [name, value] : m) {
        // Averages over passes; what only the first pass reports stands alone.
        out[name] += name.rfind("sampling/", 0) == 0 ? value : value / passes;
      }
    }
    out["timing_s/reference"] = reference_seconds;
    out["timing_s/update"] = update_seconds;
    return out;
  }

  std::vector<std::vector<double>> Reference(const Batch& batch, const ObjectivePlan& plan,
                                             const std::vector<MicroBatch>& cuts, double* seconds) {
    std::vector<std::vector<double>> out(batch.rows.size());
    if (reference_ == nullptr) return out;
    Timer timer(seconds);
    torch::NoGradGuard frozen;
    // Under adapters the policy without them is the reference.
    reference_->UseAdapters(reference_ != policy_);
    const absl::Cleanup on = [this] { reference_->UseAdapters(true); };
    for (const MicroBatch& cut : cuts) {
      const std::vector<double> lp = ToDoubles(reference_->Logprobs(cut.rows, temperature()));
      size_t at = 0;
      for (size_t number : cut.numbers) {
        const size_t length = batch.rows[number].response_ids.size();
        if (plan.needs_ref(number)) out[number].assign(lp.begin() + at, lp.begin() + at + length);
        at += length;
      }
    }
    return out;
  }

  absl::StatusOr<Metrics> Pass(const Batch& batch, const ObjectivePlan& plan, const std::vector<MicroBatch>& cuts,
                               const std::vector<std::vector<double>>& ref_lp, bool first) {
    optimiser_->ZeroGrad();
    ObjectiveTotals totals(plan);
    double entropy = 0, difference = 0, worst = 0, on_tokens = 0, same_difference = 0, same_tokens = 0;
    for (const MicroBatch& cut : cuts) {
      const Tensor lp_tensor = policy_->Logprobs(cut.rows, temperature());
      const std::vector<double> lp = ToDoubles(lp_tensor);
      std::vector<float> grad;
      grad.reserve(lp.size());
      size_t at = 0;
      for (size_t number : cut.numbers) {
        const absl::Span<const double> row_lp(lp.data() + at, batch.rows[number].response_ids.size());
        at += row_lp.size();
        const std::vector<double>& old_lp = batch.rows[number].old_lp;
        SWERVE_ASSIGN_OR_RETURN(const RowResult row, plan.Evaluate(number, {row_lp, old_lp, ref_lp[number]}));
        totals.Add(row);
        grad.insert(grad.end(), row.grad.begin(), row.grad.end());
        for (size_t t = 0; t < old_lp.size(); ++t) {
          const double gap = std::abs(row_lp[t] - old_lp[t]);
          entropy -= row_lp[t];
          difference += gap;
          worst = std::max(worst, gap);
          on_tokens += 1;
          if (batch.rows[number].current) same_difference += gap, same_tokens += 1;
        }
      }
      lp_tensor.backward(torch::tensor(grad).to(lp_tensor.device()));
    }
    const uint64_t warmup = static_cast<uint64_t>(std::ceil(config_.learner().warmup_ratio() * total_steps_));
    // A run that the clock will end goes through its schedule by the clock.
    const uint64_t by_clock = static_cast<uint64_t>(batch.clock_share * static_cast<double>(total_steps_));
    const double rate = config_.learner().learning_rate() *
                        ScheduleFactor(config_.learner().lr_scheduler(), std::max(optimiser_steps_, by_clock), warmup,
                                       total_steps_);
    const double norm = optimiser_->Step(rate);
    if (!std::isfinite(norm)) return absl::InternalError("the gradient is not finite; no step was made");
    ++optimiser_steps_;
    Metrics m = Describe(totals);
    m["train/grad_norm"] = norm;
    m["train/learning_rate"] = rate;
    if (on_tokens > 0) {
      m["train/entropy"] = entropy / on_tokens;  // estimated by the sampled tokens
      if (first) m["sampling/sampling_logp_difference/mean"] = difference / on_tokens;
      if (first) m["sampling/sampling_logp_difference/max"] = worst;
    }
    if (first && same_tokens > 0) m[kSameWeightsGap] = same_difference / same_tokens;
    return m;
  }

  static Metrics Describe(const ObjectiveTotals& totals) {
    const ObjectiveMetrics o = totals.metrics();
    Metrics m = {{"train/loss", totals.loss()},
                 {"train/original", totals.original()},
                 {"train/refinement", totals.refinement()},
                 {"train/on_policy_tokens", static_cast<double>(o.on_policy_tokens)},
                 {"train/off_policy_tokens", static_cast<double>(o.off_policy_tokens)}};
    auto put = [&](const char* name, const std::optional<double>& value) {
      if (value) m[name] = *value;
    };
    put("clip_ratio/low_mean", o.clip_low);
    put("clip_ratio/high_mean", o.clip_high);
    if (o.clip_low) m["train/clip_ratio"] = *o.clip_low + *o.clip_high;
    put("train/ppo_kl", o.ppo_kl);
    put("train/kl", o.kl);
    put("off_policy_prob", o.off_policy_prob);
    put("off_ratio_mean", o.off_ratio_mean);
    return m;
  }

  const v1::RunConfig config_;
  const std::shared_ptr<Policy> policy_;
  const std::shared_ptr<Policy> reference_;  // null: no KL; the policy itself under adapters
  const uint64_t total_steps_;               // of the optimiser, in the whole run
  std::unique_ptr<Optimiser> optimiser_;
  uint64_t optimiser_steps_ = 0;
};

// What weights are kept in and what they are multiplied in. A step of AdamW is mostly smaller than bfloat16 resolves, so weights
// that are trained stay float32; those that adapters leave frozen need not.
struct Types {
  torch::ScalarType weights, compute;
};
absl::StatusOr<Types> TypesOf(const v1::RunConfig& config) {
  const std::string& name = config.policy().dtype();
  if (name == "float32") return Types{torch::kFloat32, torch::kFloat32};
  if (name != "bfloat16") return absl::InvalidArgumentError(absl::StrCat("policy.dtype: '", name, "' is not float32 or bfloat16"));
  return Types{config.learner().lora_rank() == 0 ? torch::kFloat32 : torch::kBFloat16, torch::kBFloat16};
}

}  // namespace

absl::StatusOr<std::unique_ptr<Trainer>> CreateTrainer(const v1::RunConfig& config) {
  try {
    torch::set_num_threads(std::max(1, config.learner().threads()));
    SWERVE_ASSIGN_OR_RETURN(const torch::Device device, OpenDevice(config.policy().device()));
    if (device.is_cpu()) KeepTorchMemory();
    SWERVE_ASSIGN_OR_RETURN(const ObjectiveSettings objective, ObjectiveOf(config));
    const v1::LearnerConfig& c = config.learner();
    SWERVE_ASSIGN_OR_RETURN(const Types types, TypesOf(config));
    SWERVE_ASSIGN_OR_RETURN(std::shared_ptr<Policy> policy, Policy::Load(config.policy().model(), device, types.weights, types.compute));
    if (c.lora_rank() != 0) {
      LoraOptions lora{.rank = c.lora_rank(), .alpha = c.lora_alpha(), .seed = config.seed()};
      if (c.lora_target_modules_size() > 0) lora.targets = {c.lora_target_modules().begin(), c.lora_target_modules().end()};
      SWERVE_RETURN_IF_ERROR(Annotate(policy->AddAdapters(lora), "learner"));
    }
    std::shared_ptr<Policy> reference;
    if (objective.profile->has_kl && objective.knobs.beta != 0) {
      reference = policy;
      if (!policy->has_adapters()) {
        SWERVE_ASSIGN_OR_RETURN(reference, Policy::Load(config.policy().model(), device, types.weights, types.compute));
        reference->FreezeVision(true);
      }
    }
    return std::unique_ptr<Trainer>(new TorchTrainer(config, std::move(policy), std::move(reference)));
  } catch (const std::exception& e) {
    return absl::InternalError(absl::StrCat("LibTorch: ", e.what()));
  }
}

}  // namespace swerve
