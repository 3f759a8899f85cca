#include <torch/torch.h>

#include "policy/commands.h"

#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <iostream>
#include <nlohmann/json.hpp>

#include "base/exit_code.h"
#include "base/files.h"
#include "base/random.h"
#include "policy/checkpoint.h"
#include "policy/engine.h"
#include "policy/fused_model.h"
#include "policy/image_file.h"
#include "policy/model.h"
#include "policy/prompt_input.h"

namespace swerve {
namespace {

using Json = nlohmann::json;

double Seconds() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

int64_t PeakBytes() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss * 1024;
}

struct Options {
  std::string model = "models/tiny", in, dtype = "float32";
  int scenes = 16, group = 8, prompt = 220, tokens = 140, threads = 1, sequences = 32, length = 200, steps = 4;
};

// Greedy continuation on the engine's kernels.
std::vector<int32_t> Greedy(const FusedModel& model, const std::vector<int32_t>& ids, const std::vector<float>& pixels, int count) {
  FusedModel::Scratch scratch;
  FusedModel::Cache cache;
  FusedModel::Row row;
  std::vector<float> logits(model.logit_stride());
  std::vector<int32_t> out;
  model.Prefill(ids, pixels.empty() ? nullptr : pixels.data(), &cache, logits.data(), &scratch);
  row.prompt = &cache;
  row.own.Reset(model, count);
  FusedModel::Row* rows[] = {&row};
  const auto& eos = model.config().eos;
  while (true) {
    out.push_back(static_cast<int32_t>(std::max_element(logits.begin(), logits.begin() + model.config().text.vocab) - logits.begin()));
    if (static_cast<int>(out.size()) >= count || std::find(eos.begin(), eos.end(), out.back()) != eos.end()) return out;
    model.Step(rows, {&out.back(), 1}, logits.data(), &scratch);
  }
}

absl::Status Logprobs(const Options& o) {
  if (o.dtype != "float32") return absl::InvalidArgumentError(absl::StrCat("--dtype ", o.dtype, " is not supported (float32)"));
  SWERVE_ASSIGN_OR_RETURN(std::string text, ReadFile(o.in));
  Json in = Json::parse(text, nullptr, false);
  if (in.is_discarded() || !in.is_object() || !in.contains("requests") || !in["requests"].is_array()) {
    return absl::InvalidArgumentError(o.in + ": wants {\"requests\": [{\"ids\": [...]}]}");
  }
  at::set_num_threads(o.threads);
  SWERVE_ASSIGN_OR_RETURN(std::shared_ptr<Policy> policy, Policy::Load(o.model));
  SWERVE_ASSIGN_OR_RETURN(TensorMap tensors, LoadTensors(o.model, policy->config()));
  SWERVE_ASSIGN_OR_RETURN(std::shared_ptr<const FusedModel> fused, FusedModel::Create(policy->config(), tensors));
  torch::NoGradGuard no_grad;
  Json out = {{"responses", Json::array()}};
  for (const Json& request : in["requests"]) {
    std::vector<int32_t> ids;
    for (const Json& id : request.value("ids", Json::array())) {
      if (!id.is_number_integer()) return absl::InvalidArgumentError(o.in + ": ids holds something that is not a number");
      ids.push_back(id);
    }
    const Json images = request.value("images", Json::array());
    if (images.size() > 1) return absl::InvalidArgumentError(o.in + ": one image a request is supported");
    std::shared_ptr<const Image> image;
    std::vector<float> pixels;
    if (images.size() == 1 && images[0].is_string()) {
      SWERVE_ASSIGN_OR_RETURN(Image read, ReadImage(images[0]));
      image = std::make_shared<Image>(std::move(read));
      SWERVE_ASSIGN_OR_RETURN(pixels, Pixels(*image, policy->config()));
    }
    const Policy::Row row{ids, {ids.empty() ? 0 : ids.back()}, image};
    SWERVE_RETURN_IF_ERROR(policy->Check({&row, 1}));
    torch::Tensor lp = torch::log_softmax(policy->Logits(ids, image), -1);
    Json values = Json::array();
    for (size_t t = 1; t < ids.size(); ++t) values.push_back(lp.index({static_cast<int64_t>(t) - 1, ids[t]}).item<float>());
    Json answer = {{"logprobs", values}};
    const int greedy = request.value("greedy", 0);
    if (greedy > 0 && static_cast<int>(ids.size()) + greedy > policy->config().text.max_positions) return absl::InvalidArgumentError(o.in + ": greedy exceeds the model's positions");
    if (greedy > 0) answer["greedy"] = Greedy(*fused, ids, pixels, greedy);
    out["responses"].push_back(answer);
  }
  std::cout << out.dump() << "\n";
  return absl::OkStatus();
}

std::vector<int32_t> BenchIds(const ModelConfig& config, int length, uint64_t seed) {
  std::vector<int32_t> ids;
  Random random(seed);
  while (static_cast<int>(ids.size()) < length) {
    const int32_t id = static_cast<int32_t>(random.Below(config.text.vocab));
    if (id != config.image_token_id) ids.push_back(id);
  }
  if (config.has_vision && length > config.image_tokens + 2) std::fill_n(ids.begin() + 1, config.image_tokens, config.image_token_id);
  return ids;
}

// Exactly --new tokens a row: the kernels run below the engine's sampling, which may stop early.
absl::Status GenerateBench(const Options& o) {
  SWERVE_ASSIGN_OR_RETURN(ModelConfig config, LoadModelConfig(o.model));
  SWERVE_ASSIGN_OR_RETURN(TensorMap tensors, LoadTensors(o.model, config));
  SWERVE_ASSIGN_OR_RETURN(std::shared_ptr<const FusedModel> model, FusedModel::Create(config, tensors));
  std::vector<float> pixels(config.has_vision ? 3 * config.vision.image * config.vision.image : 0, 0.5f);
  std::vector<double> prefill(o.threads), decode(o.threads);
  auto work = [&](int thread) {
    FusedModel::Scratch scratch;
    std::vector<FusedModel::Cache> prompts(o.scenes);
    std::vector<std::unique_ptr<FusedModel::Row>> rows;
    std::vector<FusedModel::Row*> active;
    std::vector<int32_t> next;
    std::vector<float> logits(model->logit_stride());
    double t = Seconds();
    for (int i = thread; i < o.scenes; i += o.threads) {
      const auto ids = BenchIds(config, o.prompt, i);
      const bool image = config.has_vision && ids[std::min<size_t>(1, ids.size() - 1)] == config.image_token_id;
      model->Prefill(ids, image ? pixels.data() : nullptr, &prompts[i], logits.data(), &scratch);
      for (int g = 0; g < o.group; ++g) {
        rows.push_back(std::make_unique<FusedModel::Row>());
        rows.back()->prompt = &prompts[i];
        rows.back()->own.Reset(*model, o.tokens);
        active.push_back(rows.back().get());
        next.push_back(ids.back());
      }
    }
    prefill[thread] = Seconds() - t;
    t = Seconds();
    logits.resize(std::max<size_t>(1, active.size()) * model->logit_stride());
    for (int s = 0; s < o.tokens && !active.empty(); ++s) {
      model->Step(active, next, logits.data(), &scratch);
      for (size_t i = 0; i < next.size(); ++i) {
        const float* row = logits.data() + i * model->logit_stride();
        next[i] = static_cast<int32_t>(std::max_element(row, row + config.text.vocab) - row);
      }
    }
    decode[thread] = Seconds() - t;
  };
  std::vector<std::thread> threads;
  for (int i = 1; i < o.threads; ++i) threads.emplace_back(work, i);
  work(0);
  for (auto& t : threads) t.join();
  const double p = *std::max_element(prefill.begin(), prefill.end()), d = *std::max_element(decode.begin(), decode.end());
  const TextConfig& c = config.text;
  const double macs = static_cast<double>(c.layers) * c.hidden * (2.0 * c.heads * c.head_dim + 2.0 * c.kv_heads * c.head_dim + 3.0 * c.mlp) + 1.0 * c.vocab * c.hidden;
  const double tokens = 1.0 * o.scenes * o.group * o.tokens;
  std::cout << Json{{"prefill_tokens_per_second", o.scenes * o.prompt / p}, {"decode_tokens_per_second", tokens / d},
                    {"end_to_end_tokens_per_second", tokens / (p + d)}, {"threads", o.threads}, {"kernels", kernels::Best().name},
                    {"decode_gflops", 2e-9 * macs * tokens / d}, {"peak_memory_bytes", PeakBytes()}}.dump() << "\n";
  return absl::OkStatus();
}

absl::Status TrainBench(const Options& o) {
  at::set_num_threads(o.threads);
  SWERVE_ASSIGN_OR_RETURN(std::shared_ptr<Policy> policy, Policy::Load(o.model));
  policy->FreezeVision(true);
  std::vector<Policy::Row> rows;
  std::shared_ptr<const Image> image;
  for (int i = 0; i < o.sequences; ++i) {
    const int prompt = std::max(2, o.length - o.tokens);
    Policy::Row row;
    row.prompt_ids = BenchIds(policy->config(), prompt, i / o.group);
    row.response_ids = BenchIds(policy->config(), std::max(1, std::min(o.tokens, o.length - prompt)), 1000 + i);
    std::replace(row.response_ids.begin(), row.response_ids.end(), policy->config().image_token_id, 0);
    const int side = policy->config().vision.image;
    if (i % o.group == 0 && std::count(row.prompt_ids.begin(), row.prompt_ids.end(), policy->config().image_token_id) > 0) {
      image = std::make_shared<Image>(Image{side, side, std::vector<uint8_t>(3 * side * side, 99)});
    }
    row.image = image;
    rows.push_back(std::move(row));
  }
  SWERVE_RETURN_IF_ERROR(policy->Check(rows));
  torch::optim::AdamW optimizer(policy->parameters(), torch::optim::AdamWOptions(1e-4));
  double best = 1e30;
  for (int s = 0; s < o.steps; ++s) {
    const double t = Seconds();
    optimizer.zero_grad();
    policy->SftLoss(rows).backward();
    optimizer.step();
    best = std::min(best, Seconds() - t);
  }
  std::cout << Json{{"tokens_per_second", o.sequences * o.length / best}, {"rows_per_second", o.sequences / best},
                    {"threads", o.threads}, {"peak_memory_bytes", PeakBytes()}}.dump() << "\n";
  return absl::OkStatus();
}

}  // namespace

void AddPolicyCommands(CLI::App& app) {
  auto o = std::make_shared<Options>();
  auto run = [](CLI::App* command, std::function<absl::Status()> body) {
    command->callback([body] {
      if (absl::Status s = body(); !s.ok()) FailWith(s);
    });
  };
  CLI::App* policy = app.add_subcommand("policy", "What a model computes, and how fast");
  policy->require_subcommand(1);
  CLI::App* logprobs = policy->add_subcommand("logprobs", "Log-probabilities of given token ids, and greedy continuations.\n"
      "Input: {\"requests\": [{\"ids\": [...], \"images\": [\"file.png\"], \"greedy\": 64}]}, image placeholders expanded in ids.\n"
      "Output: {\"responses\": [{\"logprobs\": [log p(ids[t] | ids[<t]) for t >= 1], \"greedy\": [ids]}]}");
  logprobs->add_option("--in", o->in, "JSON file")->required();
  logprobs->add_option("--dtype", o->dtype, "float32")->capture_default_str();
  run(logprobs, [o] { return Logprobs(*o); });
  CLI::App* generate = policy->add_subcommand("generate-bench", "Tokens per second of prompts and of decoding, one JSON line");
  generate->add_option("--scenes", o->scenes, "prompts")->capture_default_str()->check(CLI::Range(1, 1 << 16));
  generate->add_option("--prompt", o->prompt, "tokens of a prompt")->capture_default_str()->check(CLI::Range(2, 1 << 16));
  run(generate, [o] { return GenerateBench(*o); });
  CLI::App* train = policy->add_subcommand("train-bench", "Tokens per second of forward, backward and AdamW, one JSON line");
  train->add_option("--sequences", o->sequences, "rows of a step")->capture_default_str()->check(CLI::Range(1, 1 << 16));
  train->add_option("--length", o->length, "tokens of a row, prompt and response")->capture_default_str()->check(CLI::Range(4, 1 << 16));
  train->add_option("--steps", o->steps, "steps; the fastest counts")->capture_default_str();
  run(train, [o] { return TrainBench(*o); });
  for (CLI::App* c : {generate, train}) {
    c->add_option("--group", o->group, "samples that share a prompt")->capture_default_str()->check(CLI::Range(1, 1 << 12));
    c->add_option("--new", o->tokens, "response tokens of a row")->capture_default_str()->check(CLI::Range(1, 1 << 16));
  }
  for (CLI::App* c : {logprobs, generate, train}) {
    c->add_option("--model", o->model, "Hugging Face directory")->capture_default_str();
    c->add_option("--threads", o->threads, "compute threads")->capture_default_str()->check(CLI::Range(1, 256));
  }
}

}  // namespace swerve
