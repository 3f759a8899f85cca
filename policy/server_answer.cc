#include "policy/server_answer.h"

#include <algorithm>
#include <cmath>

#include "base/status.h"

namespace swerve {
namespace {

constexpr float kRounding = 1e-3f;  // log-probabilities of servers are sums in single precision; a little above 0 is 0

absl::Status CheckPrompt(const ServerAsk& ask, const ServerAnswer& answer) {
  const std::vector<int32_t>& sent = *ask.prompt_ids;
  const int64_t ran = answer.prompt_ids ? static_cast<int64_t>(answer.prompt_ids->size()) : answer.prompt_tokens.value_or(-1);
  if (ran != static_cast<int64_t>(sent.size())) {
    return absl::FailedPreconditionError(absl::StrCat("the server ran a prompt of ", ran, " tokens where ", sent.size(),
                                                      " were sent: its chat template or image preprocessor is not that of policy.model"));
  }
  if (!answer.prompt_ids || *answer.prompt_ids == sent) return absl::OkStatus();
  const size_t at = std::mismatch(sent.begin(), sent.end(), answer.prompt_ids->begin()).first - sent.begin();
  return absl::FailedPreconditionError(absl::StrCat("the server ran another prompt than was sent: token ", at, " is ", (*answer.prompt_ids)[at], " and not ", sent[at],
                                                    "; its tokenizer or chat template is not that of policy.model"));
}

absl::Status CheckTokens(const EngineText& text, const ServerAsk& ask, const ServerAnswer& answer) {
  if (answer.ids.empty()) return absl::DataLossError("the answer holds no token");
  if (answer.ids.size() != answer.logprobs.size()) return absl::DataLossError("tokens and log-probabilities differ in number");
  if (answer.ids.size() > static_cast<size_t>(ask.request->max_new_tokens)) {
    return absl::DataLossError(absl::StrCat("the answer holds ", answer.ids.size(), " tokens, and ", ask.request->max_new_tokens, " were asked for"));
  }
  for (const int32_t id : answer.ids) {
    if (id < 0 || id >= text.config().text.vocab) return absl::DataLossError(absl::StrCat("token id ", id, " is outside the model's vocabulary"));
  }
  for (const float logprob : answer.logprobs) {
    if (!std::isfinite(logprob) || logprob > kRounding) return absl::DataLossError(absl::StrCat("a log-probability is ", logprob));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status AcceptAnswer(const EngineText& text, const ServerAsk& ask, ServerAnswer* answer, v1::Response* response) {
  SWERVE_RETURN_IF_ERROR(CheckPrompt(ask, *answer));
  SWERVE_RETURN_IF_ERROR(CheckTokens(text, ask, *answer));
  const size_t all = answer->ids.size(), end = text.EndsAfter(answer->ids, ask.request->stop);
  v1::FinishReason finish = v1::STOP;
  if (end > all) {
    if (answer->finish == v1::STOP) {
      return absl::FailedPreconditionError("the server ended a response where there is neither an end-of-turn id of policy.model nor a stop string");
    }
    if (all < static_cast<size_t>(ask.request->max_new_tokens)) {
      return absl::FailedPreconditionError(absl::StrCat("the server ended a response for its length after ", all, " of ", ask.request->max_new_tokens,
                                                        " tokens: its context length is too small"));
    }
    finish = v1::LENGTH;
  }
  const size_t kept = std::min(all, end);
  answer->ids.resize(kept);
  answer->logprobs.resize(kept);
  answer->top.resize(std::min(answer->top.size(), kept));
  response->set_finish(finish);
  response->mutable_token_ids()->Assign(answer->ids.begin(), answer->ids.end());
  for (const float logprob : answer->logprobs) response->add_logprobs(std::min(logprob, 0.0f));
  text.Finish(ask.request->stop, response);
  return absl::OkStatus();
}

}  // namespace swerve
