// vLLM's OpenAI-compatible server: /v1/completions with token ids, /v1/chat/completions where there is a picture, and the
// endpoints of its development mode for weights.
#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "policy/server_dialect.h"
#include "policy/server_json.h"

namespace swerve {
namespace {

constexpr char kLoading[] = "swerve:loading";  // no weights to answer with
constexpr char kNeedsDev[] = "start vLLM with VLLM_SERVER_DEV_MODE=1, in version 0.16 or newer";

absl::Status Malformed(absl::string_view what) { return absl::DataLossError(absl::StrCat("vLLM's answer: ", what)); }
absl::Status TooOld(absl::string_view what) {
  return absl::FailedPreconditionError(absl::StrCat("vLLM does not tell ", what, "; run a version that knows return_token_ids (0.10.2 or newer)"));
}

absl::StatusOr<v1::FinishReason> FinishOf(const std::string& reason) {
  if (reason == "stop") return v1::STOP;
  if (reason == "length") return v1::LENGTH;
  if (reason == "abort" || reason == "error") return absl::UnavailableError("vLLM broke it off");
  return Malformed(absl::StrCat("finish_reason is '", reason.substr(0, 40), "'"));
}

absl::Status AddToken(const ServerJson& name, const ServerJson& logprob, ServerAnswer* answer) {
  const std::optional<int32_t> id = IdOfName(TextOf(name));
  const size_t at = answer->logprobs.size();
  if (!id || !logprob.is_number()) return Malformed("a token without its id or log-probability");
  if (at >= answer->ids.size() || answer->ids[at] != *id) return Malformed("token_ids and logprobs tell other tokens");
  answer->logprobs.push_back(static_cast<float>(logprob.get<double>()));
  return absl::OkStatus();
}

absl::Status AddTop(std::vector<TokenLogprob> best, int wanted, ServerAnswer* answer) {
  std::stable_sort(best.begin(), best.end(), [](const TokenLogprob& a, const TokenLogprob& b) { return a.logprob > b.logprob; });
  if (best.size() > static_cast<size_t>(wanted)) best.resize(wanted);  // the sampled one may come on top of them
  answer->top.push_back(std::move(best));
  return absl::OkStatus();
}

// {"token_id:5": -0.1, …}
absl::Status AddTopObject(const ServerJson& v, int wanted, ServerAnswer* answer) {
  if (!v.is_object()) return Malformed("top_logprobs holds something that is not an object");
  std::vector<TokenLogprob> best;
  for (const auto& [name, logprob] : v.items()) {
    const std::optional<int32_t> id = IdOfName(name);
    if (!id || !logprob.is_number()) return Malformed("top_logprobs holds a token without its id or log-probability");
    best.push_back({*id, static_cast<float>(logprob.get<double>())});
  }
  return AddTop(std::move(best), wanted, answer);
}

// [{"token": "token_id:5", "logprob": -0.1}, …]
absl::Status AddTopList(const ServerJson& v, int wanted, ServerAnswer* answer) {
  if (!v.is_array()) return Malformed("top_logprobs is not a list");
  std::vector<TokenLogprob> best;
  for (const ServerJson& each : v) {
    const std::optional<int32_t> id = IdOfName(TextOf(MemberOf(each, "token")));
    const ServerJson& logprob = MemberOf(each, "logprob");
    if (!id || !logprob.is_number()) return Malformed("top_logprobs holds a token without its id or log-probability");
    best.push_back({*id, static_cast<float>(logprob.get<double>())});
  }
  return AddTop(std::move(best), wanted, answer);
}

absl::Status ReadCompletion(const ServerJson& logprobs, int top, ServerAnswer* answer) {
  const ServerJson &names = MemberOf(logprobs, "tokens"), &values = MemberOf(logprobs, "token_logprobs"), &best = MemberOf(logprobs, "top_logprobs");
  if (!names.is_array() || !values.is_array() || names.size() != values.size()) return Malformed("logprobs.tokens and token_logprobs are missing or not of one length");
  if (top > 0 && (!best.is_array() || best.size() != names.size())) return Malformed("logprobs.top_logprobs is not one for each token");
  for (size_t i = 0; i < names.size(); ++i) {
    SWERVE_RETURN_IF_ERROR(AddToken(names[i], values[i], answer));
    if (top > 0) SWERVE_RETURN_IF_ERROR(AddTopObject(best[i], top, answer));
  }
  return absl::OkStatus();
}

absl::Status ReadChat(const ServerJson& content, int top, ServerAnswer* answer) {
  if (!content.is_array()) return Malformed("logprobs.content is missing");
  for (const ServerJson& each : content) {
    SWERVE_RETURN_IF_ERROR(AddToken(MemberOf(each, "token"), MemberOf(each, "logprob"), answer));
    if (top > 0) SWERVE_RETURN_IF_ERROR(AddTopList(MemberOf(each, "top_logprobs"), top, answer));
  }
  return absl::OkStatus();
}

// process_start_time_seconds of /metrics: another after a restart. Empty: not told.
std::string BootOf(absl::string_view metrics) {
  for (const absl::string_view line : absl::StrSplit(metrics, '\n')) {
    if (absl::StartsWith(line, "process_start_time_seconds ")) return std::string(line.substr(27));
  }
  return "";
}

class Vllm final : public ServerDialect {
 public:
  explicit Vllm(std::string model) : model_(std::move(model)) {}
  std::string name() const override { return "vllm"; }

  ServerLine::Call Generate(const ServerAsk& ask) const override {
    const GenerateRequest& r = *ask.request;
    // Every parameter that the model's generation_config.json might give another default.
    ServerJson body = {{"model", ask.model}, {"n", 1}, {"temperature", r.temperature}, {"top_p", r.top_p}, {"top_k", -1}, {"min_p", 0},
                       {"repetition_penalty", 1}, {"frequency_penalty", 0}, {"presence_penalty", 0}, {"max_tokens", r.max_new_tokens},
                       {"min_tokens", 0}, {"ignore_eos", false}, {"seed", ServerSeed(ask.seed)}, {"stop_token_ids", *ask.eos},
                       {"skip_special_tokens", false}, {"spaces_between_special_tokens", false}, {"include_stop_str_in_output", true},
                       {"return_token_ids", true}, {"return_tokens_as_token_ids", true}, {"stream", false}};
    if (!r.stop.empty()) body["stop"] = r.stop;
    const bool chat = !ask.image_url->empty();
    if (chat) {
      body["messages"] = Messages(ask);
      body["logprobs"] = true;
      body["top_logprobs"] = r.top_logprobs;
    } else {
      body["prompt"] = *ask.prompt_ids;
      body["logprobs"] = std::max(1, r.top_logprobs);
    }
    return {.method = "POST", .path = chat ? "/v1/chat/completions" : "/v1/completions", .body = body.dump(-1, ' ', false, ServerJson::error_handler_t::replace)};
  }

  absl::StatusOr<ServerAnswer> Read(const ServerAsk& ask, absl::string_view body) const override {
    SWERVE_ASSIGN_OR_RETURN(const ServerJson json, ParseServerObject(body));
    const ServerJson& choices = MemberOf(json, "choices");
    if (!choices.is_array() || choices.size() != 1) return Malformed("choices does not hold one answer");
    const ServerJson& choice = choices[0];
    ServerAnswer answer;
    SWERVE_ASSIGN_OR_RETURN(answer.finish, FinishOf(TextOf(MemberOf(choice, "finish_reason"))));
    const bool chat = !ask.image_url->empty();
    const ServerJson& prompt = MemberOf(chat ? json : choice, "prompt_token_ids");
    if (MemberOf(choice, "token_ids").is_null()) return TooOld("token_ids");
    if (prompt.is_null()) return TooOld("prompt_token_ids");
    std::optional<std::vector<int32_t>> ids = IdsOf(MemberOf(choice, "token_ids"));
    answer.prompt_ids = IdsOf(prompt);
    if (!ids || !answer.prompt_ids) return Malformed("token_ids or prompt_token_ids is not a list of ids");
    answer.ids = *std::move(ids);
    const ServerJson& logprobs = MemberOf(choice, "logprobs");
    if (!logprobs.is_object()) return Malformed("logprobs is missing");
    const int top = ask.request->top_logprobs;
    SWERVE_RETURN_IF_ERROR(chat ? ReadChat(MemberOf(logprobs, "content"), top, &answer) : ReadCompletion(logprobs, top, &answer));
    if (answer.logprobs.size() != answer.ids.size()) {
      return Malformed(absl::StrCat(answer.ids.size(), " tokens and ", answer.logprobs.size(), " log-probabilities"));
    }
    return answer;
  }

  absl::StatusOr<ServerState> Look(const ServerLine& line, absl::Duration timeout) const override {
    SWERVE_RETURN_IF_ERROR(line.Send({.path = "/health", .timeout = timeout}).status());
    SWERVE_ASSIGN_OR_RETURN(ServerState state, Weights(line, timeout));
    state.model = model_;
    if (!state.model.empty()) return state;
    SWERVE_ASSIGN_OR_RETURN(const std::string models, line.Send({.path = "/v1/models", .timeout = timeout}));
    SWERVE_ASSIGN_OR_RETURN(const ServerJson json, ParseServerObject(models));
    const ServerJson& data = MemberOf(json, "data");
    state.model = data.is_array() && !data.empty() ? TextOf(MemberOf(data[0], "id")) : "";
    if (state.model.empty()) return absl::FailedPreconditionError(absl::StrCat(line.url(), "/v1/models names no model; say which with rollout.servers.model"));
    return state;
  }

  absl::StatusOr<ServerState> Weights(const ServerLine& line, absl::Duration timeout) const override {
    const absl::StatusOr<std::string> info = line.Send({.path = "/weight_info", .timeout = timeout});
    if (info.ok()) {
      SWERVE_ASSIGN_OR_RETURN(const ServerJson json, ParseServerObject(*info));
      return ServerState{.label = TextOf(MemberOf(json, "weight_version"))};
    }
    if (!absl::IsUnimplemented(info.status())) return info.status();
    // No label is kept there: what counts is that it is still the process that we had load the weights.
    SWERVE_ASSIGN_OR_RETURN(const std::string metrics, line.Send({.path = "/metrics", .timeout = timeout}));
    std::string boot = BootOf(metrics);
    if (!boot.empty()) return ServerState{.boot = std::move(boot)};
    return absl::FailedPreconditionError(absl::StrCat(line.url(), " tells neither /weight_info nor process_start_time_seconds in /metrics, so a restart could not be noticed; ", kNeedsDev));
  }

  absl::Status Load(const ServerLine& line, const std::string& path, const std::string& label, absl::Duration timeout) const override {
    // The caches go when the new weights are there: cleared here, those of the engine go without those of the server in front
    // of it, which then sends it no picture that it has sent before.
    const absl::Status paused = Post(line, "/pause?mode=abort&clear_cache=false", "", timeout);
    if (!paused.ok() && !absl::IsUnimplemented(paused)) return paused;
    const absl::Status loaded = Reload(line, path, label, timeout);
    const absl::Status resumed = paused.ok() ? Post(line, "/resume", "", timeout) : absl::OkStatus();
    if (!loaded.ok()) return Annotate(loaded, absl::StrCat("loading ", path));
    return resumed;
  }

  std::string HowToGetLogprobs() const override { return "start vLLM with --logprobs-mode processed_logprobs"; }

 private:
  static absl::Status Post(const ServerLine& line, const std::string& path, const std::string& body, absl::Duration timeout) {
    return line.Send({.method = "POST", .path = path, .body = body, .timeout = timeout}).status();
  }
  // Where there is no label this does nothing.
  static absl::Status Label(const ServerLine& line, const std::string& label, absl::Duration timeout) {
    const absl::Status set = Post(line, "/update_weight_version", ServerJson{{"new_version", label}}.dump(), timeout);
    return absl::IsUnimplemented(set) ? absl::OkStatus() : set;
  }
  static absl::Status Reload(const ServerLine& line, const std::string& path, const std::string& label, absl::Duration timeout) {
    SWERVE_RETURN_IF_ERROR(Label(line, kLoading, timeout));  // whatever happens from here on, the old label is not true any more
    const ServerJson call = {{"method", "reload_weights"}, {"kwargs", {{"weights_path", path}}}, {"timeout", absl::ToDoubleSeconds(timeout)}};
    const absl::Status loaded = Post(line, "/collective_rpc", call.dump(), timeout);
    if (absl::IsUnimplemented(loaded)) return absl::FailedPreconditionError(absl::StrCat(line.url(), " has no /collective_rpc; ", kNeedsDev));
    SWERVE_RETURN_IF_ERROR(loaded);
    // What the old weights made of prompts and of pictures, and which pictures the engine has.
    for (const char* cache : {"/reset_prefix_cache", "/reset_encoder_cache", "/reset_mm_cache"}) {
      SWERVE_RETURN_IF_ERROR(Reset(line, cache, timeout));
    }
    return Label(line, label, timeout);
  }
  static absl::Status Reset(const ServerLine& line, const std::string& cache, absl::Duration timeout) {
    const absl::StatusOr<std::string> reply = line.Send({.method = "POST", .path = cache, .timeout = timeout});
    if (absl::IsUnimplemented(reply.status())) return absl::FailedPreconditionError(absl::StrCat(line.url(), " has no ", cache, "; ", kNeedsDev));
    SWERVE_RETURN_IF_ERROR(reply.status());
    const ServerJson json = ServerJson::parse(*reply, nullptr, false);  // versions that cannot fail say nothing
    if (MemberOf(json, "success") != false) return absl::OkStatus();
    return absl::UnavailableError(absl::StrCat(line.url(), cache, ": it kept what the old weights made, because something still uses it"));
  }
  static ServerJson Messages(const ServerAsk& ask) {
    const Prompt& prompt = ask.request->prompt;
    ServerJson messages = ServerJson::array();
    for (const Turn& turn : prompt.before) messages.push_back({{"role", turn.role}, {"content", turn.text}});
    messages.push_back({{"role", "user"},
                        {"content", {{{"type", "image_url"}, {"image_url", {{"url", *ask.image_url}}}}, {{"type", "text"}, {"text", prompt.text}}}}});
    return messages;
  }

  const std::string model_;
};

}  // namespace

std::unique_ptr<const ServerDialect> VllmDialect(std::string model) { return std::make_unique<Vllm>(std::move(model)); }

}  // namespace swerve
