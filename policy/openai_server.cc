#include "policy/openai_server.h"

#include <nlohmann/json.hpp>
#include <random>
#include <vector>

#include "absl/strings/match.h"
#include "base/random.h"
#include "policy/openai_request.h"

namespace swerve {
namespace {

using Json = nlohmann::json;

// Text of tokens can end in the middle of a character.
std::string Dump(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

HttpResponse Error(int status, absl::string_view message, absl::string_view param = "", absl::string_view code = "") {
  const char* type = status == 429 ? "rate_limit_error" : status >= 500 ? "server_error" : "invalid_request_error";
  auto text = [](absl::string_view s) { return s.empty() ? Json() : Json(std::string(s)); };
  HttpResponse response{status, Dump({{"error", {{"message", std::string(message)}, {"type", type}, {"param", text(param)}, {"code", text(code)}}}})};
  if (status == 429 || status == 503) response.headers.emplace_back("Retry-After", "1");
  return response;
}

HttpResponse ErrorOf(const absl::Status& status, absl::string_view param = "") {
  const int http = absl::IsInvalidArgument(status) ? 400 : absl::IsResourceExhausted(status) ? 429 : absl::IsUnavailable(status) ? 503 : absl::IsDeadlineExceeded(status) ? 504 : 500;
  return Error(http, status.message(), param);
}

// How many bytes of `text` are whole characters.
size_t WholeCharacters(absl::string_view text) {
  for (size_t back = 1; back <= 3 && back <= text.size(); ++back) {
    const unsigned char c = static_cast<unsigned char>(text[text.size() - back]);
    if ((c & 0xc0) == 0x80) continue;
    const size_t wants = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc0 ? 2 : 1;
    return wants > back ? text.size() - back : text.size();
  }
  return text.size();
}

const char* Reason(v1::FinishReason reason) { return reason == v1::LENGTH ? "length" : "stop"; }

// One request under way: what the engine's threads bring, and the server's thread takes.
class Exchange {
 public:
  void Add(TokenEvent event) {
    absl::MutexLock lock(&mutex_);
    events_.push_back(std::move(event));
  }
  void End(absl::StatusOr<GenerateResult> result) {
    absl::MutexLock lock(&mutex_);
    result_ = std::move(result);
  }
  // Blocks until there is something new or `timeout` passed; true when the result is there as well.
  bool Take(std::vector<TokenEvent>* events, absl::StatusOr<GenerateResult>* result, absl::Duration timeout = absl::InfiniteDuration()) {
    absl::MutexLock lock(&mutex_);
    mutex_.AwaitWithTimeout(absl::Condition(this, &Exchange::Anything), timeout);
    *events = std::exchange(events_, {});
    if (!result_) return false;
    *result = *std::move(result_);
    return true;
  }

 private:
  bool Anything() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return !events_.empty() || result_.has_value(); }
  absl::Mutex mutex_;
  std::vector<TokenEvent> events_ ABSL_GUARDED_BY(mutex_);
  std::optional<absl::StatusOr<GenerateResult>> result_ ABSL_GUARDED_BY(mutex_);
};

Json TokenJson(const Engine& engine, const TokenLogprob& token) {
  const std::string bytes = engine.TokenBytes(token.id);
  Json list = Json::array();
  for (unsigned char c : bytes) list.push_back(c);
  return {{"token", bytes}, {"logprob", token.logprob}, {"bytes", list}};
}

Json LogprobJson(const Engine& engine, const TokenEvent& event) {
  Json json = TokenJson(engine, event.token);
  json["top_logprobs"] = Json::array();
  for (const TokenLogprob& t : event.top) json["top_logprobs"].push_back(TokenJson(engine, t));
  return json;
}

Json Usage(const GenerateResult& result) {
  int64_t completion = 0;
  for (const v1::Response& r : result.responses) completion += r.token_ids_size();
  const int64_t prompt = static_cast<int64_t>(result.prompt_ids.size());
  return {{"prompt_tokens", prompt}, {"completion_tokens", completion}, {"total_tokens", prompt + completion}};
}

// What every part of an answer says.
struct Common {
  std::string id, model;
  int64_t created;
  Json Begin(const char* object) const { return {{"id", id}, {"object", object}, {"created", created}, {"model", model}}; }
};

bool Cancelled(const GenerateResult& result) {
  for (const v1::Response& r : result.responses) {
    if (r.finish() == v1::CANCELLED) return true;
  }
  return false;
}

// Waits for everything, and cancels when nobody does any longer.
HttpResponse Whole(const Engine& engine, const Common& common, const ChatRequest& request, Exchange* exchange, const std::function<bool()>& gone,
                   std::atomic<bool>* cancelled) {
  std::vector<TokenEvent> events, some;
  absl::StatusOr<GenerateResult> result = absl::InternalError("no result");
  for (bool done = false; !done;) {
    done = exchange->Take(&some, &result, absl::Milliseconds(100));
    if (!done && gone && gone()) cancelled->store(true);
    std::move(some.begin(), some.end(), std::back_inserter(events));
  }
  if (!result.ok()) return ErrorOf(result.status());
  if (Cancelled(*result)) return Error(504, "the deadline passed before the answer was whole");
  Json json = common.Begin("chat.completion");
  json["choices"] = Json::array();
  for (size_t i = 0; i < result->responses.size(); ++i) {
    const v1::Response& r = result->responses[i];
    json["choices"].push_back({{"index", i}, {"message", {{"role", "assistant"}, {"content", r.text()}, {"refusal", nullptr}}}, {"logprobs", nullptr}, {"finish_reason", Reason(r.finish())}});
    if (request.logprobs) json["choices"][i]["logprobs"] = {{"content", Json::array()}};
  }
  for (const TokenEvent& event : events) {
    if (request.logprobs && !engine.TokenBytes(event.token.id).empty()) json["choices"][event.sample]["logprobs"]["content"].push_back(LogprobJson(engine, event));
  }
  json["usage"] = Usage(*result);
  return {200, Dump(json)};
}

// A streamed answer: sends what can no longer change.
class Streamer {
 public:
  Streamer(const Engine& engine, Common common, ChatRequest request, std::shared_ptr<Exchange> exchange, std::shared_ptr<std::atomic<bool>> cancelled)
      : engine_(engine), common_(std::move(common)), request_(std::move(request)), exchange_(std::move(exchange)), cancelled_(std::move(cancelled)), choices_(request_.generate.seeds.size()) {
    for (const std::string& s : request_.generate.stop) held_ = std::max(held_, s.size() - 1);
  }

  void Run(const HttpResponse::Write& write) {
    write_ = [this, &write](const Json& json) {
      if (!gone_ && !write(absl::StrCat("data: ", Dump(json), "\n\n"))) gone_ = true, cancelled_->store(true);
    };
    for (size_t i = 0; i < choices_.size(); ++i) Send(i, {{"role", "assistant"}, {"content", ""}}, {}, Json());
    std::vector<TokenEvent> events;
    absl::StatusOr<GenerateResult> result = absl::InternalError("no result");
    for (bool done = false; !done;) {
      done = exchange_->Take(&events, &result);
      for (const TokenEvent& event : events) Add(event);
    }
    if (!result.ok() || Cancelled(*result)) {
      write_(Json::parse((result.ok() ? Error(504, "the deadline passed before the answer was whole") : ErrorOf(result.status())).body));
    } else {
      End(*result);
    }
    if (!gone_) write("data: [DONE]\n\n");
  }

 private:
  struct Choice {
    std::string bytes;
    size_t sent = 0;
    Json logprobs = Json::array();
  };

  void Send(size_t index, Json delta, Json logprobs, Json finish) {
    Json json = common_.Begin("chat.completion.chunk");
    json["choices"] = {{{"index", index}, {"delta", std::move(delta)}, {"logprobs", logprobs.empty() ? Json() : Json{{"content", std::move(logprobs)}}}, {"finish_reason", std::move(finish)}}};
    write_(json);
  }
  void Add(const TokenEvent& event) {
    Choice& c = choices_[event.sample];
    const std::string bytes = engine_.TokenBytes(event.token.id);
    if (request_.logprobs && !bytes.empty()) c.logprobs.push_back(LogprobJson(engine_, event));
    c.bytes += bytes;
    // A stop string may be growing at the end, or be whole; the end sends what stands before it.
    for (const std::string& s : request_.generate.stop) {
      if (absl::StrContains(c.bytes, s)) return;
    }
    const size_t safe = WholeCharacters(absl::string_view(c.bytes).substr(0, c.bytes.size() - std::min(c.bytes.size(), held_)));
    if (safe <= c.sent) return;
    Send(event.sample, {{"content", c.bytes.substr(c.sent, safe - c.sent)}}, std::exchange(c.logprobs, Json::array()), Json());
    c.sent = safe;
  }
  void End(const GenerateResult& result) {
    for (size_t i = 0; i < choices_.size(); ++i) {
      Choice& c = choices_[i];
      std::string rest = c.bytes.substr(c.sent);
      for (const std::string& s : request_.generate.stop) rest = rest.substr(0, rest.find(s));
      if (!rest.empty() || !c.logprobs.empty()) Send(i, {{"content", rest}}, std::move(c.logprobs), Json());
      Send(i, Json::object(), {}, Reason(result.responses[i].finish()));
    }
    if (!request_.include_usage) return;
    Json json = common_.Begin("chat.completion.chunk");
    json["choices"] = Json::array();
    json["usage"] = Usage(result);
    write_(json);
  }

  const Engine& engine_;
  const Common common_;
  const ChatRequest request_;
  const std::shared_ptr<Exchange> exchange_;
  const std::shared_ptr<std::atomic<bool>> cancelled_;
  std::vector<Choice> choices_;
  size_t held_ = 0;
  bool gone_ = false;
  std::function<void(const Json&)> write_;
};

}  // namespace

EngineQueue::EngineQueue(Engine* engine, size_t running, size_t max_queue) : engine_(engine), max_queue_(max_queue) {
  for (size_t i = 0; i < running; ++i) threads_.emplace_back([this] { Run(); });
}

EngineQueue::~EngineQueue() {
  std::deque<Job> left;
  {
    absl::MutexLock lock(&mutex_);
    closed_ = true;
    left.swap(queue_);
  }
  for (Job& job : left) job.done(absl::UnavailableError("the server is stopping"));
  for (std::thread& t : threads_) t.join();
}

absl::Status EngineQueue::Submit(GenerateRequest request, Done done) {
  if (absl::Status s = engine_->Check(request); !s.ok()) return s;
  absl::MutexLock lock(&mutex_);
  if (closed_) return absl::UnavailableError("the server is stopping");
  if (queue_.size() >= max_queue_) return absl::ResourceExhaustedError(absl::StrCat(queue_.size(), " requests wait already; try again after Retry-After"));
  queue_.push_back({std::move(request), std::move(done)});
  return absl::OkStatus();
}

void EngineQueue::Run() {
  while (true) {
    Job job;
    {
      absl::MutexLock lock(&mutex_);
      auto ready = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return closed_ || !queue_.empty(); };
      mutex_.Await(absl::Condition(&ready));
      if (queue_.empty()) return;
      job = std::move(queue_.front());
      queue_.pop_front();
    }
    // One that nobody waits for any longer need not begin.
    const bool cancelled = job.request.cancelled && job.request.cancelled->load();
    if (cancelled || absl::Now() >= job.request.deadline) {
      job.done(cancelled ? absl::CancelledError("the client is gone") : absl::DeadlineExceededError("the deadline passed while the request waited"));
      continue;
    }
    auto results = engine_->Generate({&job.request, 1});
    job.done(results.ok() ? absl::StatusOr<GenerateResult>(std::move((*results)[0])) : results.status());
  }
}

OpenAiServer::OpenAiServer(Engine* engine, OpenAiOptions options)
    : engine_(engine), options_(std::move(options)), queue_(engine, options_.max_running, options_.max_queue) {}

HttpResponse OpenAiServer::Answer(const HttpCall& call) {
  const bool get = call.method == "GET" || call.method == "HEAD";
  if (call.path == "/health" || call.path == "/v1/health") return get ? HttpResponse{200, Dump({{"status", "ok"}, {"weight_version", engine_->policy().version()}})} : Error(405, "use GET");
  const Json model = {{"id", options_.model}, {"object", "model"}, {"created", 0}, {"owned_by", "swerve"}};
  if (call.path == "/v1/models") return get ? HttpResponse{200, Dump({{"object", "list"}, {"data", {model}}})} : Error(405, "use GET");
  if (call.path == "/v1/models/" + options_.model) return get ? HttpResponse{200, Dump(model)} : Error(405, "use GET");
  if (call.path == "/v1/chat/completions") return call.method == "POST" ? Complete(call) : Error(405, "use POST");
  return Error(404, absl::StrCat("no such path: ", call.path, " (/v1/chat/completions, /v1/models, /health)"));
}

HttpResponse OpenAiServer::Complete(const HttpCall& call) {
  ChatRequest request;
  const uint64_t count = count_.fetch_add(1);
  const uint64_t fresh = Mix64(count ^ static_cast<uint64_t>(std::random_device()()) << 32);
  if (auto problem = ParseChatRequest(call.body, options_.default_max_tokens, fresh, &request)) return ErrorOf(problem->status, problem->param);
  if (request.model != options_.model) {
    return Error(404, absl::StrCat("the model '", request.model, "' is not served here; this is '", options_.model, "'"), "model", "model_not_found");
  }
  auto exchange = std::make_shared<Exchange>();
  auto cancelled = std::make_shared<std::atomic<bool>>(false);
  GenerateRequest generate = request.generate;
  generate.deadline = absl::Now() + options_.deadline;
  generate.cancelled = cancelled;
  if (request.stream || request.logprobs) generate.on_token = [exchange](TokenEvent event) { exchange->Add(std::move(event)); };
  if (absl::Status s = queue_.Submit(std::move(generate), [exchange](auto result) { exchange->End(std::move(result)); }); !s.ok()) return ErrorOf(s);
  const Common common{absl::StrCat("chatcmpl-", absl::Hex(fresh, absl::kZeroPad16)), options_.model, absl::ToUnixSeconds(absl::Now())};
  if (!request.stream) return Whole(*engine_, common, request, exchange.get(), call.gone, cancelled.get());
  HttpResponse response;
  auto streamer = std::make_shared<Streamer>(*engine_, common, std::move(request), exchange, cancelled);
  response.stream = [streamer](const HttpResponse::Write& write) { streamer->Run(write); };
  return response;
}

}  // namespace swerve
