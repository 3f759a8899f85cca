// SGLang's native interface: POST /generate with token ids, weights from disk, and the label of the weights in every answer.
#include "policy/server_dialect.h"
#include "policy/server_json.h"

namespace swerve {
namespace {

absl::Status Malformed(absl::string_view what) { return absl::DataLossError(absl::StrCat("SGLang's answer: ", what)); }

// [log-probability, id, text or null].
std::optional<TokenLogprob> EntryOf(const ServerJson& v) {
  if (!v.is_array() || v.size() < 2 || !v[0].is_number()) return std::nullopt;
  const std::optional<int32_t> id = IdOf(v[1]);
  if (!id) return std::nullopt;
  return TokenLogprob{*id, static_cast<float>(v[0].get<double>())};
}

absl::StatusOr<v1::FinishReason> FinishOf(const ServerJson& v) {
  const std::string type = v.is_string() ? TextOf(v) : TextOf(MemberOf(v, "type"));
  if (type == "stop") return v1::STOP;
  if (type == "length") return v1::LENGTH;
  if (type == "abort") return absl::UnavailableError(absl::StrCat("SGLang broke it off: ", TextOf(MemberOf(v, "message")).substr(0, 200)));
  return Malformed(absl::StrCat("meta_info.finish_reason is '", type.substr(0, 40), "'"));
}

class Sglang final : public ServerDialect {
 public:
  std::string name() const override { return "sglang"; }

  absl::Status Check(const GenerateRequest& request) const override {
    if (request.top_p == 1) return absl::OkStatus();
    return absl::InvalidArgumentError("top_p below 1 cannot be asked of SGLang: its log-probabilities are not those of the nucleus");
  }

  ServerLine::Call Generate(const ServerAsk& ask) const override {
    const GenerateRequest& r = *ask.request;
    // Every parameter that a server might have another default for.
    ServerJson sampling = {{"temperature", r.temperature}, {"top_p", r.top_p}, {"top_k", -1}, {"min_p", 0}, {"repetition_penalty", 1},
                           {"frequency_penalty", 0}, {"presence_penalty", 0}, {"n", 1}, {"max_new_tokens", r.max_new_tokens}, {"min_new_tokens", 0},
                           {"ignore_eos", false}, {"stop_token_ids", *ask.eos}, {"skip_special_tokens", false},
                           {"spaces_between_special_tokens", false}, {"no_stop_trim", true}, {"sampling_seed", ServerSeed(ask.seed)}};
    if (!r.stop.empty()) sampling["stop"] = r.stop;
    ServerJson body = {{"input_ids", *ask.prompt_ids}, {"sampling_params", std::move(sampling)}, {"return_logprob", true},
                       {"logprob_start_len", -1}, {"top_logprobs_num", r.top_logprobs}, {"stream", false}};
    if (!ask.image_url->empty()) body["image_data"] = ServerJson::array({*ask.image_url});
    return {.method = "POST", .path = "/generate", .body = body.dump(-1, ' ', false, ServerJson::error_handler_t::replace)};
  }

  absl::StatusOr<ServerAnswer> Read(const ServerAsk& ask, absl::string_view body) const override {
    SWERVE_ASSIGN_OR_RETURN(const ServerJson json, ParseServerObject(body));
    const ServerJson& meta = MemberOf(json, "meta_info");
    if (!meta.is_object()) return Malformed("there is no meta_info");
    ServerAnswer answer;
    SWERVE_ASSIGN_OR_RETURN(answer.finish, FinishOf(MemberOf(meta, "finish_reason")));
    const ServerJson& tokens = MemberOf(meta, "output_token_logprobs");
    if (!tokens.is_array()) return Malformed("meta_info.output_token_logprobs is missing");
    for (const ServerJson& each : tokens) {
      const std::optional<TokenLogprob> token = EntryOf(each);
      if (!token) return Malformed("meta_info.output_token_logprobs holds something that is not [log-probability, id, …]");
      answer.ids.push_back(token->id);
      answer.logprobs.push_back(token->logprob);
    }
    const std::optional<int64_t> count = WholeOf(MemberOf(meta, "completion_tokens"));
    if (count && *count != static_cast<int64_t>(answer.ids.size())) {
      return Malformed(absl::StrCat(*count, " tokens and ", answer.ids.size(), " log-probabilities"));
    }
    if (ask.request->top_logprobs > 0) SWERVE_RETURN_IF_ERROR(ReadTop(MemberOf(meta, "output_top_logprobs"), &answer));
    answer.prompt_tokens = WholeOf(MemberOf(meta, "prompt_tokens"));
    if (!answer.prompt_tokens) return Malformed("meta_info.prompt_tokens is missing");
    if (!MemberOf(meta, "weight_version").is_string()) {
      return absl::FailedPreconditionError("SGLang's answers do not tell meta_info.weight_version; run a version that does (0.5.3 or newer)");
    }
    answer.weights = TextOf(MemberOf(meta, "weight_version"));
    return answer;
  }

  absl::StatusOr<ServerState> Look(const ServerLine& line, absl::Duration timeout) const override {
    SWERVE_RETURN_IF_ERROR(line.Send({.path = "/health", .timeout = timeout}).status());
    return Weights(line, timeout);
  }

  absl::StatusOr<ServerState> Weights(const ServerLine& line, absl::Duration timeout) const override {
    absl::StatusOr<std::string> info = line.Send({.path = "/get_model_info", .timeout = timeout});
    if (absl::IsUnimplemented(info.status())) info = line.Send({.path = "/model_info", .timeout = timeout});
    if (!info.ok()) return info.status();
    SWERVE_ASSIGN_OR_RETURN(const ServerJson json, ParseServerObject(*info));
    const ServerJson& label = MemberOf(json, "weight_version");
    if (!label.is_string()) {
      return absl::FailedPreconditionError(absl::StrCat(line.url(), " does not tell weight_version in /get_model_info; run SGLang 0.5.3 or newer"));
    }
    return ServerState{.label = TextOf(label), .model = TextOf(MemberOf(json, "model_path"))};
  }

  absl::Status Load(const ServerLine& line, const std::string& path, const std::string& label, absl::Duration timeout) const override {
    // Broken off rather than kept: a request that went on with new weights would tell their label for all of its tokens.
    absl::Status paused = line.Send({.method = "POST", .path = "/pause_generation", .body = R"({"mode": "abort"})", .timeout = timeout}).status();
    if (!paused.ok() && !absl::IsUnimplemented(paused)) return paused;
    // Whatever happens from here on, the old label is not true any more.
    const absl::Status unlabelled = line.Send({.method = "POST", .path = "/update_weight_version", .body = R"({"new_version": "swerve:loading"})", .timeout = timeout}).status();
    if (!unlabelled.ok() && !absl::IsUnimplemented(unlabelled)) return unlabelled;
    const ServerJson body = {{"model_path", path}, {"flush_cache", true}, {"abort_all_requests", true}, {"weight_version", label}};
    const absl::StatusOr<std::string> reply = line.Send({.method = "POST", .path = "/update_weights_from_disk", .body = body.dump(), .timeout = timeout});
    absl::Status resumed;
    if (paused.ok()) resumed = line.Send({.method = "POST", .path = "/continue_generation", .body = "{}", .timeout = timeout}).status();
    // 400 is what it says where it cannot load: another path may do.
    if (absl::IsInvalidArgument(reply.status())) return absl::UnavailableError(reply.status().message());
    if (!reply.ok()) return Annotate(reply.status(), absl::StrCat("loading ", path));
    SWERVE_ASSIGN_OR_RETURN(const ServerJson json, ParseServerObject(*reply));
    if (MemberOf(json, "success") != true) {
      return absl::UnavailableError(absl::StrCat(line.url(), " did not load ", path, ": ", TextOf(MemberOf(json, "message")).substr(0, 300)));
    }
    return resumed;
  }

  std::string HowToGetLogprobs() const override { return "start SGLang without SGLANG_RETURN_ORIGINAL_LOGPROB"; }

 private:
  static absl::Status ReadTop(const ServerJson& top, ServerAnswer* answer) {
    if (!top.is_array() || top.size() != answer->ids.size()) return Malformed("meta_info.output_top_logprobs is not one list per token");
    for (const ServerJson& list : top) {
      std::vector<TokenLogprob>& best = answer->top.emplace_back();
      for (const ServerJson& each : list.is_array() ? list : ServerJson::array()) {
        const std::optional<TokenLogprob> token = EntryOf(each);
        if (!token) return Malformed("meta_info.output_top_logprobs holds something that is not [log-probability, id, …]");
        best.push_back(*token);
      }
    }
    return absl::OkStatus();
  }
};

}  // namespace

std::unique_ptr<const ServerDialect> SglangDialect() { return std::make_unique<Sglang>(); }

}  // namespace swerve
