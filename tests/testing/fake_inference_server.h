// SGLang or vLLM as far as Swerve speaks to them, played in memory: weights with a label, health, restarts, and whatever fault
// a test wants in an answer. `Answer` is one request; FakeNetwork is the transport that reaches several of them. Thread-safe.
#ifndef SWERVE_TESTS_TESTING_FAKE_INFERENCE_SERVER_H_
#define SWERVE_TESTS_TESTING_FAKE_INFERENCE_SERVER_H_

#include <deque>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
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
    std::string features_label;  // vLLM: path of the weights that made what is known of the picture
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

  absl::StatusOr<HttpReply> Answer(const HttpRequest& request, const std::string& path_and_query) ABSL_LOCKS_EXCLUDED(mu_);

  // The process ends and another begins: what was loaded is gone.
  void Restart() {
    absl::MutexLock lock(&mu_);
    label_ = "default";
    ++boots_;
    loaded_.clear(), sent_.clear(), held_.clear(), features_.clear();
  }
  void Down(bool down) { Set(&down_, down); }
  void Healthy(bool healthy) { Set(&healthy_, healthy); }
  void RawLogprobs(bool raw) { Set(&raw_, raw); }        // of temperature 1, whatever is asked for
  void KeepsLabel(bool keeps) { Set(&keeps_label_, keeps); }  // vLLM: has /weight_info
  void TellsBoot(bool tells) { Set(&tells_boot_, tells); }
  void LoadsFail(bool fail) { Set(&loads_fail_, fail); }
  // vLLM 0.32: so many times the cache is in use when it is to be reset, which it says with 200.
  void KeepsPrefix(int times) {
    absl::MutexLock lock(&mu_);
    keeps_prefix_ = times;
  }
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
  bool See(Asked* asked) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  HttpReply Control(const std::string& path, const std::string& query, const Json& body) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
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
  int boots_ ABSL_GUARDED_BY(mu_) = 1, keeps_prefix_ ABSL_GUARDED_BY(mu_) = 0;
  std::deque<Fault> faults_ ABSL_GUARDED_BY(mu_);
  std::function<std::vector<int32_t>(const Json&)> chat_ids_ ABSL_GUARDED_BY(mu_);
  std::vector<Asked> asked_ ABSL_GUARDED_BY(mu_);
  std::vector<std::string> loads_ ABSL_GUARDED_BY(mu_), calls_ ABSL_GUARDED_BY(mu_);
  std::string loaded_ ABSL_GUARDED_BY(mu_);  // path of the weights
  std::set<std::string> sent_ ABSL_GUARDED_BY(mu_), held_ ABSL_GUARDED_BY(mu_);      // vLLM: pictures by its server and its engine
  std::map<std::string, std::string> features_ ABSL_GUARDED_BY(mu_);  // path of the weights that saw each
};

// Reaches servers by "http://NAME". Thread-safe once all are added.
class FakeNetwork final : public HttpTransport {
 public:
  void Add(const std::string& name, FakeInferenceServer* server) { servers_["http://" + name] = server; }
  absl::StatusOr<HttpReply> Send(const HttpRequest& request) override {
    for (const auto& [url, server] : servers_) {
      if (!absl::StartsWith(request.url, url + "/")) continue;
      const std::string path = request.url.substr(url.size());
      absl::StatusOr<HttpReply> reply = server->Answer(request, path);
      if (reply.ok() && reply->body.size() > request.max_reply_bytes) return absl::DataLossError("the answer is too large");
      return reply;
    }
    return absl::UnavailableError("Couldn't resolve host name");
  }

 private:
  std::map<std::string, FakeInferenceServer*> servers_;
};

}  // namespace swerve

#endif  // SWERVE_TESTS_TESTING_FAKE_INFERENCE_SERVER_H_
