// SGLang or vLLM as far as Swerve speaks to them, played in memory: weights with a label, health, restarts, and whatever fault
// a test wants in an answer. `Answer` is one request; FakeNetwork is the transport that reaches several of them. Thread-safe.
#ifndef SWERVE_TESTS_TESTING_FAKE_INFERENCE_SERVER_H_
#define SWERVE_TESTS_TESTING_FAKE_INFERENCE_SERVER_H_

#include <cmath>
#include <deque>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "base/http_client.h"

namespace swerve {

class FakeInferenceServer {
 public:
  using Json = nlohmann::json;
  enum class Kind { kSglang, kVllm };
  // One response that was asked for, whatever the dialect.
  struct Asked {
    std::vector<int32_t> prompt;
    std::string image_url;
    int64_t seed = 0;
    double temperature = 0;
    int max_tokens = 0;
    std::string label;  // of the weights that the server held
    Json body;
  };
  struct Said {
    std::vector<int32_t> ids;
    std::vector<float> logprobs;
    std::string finish = "stop";
  };
  using Generator = std::function<Said(const Asked&)>;
  // What becomes of an answer that was good.
  using Fault = std::function<absl::StatusOr<HttpReply>(const HttpRequest&, HttpReply)>;

  FakeInferenceServer(Kind kind, Generator generator) : kind_(kind), generator_(std::move(generator)) {}

  absl::StatusOr<HttpReply> Answer(const HttpRequest& request, const std::string& path) ABSL_LOCKS_EXCLUDED(mu_);

  // The process ends and another begins: what was loaded is gone.
  void Restart() {
    absl::MutexLock lock(&mu_);
    label_ = "default";
    ++boots_;
  }
  void Down(bool down) { Set(&down_, down); }
  void Healthy(bool healthy) { Set(&healthy_, healthy); }
  void RawLogprobs(bool raw) { Set(&raw_, raw); }        // of temperature 1, whatever is asked for
  void KeepsLabel(bool keeps) { Set(&keeps_label_, keeps); }  // vLLM: has /weight_info
  void TellsBoot(bool tells) { Set(&tells_boot_, tells); }
  void LoadsFail(bool fail) { Set(&loads_fail_, fail); }
  // Of the next requests for a response, in turn.
  void Script(std::vector<Fault> faults) {
    absl::MutexLock lock(&mu_);
    faults_.assign(faults.begin(), faults.end());
  }
  // Ids of a chat with a picture, as the server's own template has it.
  void ChatIds(std::function<std::vector<int32_t>(const Json& body)> ids) {
    absl::MutexLock lock(&mu_);
    chat_ids_ = std::move(ids);
  }
  std::vector<Asked> asked() const {
    absl::MutexLock lock(&mu_);
    return asked_;
  }
  std::vector<std::string> loads() const {  // paths
    absl::MutexLock lock(&mu_);
    return loads_;
  }
  std::vector<std::string> calls() const {  // "POST /generate", all of them
    absl::MutexLock lock(&mu_);
    return calls_;
  }
  std::string label() const {
    absl::MutexLock lock(&mu_);
    return label_;
  }
  void Label(std::string label) {
    absl::MutexLock lock(&mu_);
    label_ = std::move(label);
  }

  static HttpReply Reply(int status, const Json& body) {
    HttpReply reply;
    reply.status = status;
    reply.body = body.is_string() ? body.get<std::string>() : body.dump();
    return reply;
  }

 private:
  void Set(bool* what, bool value) {
    absl::MutexLock lock(&mu_);
    *what = value;
  }
  static Json Parsed(const std::string& body) { return Json::parse(body, nullptr, false); }
  HttpReply Control(const std::string& path, const Json& body) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  HttpReply Load(const std::string& path) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  Asked AskedOf(const std::string& path, const Json& body) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  static std::vector<std::pair<int, double>> Top(double temperature, int count);
  static HttpReply SglangReply(const Asked& asked, const Said& said, double temperature);
  static HttpReply VllmReply(const Asked& asked, const Said& said, double temperature, bool chat);

  const Kind kind_;
  const Generator generator_;
  mutable absl::Mutex mu_;
  bool down_ ABSL_GUARDED_BY(mu_) = false, healthy_ ABSL_GUARDED_BY(mu_) = true, raw_ ABSL_GUARDED_BY(mu_) = false;
  bool keeps_label_ ABSL_GUARDED_BY(mu_) = true, tells_boot_ ABSL_GUARDED_BY(mu_) = true, loads_fail_ ABSL_GUARDED_BY(mu_) = false;
  std::string label_ ABSL_GUARDED_BY(mu_) = "default";
  int boots_ ABSL_GUARDED_BY(mu_) = 1;
  std::deque<Fault> faults_ ABSL_GUARDED_BY(mu_);
  std::function<std::vector<int32_t>(const Json&)> chat_ids_ ABSL_GUARDED_BY(mu_);
  std::vector<Asked> asked_ ABSL_GUARDED_BY(mu_);
  std::vector<std::string> loads_ ABSL_GUARDED_BY(mu_), calls_ ABSL_GUARDED_BY(mu_);
};

inline HttpReply FakeInferenceServer::Load(const std::string& path) {
  loads_.push_back(path);
  if (!loads_fail_) return Reply(200, {{"success", true}, {"message", "loaded"}});
  return Reply(kind_ == Kind::kSglang ? 400 : 500, {{"success", false}, {"message", "cannot load"}});
}

inline HttpReply FakeInferenceServer::Control(const std::string& path, const Json& body) {
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
    if (path == "/pause" || path == "/resume" || path == "/reset_prefix_cache") return Reply(200, {{"status", "ok"}});
    if (path == "/collective_rpc") return Load(body["kwargs"]["weights_path"]);
  }
  return Reply(404, {{"detail", "Not Found"}});
}

inline FakeInferenceServer::Asked FakeInferenceServer::AskedOf(const std::string& path, const Json& body) {
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
inline std::vector<std::pair<int, double>> FakeInferenceServer::Top(double temperature, int count) {
  std::vector<std::pair<int, double>> top;
  for (int i = 0; i < count; ++i) top.emplace_back(10 + i, -i / temperature - 0.7);
  return top;
}

inline HttpReply FakeInferenceServer::SglangReply(const Asked& asked, const Said& said, double temperature) {
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

inline HttpReply FakeInferenceServer::VllmReply(const Asked& asked, const Said& said, double temperature, bool chat) {
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

inline absl::StatusOr<HttpReply> FakeInferenceServer::Answer(const HttpRequest& request, const std::string& path) {
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
    if (path != generates && !(chat && kind_ == Kind::kVllm)) return Control(path, body);
    asked = AskedOf(path, body);
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

// Reaches servers by "http://NAME". Thread-safe once all are added.
class FakeNetwork final : public HttpTransport {
 public:
  void Add(const std::string& name, FakeInferenceServer* server) { servers_["http://" + name] = server; }
  absl::StatusOr<HttpReply> Send(const HttpRequest& request) override {
    for (const auto& [url, server] : servers_) {
      if (!absl::StartsWith(request.url, url + "/")) continue;
      const std::string path = request.url.substr(url.size());
      absl::StatusOr<HttpReply> reply = server->Answer(request, path.substr(0, path.find('?')));
      if (reply.ok() && reply->body.size() > request.max_reply_bytes) return absl::DataLossError("the answer is too large");
      return reply;
    }
    return absl::UnavailableError("Couldn't resolve host name");
  }

 private:
  std::map<std::string, FakeInferenceServer*> servers_;
};

// Faults.
inline FakeInferenceServer::Fault ErrsWith(int status, const std::string& retry_after = "") {
  return [=](const HttpRequest&, HttpReply) -> absl::StatusOr<HttpReply> {
    HttpReply reply = FakeInferenceServer::Reply(status, {{"error", {{"message", "as the test wants it"}}}});
    reply.retry_after = retry_after;
    return reply;
  };
}
inline FakeInferenceServer::Fault IsCut() {
  return [](const HttpRequest&, HttpReply) -> absl::StatusOr<HttpReply> { return absl::UnavailableError("Transferred a partial file"); };
}
inline FakeInferenceServer::Fault SaysInstead(const std::string& body) {
  return [=](const HttpRequest&, HttpReply reply) -> absl::StatusOr<HttpReply> {
    reply.body = body;
    return reply;
  };
}
// `edit` changes the good answer's JSON.
inline FakeInferenceServer::Fault Edited(std::function<void(nlohmann::json&)> edit) {
  return [=](const HttpRequest&, HttpReply reply) -> absl::StatusOr<HttpReply> {
    nlohmann::json body = nlohmann::json::parse(reply.body);
    edit(body);
    reply.body = body.dump();
    return reply;
  };
}
// Never answers.
inline FakeInferenceServer::Fault Hangs() {
  return [](const HttpRequest& request, HttpReply) -> absl::StatusOr<HttpReply> {
    while (!request.given_up()) absl::SleepFor(absl::Milliseconds(1));
    return absl::CancelledError("called off");
  };
}

}  // namespace swerve

#endif  // SWERVE_TESTS_TESTING_FAKE_INFERENCE_SERVER_H_
