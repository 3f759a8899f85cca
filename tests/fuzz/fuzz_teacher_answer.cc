// What a teacher's endpoint may answer, through the openai teacher without sockets: the first byte chooses the status of
// HTTP, the second the header Retry-After; the rest is the body, up to the byte 0x1e, and the body after the repair.
#include <memory>

#include "absl/strings/str_cat.h"
#include "teacher_gateway/openai_teacher.h"
#include "teacher_gateway/report.h"
#include "tests/fuzz/require.h"
#include "tests/testing/fake_http.h"
#include "tests/teacher_gateway/test_cases.h"

namespace {
using namespace swerve;
using swerve::testing::Require;

// What stands in the policy's prompt: one line, bounded, without control tokens.
void IsPromptText(const std::string& text) {
  Require(!text.empty() && text.size() < 8 * 4 * kMaxSectionChars);
  for (const char* mark : {"<think>", "</think>", "<answer>", "</answer>", "<|", "\n", "\r"}) Require(text.find(mark) == text.npos);
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  static const int kStatuses[] = {200, 200, 200, 200, 400, 401, 404, 429, 500, 503, 302, 0};
  const std::string bytes(reinterpret_cast<const char*>(data) + 2, size - 2);
  const size_t cut = bytes.find('\x1e');
  const std::string first = bytes.substr(0, cut), second = cut == std::string::npos ? first : bytes.substr(cut + 1);
  const int status = kStatuses[data[0] % std::size(kStatuses)];
  int calls = 0;
  FakeTime time;
  OpenAiTeacher::Parts parts;
  parts.spec.set_name("vlm");
  parts.spec.set_url("http://127.0.0.1:1/v1");
  parts.spec.set_model("m");
  parts.spec.set_image_size(0);
  parts.spec.set_concurrency(1);
  parts.failed = PromptTemplate::ShippedFailed();
  parts.correct = PromptTemplate::ShippedCorrect();
  parts.limits = std::make_shared<TeacherLimits>(parts.spec, Cost());
  parts.clock = time.clock();
  parts.http = std::make_shared<FakeHttp>([&](const HttpRequest&) -> absl::StatusOr<HttpReply> {
    HttpReply reply;
    reply.status = status;
    reply.body = calls++ == 0 ? first : second;
    if (data[1] % 4 == 1) reply.retry_after = bytes.substr(0, 20);
    if (data[1] % 4 == 2) reply.retry_after_ms = bytes.substr(0, 20);
    if (data[1] % 4 == 3) reply.retry_after = absl::StrCat(data[1]);
    return reply;
  });
  static const v1::Scene scene = StoppedLead();
  v1::DiagnoseRequest request;
  request.set_success_threshold(0.8);
  *request.add_items() = Crash("lead none.");
  const v1::DiagnoseReply reply = OpenAiTeacher(std::move(parts)).Diagnose(request, scene);
  Require(reply.results_size() == 1);
  const v1::DiagnoseResult& result = reply.results(0);
  Require(result.outcome() != v1::OUTCOME_UNSPECIFIED && result.detail().size() < 2000);
  Require(result.outcome() != v1::INTERNAL || status != 200);
  Require((result.outcome() == v1::OK) == result.has_feedback());
  if (result.has_feedback()) IsPromptText(result.feedback().prompt_text());
  for (const bool positive : {false, true}) {
    if (const auto report = ParseReport(first, positive); report.ok()) IsPromptText(report->prompt_text());
  }
  if (const auto chat = ParseChatReply(first); !chat.ok()) Require(!chat.status().message().empty());
  for (const char c : ErrorText(first)) Require(c >= ' ' && c <= '~');
  return 0;
}
