// `swerve policy logprobs` and `swerve policy save`: what a model computes, told in files.
#include <torch/torch.h>

#include "policy/logprobs_command.h"

#include <algorithm>
#include <deque>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>

#include "absl/strings/str_replace.h"
#include "base/files.h"
#include "policy/cpu_backend.h"
#include "policy/cuda_library.h"
#include "policy/device_backend.h"
#include "policy/image_file.h"
#include "policy/model.h"
#include "policy/prompt_input.h"

namespace swerve {
namespace {

using Json = nlohmann::json;

struct Request {
  std::vector<int32_t> ids;
  Policy::Images images;
  int greedy = 0;
};

absl::StatusOr<std::vector<Json>> ReadRequests(const std::string& path) {
  SWERVE_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  const Json in = Json::parse(text, nullptr, false);
  if (!in.is_object() || !in.contains("requests") || !in["requests"].is_array()) {
    return absl::InvalidArgumentError(path + ": wants {\"requests\": [{\"ids\": [...]}]}");
  }
  return std::vector<Json>(in["requests"].begin(), in["requests"].end());
}

// Pictures are looked for where the command runs, then beside the input.
absl::StatusOr<Image> ReadPicture(const Json& name, const std::string& input) {
  if (!name.is_string()) return absl::InvalidArgumentError("images holds something that is not a file name");
  namespace fs = std::filesystem;
  fs::path path = name.get<std::string>();
  std::error_code e;
  if (!fs::exists(path, e)) path = fs::path(input).parent_path() / path;
  return ReadImage(path);
}

// As the preprocessor cuts them. A prompt made with crop_to_patches off has placeholders for one tile a picture; then they
// are not cut.
absl::StatusOr<Policy::Images> Process(const std::vector<Image>& images, int64_t slots, ModelConfig config) {
  const bool tiles = config.processor.kind == ImageProcessorConfig::Kind::kTiles;
  if (tiles && slots == static_cast<int64_t>(images.size()) * config.processor.tokens_per_tile) config.processor.min_tiles = config.processor.max_tiles = 1;
  Policy::Images out;
  for (const Image& image : images) {
    SWERVE_ASSIGN_OR_RETURN(ProcessedImage processed, VisionInput(config, image));
    out.push_back(std::make_shared<const ProcessedImage>(std::move(processed)));
  }
  return out;
}

absl::StatusOr<Request> ParseRequest(const Json& json, const std::string& input, const ModelConfig& config) {
  Request out;
  auto bad = [](auto... what) { return absl::InvalidArgumentError(absl::StrCat(what...)); };
  if (!json.is_object() || !json.contains("ids") || !json["ids"].is_array() || json["ids"].empty()) return bad("ids is missing or empty");
  for (const Json& id : json["ids"]) {
    if (!id.is_number_integer() || id.get<int64_t>() < 0 || id.get<int64_t>() >= config.text.vocab) {
      return bad("ids holds something that is not a token of the vocabulary, 0…", config.text.vocab - 1);
    }
    out.ids.push_back(id.get<int32_t>());
  }
  if (json.contains("images") && !json["images"].is_null()) {
    if (!json["images"].is_array()) return bad("images is not a list");
    std::vector<Image> images;
    for (const Json& name : json["images"]) {
      SWERVE_ASSIGN_OR_RETURN(images.emplace_back(), ReadPicture(name, input));
    }
    SWERVE_ASSIGN_OR_RETURN(out.images, Process(images, std::count(out.ids.begin(), out.ids.end(), config.image_token_id), config));
  }
  if (json.contains("greedy") && !json["greedy"].is_null()) {
    if (!json["greedy"].is_number_integer()) return bad("greedy is not a whole number");
    out.greedy = static_cast<int>(std::clamp<int64_t>(json["greedy"].get<int64_t>(), 0, 1 << 24));
  }
  if (out.ids.size() + out.greedy > static_cast<size_t>(config.text.max_positions)) {
    return bad(out.ids.size(), " ids and greedy ", out.greedy, " exceed the model's ", config.text.max_positions, " positions");
  }
  return out;
}

// Greedy continuations as the engine makes them.
class Continuations {
 public:
  static absl::StatusOr<std::unique_ptr<Continuations>> Create(const LogprobsOptions& o, const ModelConfig& config) {
    const EngineOptions options{.model_dir = o.model, .threads = o.threads, .device = o.device, .dtype = o.dtype, .max_batch = 1};
    auto out = std::make_unique<Continuations>();
    SWERVE_ASSIGN_OR_RETURN(out->platform_, o.device == "cpu" ? CreateCpuPlatform(options) : CreateCudaPlatform(options));
    SWERVE_RETURN_IF_ERROR(out->platform_->Check(config));
    SWERVE_ASSIGN_OR_RETURN(out->weights_, out->platform_->Load(o.model, config));
    SWERVE_ASSIGN_OR_RETURN(out->layout_, out->platform_->Start(config, *out->weights_));
    out->eos_ = config.eos;
    return out;
  }

  absl::StatusOr<std::vector<int32_t>> Of(const Request& request) {
    DecodeBackend& backend = *layout_.loops[0];
    DecodeBackend::PromptWork prompt{&request.ids, &request.images};
    SWERVE_RETURN_IF_ERROR(backend.Prefill(*weights_, {&prompt, 1}));
    GenerateRequest greedy;
    greedy.temperature = 0;
    DecodeBackend::RowWork work{nullptr, 0, {&greedy}};
    SWERVE_RETURN_IF_ERROR(backend.First(*prompt.prompt, {&work.draw, 1}));
    std::unique_ptr<DecodeBackend::Row> row = backend.Begin(*prompt.prompt, request.greedy);
    work.row = row.get();
    std::vector<int32_t> out;
    absl::Status status;
    while (status.ok()) {
      out.push_back(work.token = work.draw.drawn.token.id);
      if (static_cast<int>(out.size()) >= request.greedy || std::find(eos_.begin(), eos_.end(), work.token) != eos_.end()) break;
      status = backend.Step(*weights_, {&work, 1});
    }
    backend.End(std::move(row));
    if (!status.ok()) return status;
    return out;
  }

 private:
  std::unique_ptr<EnginePlatform> platform_;
  std::shared_ptr<const DecodeWeights> weights_;
  EnginePlatform::Layout layout_;
  std::vector<int> eos_;
};

absl::StatusOr<std::shared_ptr<Policy>> LoadPolicy(const LogprobsOptions& o) {
  if (o.dtype != "float32" && o.dtype != "bfloat16") return absl::InvalidArgumentError(absl::StrCat("--dtype ", o.dtype, " is not supported (float32, bfloat16)"));
  at::set_num_threads(o.threads);
  SWERVE_ASSIGN_OR_RETURN(const torch::Device device, OpenDevice(o.device));
  SWERVE_ASSIGN_OR_RETURN(auto policy, Policy::Load(o.model, device, o.dtype == "float32" ? torch::kFloat32 : torch::kBFloat16));
  if (!o.adapter.empty()) SWERVE_RETURN_IF_ERROR(policy->LoadAdapters(o.adapter));
  return policy;
}

// Gradients as they are, under the parameters' canonical names.
absl::Status WriteGradients(const Policy& policy, const std::string& path) {
  std::deque<torch::Tensor> held;
  std::vector<NamedTensor> named;
  for (const auto& item : policy.named_parameters()) {
    if (!item.value().grad().defined()) continue;
    const torch::Tensor& g = held.emplace_back(item.value().grad().to(torch::kCPU, torch::kFloat32).contiguous());
    named.push_back({absl::StrReplaceAll(item.key(), {{"/", "."}}), g.sizes().vec(), g.data_ptr<float>()});
  }
  return WriteSafetensors(path, named);
}

}  // namespace

absl::Status PrintLogprobs(const LogprobsOptions& o) try {
  SWERVE_ASSIGN_OR_RETURN(const std::vector<Json> requests, ReadRequests(o.in));
  SWERVE_ASSIGN_OR_RETURN(const std::shared_ptr<Policy> policy, LoadPolicy(o));
  std::unique_ptr<Continuations> engine;
  if (o.kernels) {
    SWERVE_ASSIGN_OR_RETURN(engine, Continuations::Create(o, policy->config()));
  }
  const bool gradients = !o.gradients.empty();
  Json out = {{"responses", Json::array()}};
  for (size_t i = 0; i < requests.size(); ++i) {
    auto request = ParseRequest(requests[i], o.in, policy->config());
    if (!request.ok()) return Annotate(request.status(), absl::StrCat(o.in, ": request ", i));
    torch::AutoGradMode recording(gradients);
    const int64_t n = static_cast<int64_t>(request->ids.size());
    const torch::Tensor lp = torch::log_softmax(policy->Logits(request->ids, request->images), -1);
    const torch::Tensor next = IndexTensor(std::vector<int64_t>(request->ids.begin() + 1, request->ids.end()), lp.device());
    const torch::Tensor values = lp.narrow(0, 0, n - 1).gather(1, next.unsqueeze(1)).squeeze(1);
    if (gradients && n > 1) (-values.sum()).backward();
    const torch::Tensor plain = values.detach().to(torch::kCPU).contiguous();
    Json answer = {{"logprobs", std::vector<float>(plain.data_ptr<float>(), plain.data_ptr<float>() + plain.numel())}};
    if (request->greedy > 0 && engine != nullptr) {
      SWERVE_ASSIGN_OR_RETURN(answer["greedy"], engine->Of(*request));
    } else if (request->greedy > 0) {
      answer["greedy"] = policy->Greedy(request->ids, request->images, request->greedy);
    }
    out["responses"].push_back(std::move(answer));
  }
  std::cout << out.dump() << "\n";
  return gradients ? WriteGradients(*policy, o.gradients) : absl::OkStatus();
} catch (const c10::Error& e) {  // images that do not fit their placeholders among them
  return absl::InvalidArgumentError(absl::StrCat(o.in, ": ", e.what_without_backtrace()));
}

absl::Status SavePolicy(const LogprobsOptions& o) {
  SWERVE_ASSIGN_OR_RETURN(const std::shared_ptr<Policy> policy, LoadPolicy(o));
  if (!o.adapter_out.empty()) {
    if (!policy->has_adapters()) return absl::InvalidArgumentError("--adapter-out wants --adapter");
    SWERVE_RETURN_IF_ERROR(policy->SaveAdapters(o.adapter_out));
  }
  return o.out.empty() ? absl::OkStatus() : policy->Save(o.out);
}

}  // namespace swerve
