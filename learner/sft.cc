#include <torch/torch.h>

#include "learner/sft.h"

#include <algorithm>
#include <filesystem>
#include <thread>
#include <vector>

#include <spdlog/spdlog.h>

#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "base/bounded_queue.h"
#include "base/progress.h"
#include "base/stop.h"
#include "learner/checkpoint.h"
#include "learner/optimiser.h"
#include "learner/restore.h"
#include "learner/schedule.h"
#include "policy/cuda_library.h"
#include "policy/model.h"
#include "policy/prompt_input.h"
#include "policy/torch_memory.h"

namespace swerve {
namespace {

struct SftBatch {
  absl::Status status;
  std::vector<Policy::Row> rows;
  std::vector<double> weights;
  uint64_t left_out = 0;
};

absl::StatusOr<Policy::Row> MakeRow(const SftExample& example, const ModelConfig& config, const Tokenizer& tokenizer) {
  Policy::Row row;
  if (config.has_vision) row.image = example.image;
  SWERVE_ASSIGN_OR_RETURN(row.prompt_ids, PromptIds(tokenizer, config, example.prompt_text, row.image.get()));
  row.response_ids = ResponseIds(tokenizer, config, example.target_text);
  return row;
}

// Makes batches ahead of the training on a thread of its own; joined in the destructor.
class BatchMaker {
 public:
  BatchMaker(const Policy& policy, const SftTrainOptions& options, const SftSource& source, uint64_t first_step)
      : queue_(3), thread_([this, &policy, &options, &source, first_step] {
          for (uint64_t step = first_step; step < options.steps; ++step) {
            SftBatch batch = Make(policy, options, source, step);
            const bool failed = !batch.status.ok();
            if (!queue_.Push(std::move(batch)) || failed) break;
          }
        }) {}
  ~BatchMaker() {
    queue_.Close();
    thread_.join();
  }
  SftBatch Next() { return *queue_.Pop(); }

 private:
  static SftBatch Make(const Policy& policy, const SftTrainOptions& options, const SftSource& source, uint64_t step) {
    SftBatch batch;
    for (int j = 0; j < options.batch; ++j) {
      absl::StatusOr<SftExample> example = source(step * options.batch + j);
      absl::StatusOr<Policy::Row> row = absl::InvalidArgumentError("");
      absl::Status status = example.status();
      if (status.ok()) {
        row = MakeRow(*example, policy.config(), *policy.tokenizer());
        status = row.ok() ? policy.Check({&*row, 1}) : row.status();
      }
      if (absl::IsInvalidArgument(status)) {
        ++batch.left_out;
        continue;
      }
      if (!status.ok()) {
        batch.status = status;
        return batch;
      }
      batch.rows.push_back(*std::move(row));
      batch.weights.push_back(example->weight);
    }
    return batch;
  }

  BoundedQueue<SftBatch> queue_;
  std::thread thread_;
};

// Backward of the weighted mean over the batch's tokens; returns that loss.
double Accumulate(Policy& policy, const SftBatch& batch, int micro_batch) {
  double tokens = 0, loss = 0;
  for (size_t i = 0; i < batch.rows.size(); ++i) tokens += batch.weights[i] * batch.rows[i].response_ids.size();
  if (!(tokens > 0)) return 0;
  for (size_t begin = 0; begin < batch.rows.size(); begin += micro_batch) {
    const size_t count = std::min<size_t>(micro_batch, batch.rows.size() - begin);
    std::vector<float> factor;
    for (size_t i = begin; i < begin + count; ++i) {
      factor.insert(factor.end(), batch.rows[i].response_ids.size(), static_cast<float>(-batch.weights[i] / tokens));
    }
    torch::Tensor lp = policy.Logprobs({batch.rows.data() + begin, count}, 1.0);
    torch::Tensor share = (lp * torch::tensor(factor).to(lp.device())).sum();
    share.backward();
    loss += share.item<double>();
  }
  return loss;
}

class SftRun {
 public:
  SftRun(const SftTrainOptions& options, const SftSource& source, std::shared_ptr<Policy> policy)
      : options_(options), source_(source), policy_(std::move(policy)),
        optimiser_(*policy_, {.weight_decay = options.weight_decay, .max_grad_norm = options.max_grad_norm}),
        checkpoints_(options.out_dir + ".checkpoints", 1) {}

  absl::StatusOr<SftResult> Train() {
    SWERVE_RETURN_IF_ERROR(Resume());
    const absl::Time start = absl::Now();
    SftResult result;
    {
      BatchMaker maker(*policy_, options_, source_, step_);
      Progress progress("fine-tuning", options_.steps - step_, "steps");
      while (step_ < options_.steps) {
        const SftBatch batch = maker.Next();
        SWERVE_RETURN_IF_ERROR(batch.status);
        result.left_out += batch.left_out;
        SWERVE_RETURN_IF_ERROR(Step(batch));
        progress.Note(absl::StrFormat("loss %.4f", recent_));
        progress.Add(1);
        const bool due = options_.checkpoint_every > 0 && step_ % options_.checkpoint_every == 0;
        if (Stop::Requested() || (due && step_ < options_.steps)) SWERVE_RETURN_IF_ERROR(SaveCheckpointNow());
        if (Stop::Requested()) return absl::CancelledError("stopped; --resume goes on from the checkpoint");
      }
    }
    SWERVE_RETURN_IF_ERROR(policy_->Save(options_.out_dir));
    if (policy_->has_adapters()) SWERVE_RETURN_IF_ERROR(policy_->SaveAdapters(options_.out_dir + "/adapter"));
    std::error_code error;
    std::filesystem::remove_all(options_.out_dir + ".checkpoints", error);
    const size_t tenth = std::max<size_t>(1, losses_.size() / 10);
    for (size_t i = 0; i < tenth && i < losses_.size(); ++i) {
      result.first_loss += losses_[i] / tenth;
      result.last_loss += losses_[losses_.size() - 1 - i] / tenth;
    }
    result.seconds = absl::ToDoubleSeconds(absl::Now() - start);
    return result;
  }

 private:
  absl::Status Resume() {
    if (!options_.resume) return absl::OkStatus();
    absl::StatusOr<Checkpoint> found = checkpoints_.Newest();
    if (absl::IsNotFound(found.status())) return absl::OkStatus();
    SWERVE_RETURN_IF_ERROR(found.status());
    SWERVE_RETURN_IF_ERROR(RestoreWeights(found->dir + "/policy", *policy_));
    SWERVE_RETURN_IF_ERROR(optimiser_.Load(found->dir + "/optimiser.safetensors"));
    step_ = std::min<uint64_t>(found->step, options_.steps);
    for (const auto& loss : found->state["losses"]) losses_.push_back(loss.get<double>());
    spdlog::info("going on from step {}", step_);
    return absl::OkStatus();
  }

  absl::Status Step(const SftBatch& batch) {
    optimiser_.ZeroGrad();
    const double loss = Accumulate(*policy_, batch, options_.micro_batch);
    if (!std::isfinite(loss)) {
      return absl::InternalError(absl::StrCat("the loss is not finite at step ", step_, "; lower --lr"));
    }
    const uint64_t warmup = static_cast<uint64_t>(options_.warmup_ratio * static_cast<double>(options_.steps));
    optimiser_.Step(options_.learning_rate * ScheduleFactor(options_.lr_scheduler, step_, warmup, options_.steps));
    losses_.push_back(loss);
    recent_ = losses_.size() == 1 ? loss : 0.95 * recent_ + 0.05 * loss;
    ++step_;
    return absl::OkStatus();
  }

  absl::Status SaveCheckpointNow() {
    return checkpoints_.Save(step_, {{"losses", losses_}}, [&](const std::string& dir) -> absl::Status {
      SWERVE_RETURN_IF_ERROR(policy_->has_adapters() ? policy_->SaveAdapters(dir + "/policy") : policy_->Save(dir + "/policy"));
      return optimiser_.Save(dir + "/optimiser.safetensors");
    });
  }

  const SftTrainOptions& options_;
  const SftSource& source_;
  const std::shared_ptr<Policy> policy_;
  Optimiser optimiser_;
  CheckpointStore checkpoints_;
  uint64_t step_ = 0;
  double recent_ = 0;
  std::vector<double> losses_;
};

}  // namespace

absl::StatusOr<SftResult> TrainSft(const SftTrainOptions& options, const SftSource& source) {
  if (options.batch < 1 || options.micro_batch < 1 || options.threads < 1) {
    return absl::InvalidArgumentError("batch, micro-batch and threads must be at least 1");
  }
  try {
    torch::set_num_threads(options.threads);
    SWERVE_ASSIGN_OR_RETURN(const torch::Device device, OpenDevice(options.device));
    if (device.is_cpu()) KeepTorchMemory();
    SWERVE_ASSIGN_OR_RETURN(std::shared_ptr<Policy> policy, Policy::Load(options.model_dir, device));
    if (policy->tokenizer() == nullptr) return absl::NotFoundError(options.model_dir + "/tokenizer.json is missing");
    if (options.lora_rank != 0) {
      LoraOptions lora{.rank = options.lora_rank, .alpha = options.lora_alpha, .seed = options.seed};
      if (!options.lora_target_modules.empty()) lora.targets = options.lora_target_modules;
      SWERVE_RETURN_IF_ERROR(policy->AddAdapters(lora));
    }
    SftRun run(options, source, std::move(policy));
    return run.Train();
  } catch (const std::exception& e) {
    return absl::InternalError(absl::StrCat("LibTorch: ", e.what()));
  }
}

}  // namespace swerve
