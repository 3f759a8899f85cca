// What a test wants of an inference server's next answers (FakeInferenceServer::Script).
#ifndef SWERVE_TESTS_TESTING_FAKE_INFERENCE_FAULTS_H_
#define SWERVE_TESTS_TESTING_FAKE_INFERENCE_FAULTS_H_

#include <functional>
#include <string>

#include "absl/time/clock.h"
#include "tests/testing/fake_inference_server.h"

namespace swerve {

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

#endif  // SWERVE_TESTS_TESTING_FAKE_INFERENCE_FAULTS_H_
