#include "tests/testing/fake_inference_server.h"

namespace swerve {

HttpReply FakeInferenceServer::Load(const std::string& path) {
  loads_.push_back(path);
  if (!loads_fail_) loaded_ = path;
  if (!loads_fail_) return Reply(200, {{"success", true}, {"message", "loaded"}});
  return Reply(kind_ == Kind::kSglang ? 400 : 500, {{"success", false}, {"message", "cannot load"}});
}

HttpReply FakeInferenceServer::Control(const std::string& path, const std::string& query, const Json& body) {
  if (path == "/health") return Reply(healthy_ ? 200 : 503, "");
  if (path == "/update_weight_version" && (keeps_label_ || kind_ == Kind::kSglang)) {
    label_ = body["new_version"];
    return Reply(200, {{"success", true}});
  }
  if (kind_ == Kind::kSglang) {
    if (path == "/get_model_info") return Reply(200, {{"model_path", "m"}, {"weight_version", label_}});
    if (path == "/pause_generation" || path == "/continue_generation") return Reply(200, {{"status", "ok"}});
    if (path == "/update_weights_from_disk") {
      HttpReply reply = Load(body["model_path"]);
      if (reply.status == 200) label_ = body["weight_version"];
      return reply;
    }
  } else {
    if (path == "/weight_info" && keeps_label_) return Reply(200, {{"weight_version", label_}});
    if (path == "/metrics") return Reply(200, tells_boot_ ? absl::StrCat("# HELP\nprocess_start_time_seconds 1.7e+09", boots_, "\nx 1\n") : "x 1\n");
    if (path == "/v1/models") return Reply(200, {{"data", {{{"id", "policy"}}}}});
    // The engine forgets its pictures; the server before it goes on thinking that it has them.
    if (path == "/pause" && !absl::StrContains(query, "clear_cache=false")) held_.clear(), features_.clear();
    if (path == "/reset_prefix_cache" && keeps_prefix_ > 0) return --keeps_prefix_, Reply(200, {{"success", false}});
    if (path == "/pause" || path == "/resume" || path == "/reset_prefix_cache") return Reply(200, {{"status", "ok"}});
    if (path == "/reset_encoder_cache") {
      features_.clear();
      return Reply(200, "");
    }
    if (path == "/reset_mm_cache") {
      sent_.clear();
      held_.clear();
      return Reply(200, "");
    }
    if (path == "/collective_rpc") return Load(body["kwargs"]["weights_path"]);
  }
  return Reply(404, {{"detail", "Not Found"}});
}

FakeInferenceServer::Asked FakeInferenceServer::AskedOf(const std::string& path, const Json& body) {
  Asked asked;
  asked.body = body;
  asked.label = label_;
  if (kind_ == Kind::kSglang) {
    const Json& s = body["sampling_params"];
    asked.prompt = body["input_ids"].get<std::vector<int32_t>>();
    asked.seed = s["sampling_seed"];
    asked.temperature = s["temperature"];
    asked.max_tokens = s["max_new_tokens"];
    if (body.contains("image_data")) asked.image_url = body["image_data"][0];
    return asked;
  }
  asked.seed = body["seed"];
  asked.temperature = body["temperature"];
  asked.max_tokens = body["max_tokens"];
  if (path == "/v1/completions") {
    asked.prompt = body["prompt"].get<std::vector<int32_t>>();
  } else {
    asked.image_url = body["messages"].back()["content"][0]["image_url"]["url"];
    asked.prompt = chat_ids_(body);
  }
  return asked;
}

// Logits 0, -1, -2 … of tokens 10, 11, 12 …
std::vector<std::pair<int, double>> FakeInferenceServer::Top(double temperature, int count) {
  std::vector<std::pair<int, double>> top;
  for (int i = 0; i < count; ++i) top.emplace_back(10 + i, -i / temperature - 0.7);
  return top;
}

HttpReply FakeInferenceServer::SglangReply(const Asked& asked, const Said& said, double temperature) {
  Json tokens = Json::array(), tops = Json::array();
  const int count = asked.body["top_logprobs_num"];
  for (size_t i = 0; i < said.ids.size(); ++i) {
    tokens.push_back({said.logprobs[i], said.ids[i], nullptr});
    Json list = Json::array();
    for (const auto& [id, logprob] : Top(temperature, count)) list.push_back({logprob, id, nullptr});
    tops.push_back(list);
  }
  Json meta = {{"id", "r"}, {"finish_reason", {{"type", said.finish}}}, {"prompt_tokens", asked.prompt.size()}, {"completion_tokens", said.ids.size()},
               {"weight_version", asked.label}, {"output_token_logprobs", tokens}};
  if (count > 0) meta["output_top_logprobs"] = tops;
  return Reply(200, {{"text", "not what counts"}, {"output_ids", said.ids}, {"meta_info", meta}});
}

HttpReply FakeInferenceServer::VllmReply(const Asked& asked, const Said& said, double temperature, bool chat) {
  const int count = chat ? asked.body["top_logprobs"].get<int>() : asked.body["logprobs"].get<int>();
  Json choice = {{"index", 0}, {"finish_reason", said.finish}, {"token_ids", said.ids}};
  Json tokens = Json::array(), values = Json::array(), tops = Json::array(), content = Json::array();
  for (size_t i = 0; i < said.ids.size(); ++i) {
    const std::string name = absl::StrCat("token_id:", said.ids[i]);
    Json best = Json::object(), list = Json::array();
    for (const auto& [id, logprob] : Top(temperature, count)) {
      best[absl::StrCat("token_id:", id)] = logprob;
      list.push_back({{"token", absl::StrCat("token_id:", id)}, {"logprob", logprob}});
    }
    tokens.push_back(name);
    values.push_back(said.logprobs[i]);
    tops.push_back(best);
    content.push_back({{"token", name}, {"logprob", said.logprobs[i]}, {"top_logprobs", list}});
  }
  if (chat) {
    choice["message"] = {{"role", "assistant"}, {"content", "not what counts"}};
    choice["logprobs"] = {{"content", content}};
    return Reply(200, {{"choices", Json::array({choice})}, {"prompt_token_ids", asked.prompt}});
  }
  choice["logprobs"] = {{"tokens", tokens}, {"token_logprobs", values}, {"top_logprobs", tops}};
  choice["prompt_token_ids"] = asked.prompt;
  return Reply(200, {{"choices", Json::array({choice})}});
}

// As vLLM 0.20 does: a picture that was sent before is not sent again, and what the weights made of it is kept.
bool FakeInferenceServer::See(Asked* asked) {
  if (sent_.insert(asked->image_url).second) held_.insert(asked->image_url);
  if (held_.count(asked->image_url) == 0) return false;
  asked->features_label = features_.try_emplace(asked->image_url, loaded_).first->second;
  return true;
}

absl::StatusOr<HttpReply> FakeInferenceServer::Answer(const HttpRequest& request, const std::string& whole) {
  const std::string path = whole.substr(0, whole.find('?')), query = whole.substr(path.size());
  Asked asked;
  Fault fault;
  double temperature = 1;
  const bool chat = path == "/v1/chat/completions";
  const std::string generates = kind_ == Kind::kSglang ? "/generate" : "/v1/completions";
  {
    absl::MutexLock lock(&mu_);
    if (down_) return absl::UnavailableError("Couldn't connect to server");
    calls_.push_back(absl::StrCat(request.method, " ", path));
    const Json body = Parsed(request.body);
    if (path != generates && !(chat && kind_ == Kind::kVllm)) return Control(path, query, body);
    asked = AskedOf(path, body);
    if (chat && !See(&asked)) return Reply(500, {{"error", {{"message", "Expected a cached item"}}}});
    if (asked.max_tokens > 1) {  // one token is the probe of temperatures
      asked_.push_back(asked);
      if (!faults_.empty()) {
        fault = std::move(faults_.front());
        faults_.pop_front();
      }
    }
    temperature = raw_ || asked.temperature == 0 ? 1 : asked.temperature;
  }
  const Said said = asked.max_tokens == 1 ? Said{{10}, {-0.7f}, "length"} : generator_(asked);
  HttpReply reply = kind_ == Kind::kSglang ? SglangReply(asked, said, temperature) : VllmReply(asked, said, temperature, chat);
  if (fault) return fault(request, std::move(reply));
  return reply;
}

}  // namespace swerve
