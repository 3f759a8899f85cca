// The HTTP face: the published contract, limits, and bodies that are not what they should be.
#include <arpa/inet.h>
#include <google/protobuf/util/json_util.h>
#include <sys/socket.h>
#include <unistd.h>

#include <nlohmann/json.hpp>
#include <thread>

#include "absl/strings/str_join.h"
#include "absl/synchronization/notification.h"
#include "base/random.h"
#include "base/status_matchers.h"
#include "pdm/score_v2.h"
#include "reward_service/http_api.h"
#include "reward_service/retry_hint.h"
#include "tests/pdm/golden_files.h"

namespace swerve {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

// Sends bytes as they are, half-closes, and reads the whole answer.
std::string Exchange(int port, const std::string& bytes) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
  EXPECT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  for (size_t sent = 0; sent < bytes.size();) {
    const ssize_t n = send(fd, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
    if (n <= 0) break;
    sent += n;
  }
  std::string answer;
  char buffer[4096];
  for (ssize_t n; (n = recv(fd, buffer, sizeof buffer, 0)) > 0;) answer.append(buffer, n);
  close(fd);
  return answer;
}
std::string Post(const std::string& path, const std::string& body) {
  return absl::StrCat("POST ", path, " HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: ", body.size(),
                      "\r\n\r\n", body);
}
int StatusOf(const std::string& answer) { return answer.size() < 12 ? 0 : atoi(answer.c_str() + 9); }
json BodyOf(const std::string& answer) {
  const size_t at = answer.find("\r\n\r\n");
  return at == std::string::npos ? json() : json::parse(answer.substr(at + 4), nullptr, false);
}

class HttpTest : public ::testing::Test {
 protected:
  HttpTest() : scene_(std::make_shared<v1::Scene>(testing::PublicScenes().scenes[0])) {}
  void Start(const HttpServer::Options& http = {}, const ScoringOptions& options = {}) {
    pool_ = std::make_unique<ScoringPool>(
        options, [this](const std::string& id) -> absl::StatusOr<std::shared_ptr<const v1::Scene>> {
          if (id != "known") return absl::NotFoundError(absl::StrCat("no scene '", id, "'"));
          return scene_;
        });
    server_ = HttpServer::Start(http, [this](const HttpCall& r) { return AnswerHttp(r, pool_.get()); }).value();
  }
  json Poses(int to_the_left = 0) const {
    json poses = json::array();
    for (const v1::Pose& p : scene_->human()) poses.push_back({p.x(), p.y() + to_the_left, p.heading()});
    return poses;
  }
  std::string Ask(const std::string& path, const json& body) {
    return Exchange(server_->port(), Post(path, body.dump()));
  }

  std::shared_ptr<const v1::Scene> scene_;
  std::unique_ptr<ScoringPool> pool_;
  std::unique_ptr<HttpServer> server_;
};

TEST_F(HttpTest, OneTrajectoryByThePublishedContract) {
  Start();
  const std::string answer = Ask("/score", {{"token", "known"}, {"poses", Poses()}, {"verbose", false}});
  ASSERT_EQ(StatusOf(answer), 200) << answer;
  const json body = BodyOf(answer);
  // The same as the library's, to the last bit.
  const auto prepared = pdm::Prepare(*scene_).value();
  const v1::SubScores s = pdm::ScoreTrajectory(*prepared, testing::PosesOf(scene_->human())).scores;
  EXPECT_EQ(body["pdms"], s.pdms());
  EXPECT_EQ(body["no_at_fault_collisions"], s.nc());
  EXPECT_EQ(body["drivable_area_compliance"], s.dac());
  EXPECT_EQ(body["ego_progress"], s.ep());
  EXPECT_EQ(body["time_to_collision_within_bound"], s.ttc());
  EXPECT_EQ(body["comfort"], s.comfort());
  EXPECT_EQ(body["pdms_scaled"], ScaledPdms(s));
  EXPECT_EQ(body["valid"], true);
  EXPECT_FALSE(body.contains("facts"));
  const json verbose = BodyOf(Ask("/score", {{"token", "known"}, {"poses", Poses()}, {"verbose", true}}));
  EXPECT_EQ(verbose["token"], "known");
  EXPECT_TRUE(verbose["facts"].contains("progress"));
}

TEST_F(HttpTest, EpdmsWhereRulesAskForIt) {
  Start();
  const json body = BodyOf(Ask("/score", {{"token", "known"}, {"poses", Poses()}, {"rules", "v2"}}));
  const auto prepared = pdm::PreparedScene::Create(*scene_, pdm::Rules::kV2).value();
  const pdm::ScoreV2 want = pdm::ScoreTrajectoryV2(*prepared, testing::PosesOf(scene_->human()));
  EXPECT_EQ(body["epdms"], want.epdms) << body;
  EXPECT_EQ(body["lane_keeping"], want.raw.lk);
  EXPECT_EQ(body["traffic_light_compliance"], want.raw.tlc);
  EXPECT_TRUE(body["forgiven"].is_array());
  EXPECT_FALSE(body.contains("extended_comfort"));  // no plan of the previous frame was given
  const std::string wrong = Ask("/score", {{"token", "known"}, {"poses", Poses()}, {"rules", "v3"}});
  EXPECT_EQ(StatusOf(wrong), 400);
  EXPECT_THAT(wrong, HasSubstr("there are v1, v1.0 and v2"));
  EXPECT_EQ(StatusOf(Ask("/score", {{"token", "known"}, {"poses", Poses()}, {"rules", 2}})), 400);
}

TEST_F(HttpTest, AGroupKeepsItsOrderAndAWrongShapeIsAnOutcome) {
  Start();
  json longer = Poses();
  longer.push_back({1, 2, 3});
  json holes = Poses();
  holes[3][1] = nullptr;
  const json body = BodyOf(Ask("/score_group", {{"token", "known"}, {"poses", {Poses(), longer, holes, Poses(30)}}}));
  ASSERT_EQ(body.size(), 4u) << body;
  EXPECT_GT(body[0]["pdms"], 0.9);
  EXPECT_EQ(body[1]["valid"], false);
  EXPECT_EQ(body[1]["invalid"], "WRONG_SHAPE");
  EXPECT_EQ(body[1]["pdms_scaled"], 0);
  EXPECT_EQ(body[2]["invalid"], "NOT_FINITE");
  EXPECT_LT(body[3]["pdms"], body[0]["pdms"]);
}

TEST_F(HttpTest, TermsOfRewardFunctionsByNameBesideThePublishedFields) {
  auto scene = std::make_shared<v1::Scene>(*scene_);
  scene->set_label(v1::NEGATIVE);
  *scene->mutable_gt() = scene->human();
  scene_ = scene;
  ScoringOptions options;
  v1::RewardRules rules;
  rules.add_functions("spanvla");
  options.default_functions = RewardFunctions::Make(rules).value();
  Start({}, options);
  const json body = BodyOf(Ask("/score", {{"token", "known"}, {"poses", Poses()}}));
  EXPECT_EQ(body["terms"]["negative"], -0.5) << body;
  EXPECT_GT(body["pdms"], 0.9);  // a score, whatever the rules
  v1::ScoreGroupRequest request;
  request.set_scene_id("known");
  request.mutable_rules()->add_functions("spanvla");
  request.mutable_rules()->mutable_spanvla()->set_w_neg(0.25);
  *request.add_candidates()->mutable_poses() = scene_->human();
  std::string text;
  ASSERT_TRUE(google::protobuf::util::MessageToJsonString(request, &text).ok());
  const json group = BodyOf(Exchange(server_->port(), Post("/v1/score_group", text)));
  EXPECT_EQ(group["rewards"][0]["terms"][0]["name"], "negative") << group;
  EXPECT_EQ(group["rewards"][0]["terms"][0]["value"], -0.25);
}

TEST_F(HttpTest, InlineSceneAsProtobufJson) {
  Start();
  v1::ScoreGroupRequest request;
  *request.mutable_scene() = *scene_;
  request.mutable_weights()->set_traj(1);
  *request.add_candidates()->mutable_poses() = scene_->human();
  std::string text;
  ASSERT_TRUE(google::protobuf::util::MessageToJsonString(request, &text).ok());
  const json body = BodyOf(Exchange(server_->port(), Post("/v1/score_group", text)));
  ASSERT_EQ(body["rewards"].size(), 1u) << body;
  EXPECT_GT(body["rewards"][0]["traj"], 0.9);
  EXPECT_TRUE(body["rewards"][0].contains("facts"));
}

TEST_F(HttpTest, ErrorsAreTypedAndNeverAScore) {
  Start();
  EXPECT_EQ(StatusOf(Exchange(server_->port(), "GET /health HTTP/1.0\r\n\r\n")), 200);
  EXPECT_EQ(StatusOf(Exchange(server_->port(), "GET /score HTTP/1.0\r\n\r\n")), 405);
  EXPECT_EQ(StatusOf(Exchange(server_->port(), "GET /nothing HTTP/1.0\r\n\r\n")), 404);
  const auto refused = [&](const std::string& path, const std::string& body, int status, const std::string& part) {
    const std::string answer = Exchange(server_->port(), Post(path, body));
    EXPECT_EQ(StatusOf(answer), status) << body << answer;
    EXPECT_THAT(BodyOf(answer)["error"]["message"].get<std::string>(), HasSubstr(part)) << body;
    EXPECT_FALSE(BodyOf(answer).contains("pdms"));
  };
  refused("/score", json({{"token", "other"}, {"poses", Poses()}}).dump(), 404, "no scene 'other'");
  refused("/score", "{\"token\": \"known\"", 400, "not JSON");
  refused("/score", "[]", 400, "must be an object");
  refused("/score", "{\"poses\": []}", 400, "token is missing");
  refused("/score", "{\"token\": \"known\"}", 400, "poses is missing");
  refused("/score", "{\"token\": 3}", 400, "token must be a string");
  refused("/score", R"({"token": "known", "poses": [[1, 2]]})", 400, "2 numbers");
  refused("/score", R"({"token": "known", "poses": [[1, "2", 3]]})", 400, "a string is out of place");
  refused("/score", R"({"token": "known", "poses": [1, 2, 3]})", 400, "a number is out of place");
  refused("/score", json({{"token", "known"}, {"poses", {Poses()}}}).dump(), 400, "nested too deeply");
  refused("/score", R"({"token": "known", "verbose": "yes"})", 400, "verbose must be");
  refused("/score", R"({"poses": [], "poses": []})", 400, "given twice");
  refused("/v1/score_group", "{\"candidate\": []}", 400, "candidate");
}

TEST_F(HttpTest, LimitsOfSizeAndTime) {
  HttpServer::Options http;
  http.max_body_bytes = 10000;
  http.max_bodies_bytes = 10000;
  http.timeout_ms = 300;
  Start(http);
  const int port = server_->port();
  EXPECT_EQ(StatusOf(Exchange(port, Post("/score", std::string(100000, ' ')))), 413);
  std::string chunks = "POST /score HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (int i = 0; i < 11; ++i) absl::StrAppend(&chunks, "400\r\n", std::string(1024, ' '), "\r\n");
  EXPECT_EQ(StatusOf(Exchange(port, chunks + "0\r\n\r\n")), 413);
  EXPECT_EQ(StatusOf(Exchange(port, "POST /score HTTP/1.1\r\nHost: x\r\n\r\n")), 411);
  // A body that stops half way is given up, and others are served meanwhile and after.
  EXPECT_EQ(StatusOf(Exchange(port, "POST /score HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n{")), 408);
  EXPECT_EQ(StatusOf(Ask("/score", {{"token", "known"}, {"poses", Poses()}})), 200);
}

TEST_F(HttpTest, NoRoomIs429WithTheDelay) {
  const HttpResponse r =
      HttpError(WithRetryAfter(absl::ResourceExhaustedError("queue full"), absl::Milliseconds(1200)));
  EXPECT_EQ(r.status, 429);
  EXPECT_THAT(r.headers, ::testing::ElementsAre(::testing::Pair("Retry-After", "2")));
  EXPECT_EQ(json::parse(r.body)["error"]["retry_after_seconds"], 1.2);
  EXPECT_EQ(HttpError(absl::DeadlineExceededError("x")).status, 504);
  EXPECT_EQ(HttpError(absl::UnavailableError("x")).status, 503);
}

TEST_F(HttpTest, PortInUse) {
  Start();
  HttpServer::Options http;
  http.port = server_->port();
  EXPECT_THAT(HttpServer::Start(http, [](const HttpCall&) { return HttpResponse(); }),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("cannot serve HTTP")));
}

TEST(ScaledPdmsTest, FocalWithHardGates) {
  v1::SubScores s;
  s.set_nc(1), s.set_dac(1), s.set_ep(0.5), s.set_ttc(1), s.set_comfort(1);
  EXPECT_NEAR(ScaledPdms(s), (5 * (1 - std::pow(0.5, 0.6)) + 5 + 2) / 12, 1e-15);
  s.set_nc(0.5);  // a gate, not a factor
  EXPECT_GT(ScaledPdms(s), 0.7);
  s.set_dac(0);
  EXPECT_EQ(ScaledPdms(s), 0);
}

// Whatever the bytes, the reader ends with a request or an error that says something.
TEST(ParsePosesTest, DamagedBodies) {
  const std::string good = R"({"token":"abc","verbose":true,"x":{"y":[1,{"z":null}]},"poses":[[1.5,-2e3,0.25],[1,2,3]]})";
  bool verbose = false;
  SWERVE_ASSERT_OK_AND_ASSIGN(const v1::ScoreGroupRequest request, ParsePoses(good, false, &verbose));
  EXPECT_TRUE(verbose);
  EXPECT_EQ(request.candidates(0).poses(0).y(), -2000);
  const std::string alphabet = "{}[],:\"0123456789.-+eEtrufalsn\\\x80\xff ";
  Random random(7);
  int read = 0;
  for (int i = 0; i < 20000; ++i) {
    std::string bad = good;
    for (int k = 1 + static_cast<int>(random.Below(4)); k > 0; --k) {
      const size_t at = random.Below(bad.size());
      switch (random.Below(3)) {
        case 0: bad[at] = alphabet[random.Below(alphabet.size())]; break;
        case 1: bad.erase(at, 1 + random.Below(5)); break;
        default: bad.insert(at, bad.substr(random.Below(bad.size()), 6));
      }
    }
    for (const bool group : {false, true}) {
      const auto result = ParsePoses(bad, group, &verbose);
      if (result.ok()) ++read;
      else EXPECT_FALSE(result.status().message().empty()) << bad;
    }
  }
  EXPECT_GT(read, 100);
  // Nested without end: refused at once, not after filling memory or the stack.
  for (const char* open : {"[", "{\"a\":", "{\"poses\":["}) {
    std::string deep;
    for (int i = 0; i < 1000000; ++i) deep += open;
    EXPECT_FALSE(ParsePoses(deep, false, &verbose).ok());
  }
}

}  // namespace
}  // namespace swerve
