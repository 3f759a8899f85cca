// Bodies of HTTP requests, through the API layer to the scoring pool and back, without sockets. The first byte chooses
// method and path, the rest is the body. Every answer is JSON; no answer is a fault of the server's.
#include <nlohmann/json.hpp>

#include "reward_service/http_api.h"
#include "tests/fuzz/road.h"
#include "tests/fuzz/score_everything.h"

namespace {
using namespace swerve;

ScoringPool* Pool() {
  static const auto scene = std::make_shared<const v1::Scene>(swerve::testing::FuzzRoad());
  static ScoringPool pool({}, [](const std::string& id) -> absl::StatusOr<std::shared_ptr<const v1::Scene>> {
    if (id != "road") return absl::NotFoundError("no such scene");
    return scene;
  });
  return &pool;
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  static const char* const kPaths[] = {"/score", "/score_group", "/v1/score_group", "/health", "/elsewhere"};
  HttpCall request;
  request.method = data[0] % 8 == 7 ? "GET" : "POST";
  request.path = kPaths[data[0] / 8 % 5];
  request.body.assign(reinterpret_cast<const char*>(data) + 1, size - 1);
  const HttpResponse response = AnswerHttp(request, Pool());
  const auto body = nlohmann::json::parse(response.body, nullptr, false);
  swerve::testing::Require(!body.is_discarded());
  swerve::testing::Require(response.status == 200 || (response.status >= 400 && response.status < 500));
  swerve::testing::Require(response.status == 200 || body.contains("error"));
  return 0;
}
