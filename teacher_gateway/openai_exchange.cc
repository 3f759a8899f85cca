// OpenAiTeacher's dealings with the endpoint: leave to send, one request, what its answer means, trying again.
#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/strip.h"
#include "teacher_gateway/openai_teacher.h"

namespace swerve {
namespace {

constexpr double kCharsPerToken = 3.5;
constexpr double kPixelsPerToken = 784;  // 28 × 28, as Qwen's and InternVL's towers merge patches
constexpr double kMillion = 1e6;

std::string CompletionsUrl(const std::string& base) {
  return absl::StrCat(absl::StripSuffix(base, "/"), "/chat/completions");
}

}  // namespace

Cost OpenAiTeacher::Estimate(const Messages& messages) const {
  double prompt = 0;
  for (const ChatMessage& message : messages) {
    prompt += static_cast<double>(message.text.size()) / kCharsPerToken;
    if (!message.image_url.empty()) {
      prompt += static_cast<double>(parts_.spec.image_size()) * parts_.spec.image_size() / kPixelsPerToken;
    }
  }
  const double answer = parts_.spec.max_tokens();
  return {prompt + answer, (prompt * parts_.spec.price_in() + answer * parts_.spec.price_out()) / kMillion};
}

Cost OpenAiTeacher::CostOf(const Exchange& exchange, const Cost& estimate) const {
  const double prompt = static_cast<double>(exchange.chat.prompt_tokens);
  const double answer = static_cast<double>(exchange.chat.completion_tokens);
  if (exchange.chat.prompt_tokens >= 0 && exchange.chat.completion_tokens >= 0) {
    return {prompt + answer, (prompt * parts_.spec.price_in() + answer * parts_.spec.price_out()) / kMillion};
  }
  // Not told: what may have been paid for counts in full.
  return exchange.charged ? estimate : Cost();
}

std::optional<OpenAiTeacher::Exchange> OpenAiTeacher::Enter(const Cost& estimate, absl::Time deadline) const {
  while (true) {
    const absl::Time now = parts_.clock.now();
    Pass pass = parts_.limits->Admit(now, estimate);
    if (pass.go) return std::nullopt;
    Exchange refused;
    refused.outcome = pass.outcome;
    refused.detail = std::move(pass.detail);
    if (!pass.wait_until) return refused;
    if (*pass.wait_until >= deadline) {
      refused.detail += "; there is no room before the deadline";
      return refused;
    }
    // Not all at the same instant, and never before it.
    parts_.clock.sleep((*pass.wait_until - now) * (1 + 0.1 * parts_.clock.uniform()));
  }
}

OpenAiTeacher::Exchange OpenAiTeacher::JudgeError(const HttpReply& reply, absl::Time now) const {
  const std::string code = ErrorCode(reply.body);
  Exchange e;
  e.detail = absl::StrCat("HTTP ", reply.status, ": ", ErrorText(reply.body));
  e.pause_until = RetryTime(reply, now);
  switch (reply.status) {
    case 401:
    case 403:
      e.outcome = v1::REFUSED;
      e.healthy = false;
      return e;
    case 402:
      e.outcome = v1::OVER_BUDGET;
      e.healthy = false;
      return e;
    case 429:
      e.outcome = code == "insufficient_quota" ? v1::OVER_BUDGET : v1::RATE_LIMITED;
      e.retry = e.outcome == v1::RATE_LIMITED;
      e.healthy = e.retry;
      return e;
    default: break;
  }
  if (reply.status == 408 || reply.status == 425 || reply.status >= 500) {
    e.outcome = v1::UNAVAILABLE;
    e.retry = true;
    e.healthy = false;
  } else if (code == "content_filter" || code == "content_policy_violation") {
    e.outcome = v1::REFUSED;
  } else {
    e.outcome = v1::INTERNAL;
    e.healthy = reply.status != 404;  // a wrong url or model fails every request
  }
  return e;
}

OpenAiTeacher::Exchange OpenAiTeacher::Judge(const absl::StatusOr<HttpReply>& reply, absl::Time now) const {
  Exchange e;
  if (!reply.ok()) {
    e.detail = std::string(reply.status().message());
    switch (reply.status().code()) {
      case absl::StatusCode::kDeadlineExceeded:
        e.outcome = v1::TIMEOUT;
        e.healthy = false;
        e.charged = true;
        return e;
      case absl::StatusCode::kDataLoss:
        e.outcome = v1::SCHEMA_INVALID;
        e.charged = true;
        return e;
      case absl::StatusCode::kCancelled:  // by us; what the endpoint did until then may be paid for
        e.outcome = v1::UNAVAILABLE;
        e.charged = true;
        return e;
      case absl::StatusCode::kInvalidArgument: e.outcome = v1::INTERNAL; return e;
      default:
        e.outcome = v1::UNAVAILABLE;
        e.retry = absl::IsUnavailable(reply.status());
        e.healthy = false;
        return e;
    }
  }
  if (reply->status < 200 || reply->status >= 300) return JudgeError(*reply, now);
  e.charged = true;
  absl::StatusOr<ChatAnswer> chat = ParseChatReply(reply->body);
  if (!chat.ok()) {
    e.outcome = v1::SCHEMA_INVALID;
    e.detail = std::string(chat.status().message());
    e.retry = true;
    return e;
  }
  e.chat = *std::move(chat);
  if (!e.chat.refusal.empty() || e.chat.finish_reason == "content_filter") {
    e.outcome = v1::REFUSED;
    e.detail = e.chat.refusal.empty() ? "a content filter ended the answer" : absl::StrCat("the model refuses: ", e.chat.refusal.substr(0, 200));
    return e;
  }
  e.outcome = v1::OK;
  return e;
}

OpenAiTeacher::Exchange OpenAiTeacher::Send(const std::string& body, const Cost& estimate, absl::Time deadline,
                                            std::shared_ptr<const std::atomic<bool>> cancelled) const {
  const absl::Time start = parts_.clock.now();
  HttpRequest request;
  request.url = CompletionsUrl(parts_.spec.url());
  request.headers = {"Content-Type: application/json", "Accept: application/json"};
  if (!parts_.key.empty()) request.headers.push_back(absl::StrCat("Authorization: Bearer ", parts_.key.Reveal()));
  request.body = body;
  request.timeout = deadline - start;
  request.ca_file = parts_.spec.ca_file();
  request.cancelled = std::move(cancelled);
  absl::StatusOr<HttpReply> reply = parts_.http->Send(request);
  const absl::Time end = parts_.clock.now();
  // An endpoint may quote the key, plainly or with JSON's escapes; from here on nothing holds it.
  if (reply.ok()) reply->body = parts_.key.Redact(reply->body);
  Exchange exchange = Judge(reply, end);
  for (std::string* text : {&exchange.detail, &exchange.chat.content, &exchange.chat.refusal}) {
    *text = parts_.key.Redact(*text);
  }
  const Cost cost = exchange.cost = CostOf(exchange, estimate);
  parts_.limits->Settle(end, estimate, cost, exchange.healthy, exchange.pause_until);
  if (parts_.store != nullptr) parts_.store->AddSpent(name(), cost);
  metrics_.Requests().Increment();
  metrics_.RequestSeconds().Observe(absl::ToDoubleSeconds(end - start));
  if (exchange.chat.prompt_tokens > 0) metrics_.PromptTokens().Increment(static_cast<double>(exchange.chat.prompt_tokens));
  if (exchange.chat.completion_tokens > 0) {
    metrics_.AnswerTokens().Increment(static_cast<double>(exchange.chat.completion_tokens));
  }
  if (cost.money > 0) metrics_.Money().Increment(cost.money);
  return exchange;
}

OpenAiTeacher::Exchange OpenAiTeacher::Converse(const Messages& messages, const std::string& body,
                                                absl::Time deadline, Cost* spent) const {
  const Cost estimate = Estimate(messages);
  Backoff backoff;
  for (int attempt = 0;; ++attempt) {
    if (std::optional<Exchange> refused = Enter(estimate, deadline)) return *std::move(refused);
    if (attempt > 0) metrics_.Retries().Increment();
    Exchange exchange = hedges_ == nullptr ? Send(body, estimate, deadline) : SendHedged(body, estimate, deadline);
    spent->tokens += exchange.cost.tokens;
    spent->money += exchange.cost.money;
    if (!exchange.retry || attempt >= parts_.spec.max_retries()) return exchange;
    const absl::Duration wait = backoff.Next(parts_.clock);
    if (parts_.clock.now() + wait >= deadline) {
      exchange.detail += "; no time is left to try again";
      return exchange;
    }
    parts_.clock.sleep(wait);
  }
}

}  // namespace swerve
