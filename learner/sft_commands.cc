#include "learner/sft_commands.h"

#include <CLI/CLI.hpp>

#include <cstdio>
#include <memory>

#include "base/exit_code.h"
#include "base/role_main.h"
#include "base/stop.h"
#include "learner/sft.h"
#include "policy/model_config.h"

namespace swerve {
namespace {

struct Options {
  SftTrainOptions train;
  std::vector<std::string> scenes;
  std::string stage = "all";
  double epochs = 3, stage_one_epochs = 1;
  uint64_t steps = 0;
  uint64_t seed = 0;
  std::string codec = "pose3_text", codebook;
};

absl::Status RunSft(Options o) {
  SWERVE_ASSIGN_OR_RETURN(const ModelConfig model, LoadModelConfig(o.train.model_dir));
  SWERVE_ASSIGN_OR_RETURN(std::shared_ptr<const SceneStore> store, SceneStore::Open(o.scenes));
  SftOptions data;
  SWERVE_ASSIGN_OR_RETURN(data.codec, CreateCodec(o.codec, o.codebook));
  data.seed = o.train.seed = o.seed;
  data.image_size = ImageSize(model);
  data.mix = SftMix::StageOne();
  SWERVE_ASSIGN_OR_RETURN(const std::unique_ptr<SftData> questions, SftData::Create(store, data));
  data.mix = SftMix::StageTwo();
  SWERVE_ASSIGN_OR_RETURN(const std::unique_ptr<SftData> responses, SftData::Create(store, data));

  auto steps_of = [&](double epochs) {
    return static_cast<uint64_t>(epochs * static_cast<double>(responses->size()) / o.train.batch + 0.999);
  };
  uint64_t one = o.stage == "two" ? 0 : steps_of(o.stage == "one" ? o.epochs : o.stage_one_epochs);
  uint64_t two = o.stage == "one" ? 0 : steps_of(o.epochs);
  if (o.steps > 0) {
    one = o.stage == "two" ? 0 : o.stage == "one" ? o.steps : o.steps * one / (one + two);
    two = o.steps - one;
  }
  o.train.steps = one + two;
  const uint64_t first_response = one * o.train.batch;
  const SftSource source = [&](uint64_t i) {
    return i < first_response ? questions->Example(i) : responses->Example(i - first_response);
  };
  std::fprintf(stderr, "%zu scenes; %llu steps on questions, then %llu on responses, %d examples each\n",
               static_cast<size_t>(responses->size()), static_cast<unsigned long long>(one),
               static_cast<unsigned long long>(two), o.train.batch);
  SWERVE_ASSIGN_OR_RETURN(const SftResult result, TrainSft(o.train, source));
  std::printf("loss %.4f -> %.4f nats per token in %.0f s; %llu examples left out; wrote %s\n", result.first_loss,
              result.last_loss, result.seconds, static_cast<unsigned long long>(result.left_out),
              o.train.out_dir.c_str());
  return absl::OkStatus();
}

}  // namespace

void AddSftCommands(CLI::App& app) {
  auto o = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "sft",
      "Supervised fine-tuning: the warm start of a policy, before reinforcement learning.\n"
      "Stage one asks questions about scenes (drivable area, critical objects, the ego's action); stage two teaches good\n"
      "responses and how to answer feedback (a wrong answer with a teacher's report -> the good one).\n"
      "Same scenes, options and seed give the same bytes.");
  command->add_option("--model", o->train.model_dir, "Hugging Face directory to start from")->required();
  command->add_option("--scenes", o->scenes, "directories of scenes to learn from")->required();
  command->add_option("--out", o->train.out_dir, "directory to write; appears complete or not at all")->required();
  command->add_option("--stage", o->stage, "one: questions; two: responses; all: one, then two")
      ->check(CLI::IsMember({"one", "two", "all"}))->capture_default_str();
  command->add_option("--epochs", o->epochs, "times through the scenes (of stage two when --stage all)")
      ->check(CLI::PositiveNumber)->capture_default_str();
  command->add_option("--stage-one-epochs", o->stage_one_epochs, "of stage one when --stage all")
      ->check(CLI::PositiveNumber)->capture_default_str();
  command->add_option("--steps", o->steps, "optimiser steps in all, instead of epochs");
  command->add_option("--codec", o->codec, "how answers are written: pose3_text, xy_text, xy_parenthesised, json_traj, codebook, speed_curvature")->capture_default_str();
  command->add_option("--codebook", o->codebook, "safetensors file of the codec codebook");
  command->add_option("--batch", o->train.batch, "examples a step")->check(CLI::Range(1, 1 << 20))->capture_default_str();
  command->add_option("--micro-batch", o->train.micro_batch, "examples a forward pass; bounds memory")
      ->check(CLI::Range(1, 1 << 20))->capture_default_str();
  command->add_option("--lr", o->train.learning_rate, "peak learning rate")->check(CLI::PositiveNumber)->capture_default_str();
  command->add_option("--weight-decay", o->train.weight_decay, "of matrices")->check(CLI::NonNegativeNumber)->capture_default_str();
  command->add_option("--warmup-ratio", o->train.warmup_ratio, "share of steps")->check(CLI::Range(0.0, 1.0))->capture_default_str();
  command->add_option("--lr-scheduler", o->train.lr_scheduler)->check(CLI::IsMember({"constant", "linear", "cosine"}))->capture_default_str();
  command->add_option("--seed", o->seed, "of the order and make of the examples")->capture_default_str();
  command->add_option("--threads", o->train.threads, "compute threads")->check(CLI::Range(1, 1024))->capture_default_str();
  command->add_option("--lora-rank", o->train.lora_rank, "train low-rank adapters alone; merged into --out, and in --out/adapter as PEFT writes them; 0: all weights")
      ->check(CLI::Range(0, 1 << 14))->capture_default_str();
  command->add_option("--lora-alpha", o->train.lora_alpha, "adapters are scaled by this over the rank")->check(CLI::PositiveNumber)->capture_default_str();
  command->add_option("--lora-target-modules", o->train.lora_target_modules, "linear layers with adapters, by commas; without it all of the decoder's")->delimiter(',');
  command->add_option("--device", o->train.device, "cpu or cuda:N")->capture_default_str();
  command->add_option("--checkpoint-every", o->train.checkpoint_every, "steps; 0: never")->capture_default_str();
  command->add_flag("--resume", o->train.resume, "go on from the newest checkpoint beside --out");
  command->callback([o] {
    StartLogging("sft", "info");
    Stop::InstallSignalHandlers();
    absl::Status status = RunSft(*o);
    if (!status.ok()) FailWith(status);
  });
}

}  // namespace swerve
