// What an inference server may answer the remote engine: the first byte chooses the dialect, whether a picture was sent and
// whether alternatives were asked for; the rest is the body, of a response and of what the server says of itself.
#include <algorithm>
#include <cmath>
#include <memory>
#include <string>

#include "policy/server_answer.h"
#include "tests/fuzz/require.h"
#include "tests/testing/fake_http.h"

namespace {
using namespace swerve;
using swerve::testing::Require;

bool IsExpected(const absl::Status& status) {
  return absl::IsDataLoss(status) || absl::IsUnavailable(status) || absl::IsFailedPrecondition(status);
}

void CheckResponse(const EngineText& text, const ServerDialect& dialect, const ServerAsk& ask, const std::string& body) {
  absl::StatusOr<ServerAnswer> answer = dialect.Read(ask, body);
  Require(answer.ok() || IsExpected(answer.status()));
  if (!answer.ok()) return;
  v1::Response response;
  const absl::Status accepted = AcceptAnswer(text, ask, &*answer, &response);
  Require(accepted.ok() || IsExpected(accepted));
  if (!accepted.ok()) return;
  const int tokens = response.token_ids_size();
  Require(tokens > 0 && tokens == response.logprobs_size() && tokens <= ask.request->max_new_tokens);
  for (const int32_t id : response.token_ids()) Require(id >= 0 && id < text.config().text.vocab);
  for (const float logprob : response.logprobs()) Require(std::isfinite(logprob) && logprob <= 0);
  Require(response.finish() == v1::STOP || (response.finish() == v1::LENGTH && tokens == ask.request->max_new_tokens));
  // Nothing after the end.
  for (int i = 0; i + 1 < tokens; ++i) Require(!text.EndsTurn(response.token_ids(i)));
  Require(response.parse() != v1::PARSE_STATUS_UNSPECIFIED);
  Require(answer->top.empty() || answer->top.size() == static_cast<size_t>(tokens));
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  static const EngineText& text = *EngineText::Load(std::string(SWERVE_SOURCE_DIR) + "/tests/policy/data/model", "pose3_text", "")->release();
  static const std::unique_ptr<const ServerDialect> dialects[] = {SglangDialect(), VllmDialect("")};
  static const std::vector<int32_t> prompt = {1, 2, 3};
  static const std::string images[] = {"", "data:image/png;base64,AA=="};
  const ServerDialect& dialect = *dialects[data[0] & 1];
  GenerateRequest request;
  request.max_new_tokens = 6;
  request.top_logprobs = (data[0] & 4) != 0 ? 2 : 0;
  if ((data[0] & 8) != 0) request.stop = {"ab"};
  const ServerAsk ask{&prompt, &request, &images[(data[0] >> 1) & 1], &text.config().eos, data[0], "m"};
  const std::string body(reinterpret_cast<const char*>(data) + 1, size - 1);
  CheckResponse(text, dialect, ask, body);

  const auto http = std::make_shared<FakeHttp>([&](const HttpRequest&) -> absl::StatusOr<HttpReply> {
    HttpReply reply;
    reply.status = (data[0] & 16) != 0 ? 500 : 200;
    reply.body = body;
    return reply;
  });
  const ServerLine line({.url = "http://h"}, http);
  const absl::StatusOr<ServerState> state = dialect.Look(line, absl::Seconds(1));
  Require(state.ok() || IsExpected(state.status()));
  if (!state.ok()) {
    for (const char c : state.status().message()) Require(c >= ' ');
  }
  const absl::Status loaded = dialect.Load(line, "/weights", "label", absl::Seconds(1));
  Require(loaded.ok() || IsExpected(loaded));
  return 0;
}
