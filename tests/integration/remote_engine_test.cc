// A run whose responses come from an inference server: SGLang as a test plays it, with this repository's own engine inside, so
// that tokens and log-probabilities are real. In the middle the server is started anew and has lost its weights.
// Needs the whole binary ($SWERVE_BINARY) and models/tiny.
#include <gmock/gmock.h>

#include <atomic>
#include <cmath>
#include <set>
#include <thread>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/strip.h"
#include "base/http_server.h"
#include "evaluation/telemetry.h"
#include "policy/engine.h"
#include "policy/image_file.h"
#include "tests/integration/run_fixture.h"
#include "tests/testing/fake_inference_server.h"

namespace swerve {
namespace {

using ::testing::HasSubstr;
using Asked = FakeInferenceServer::Asked;
using Said = FakeInferenceServer::Said;

class RemoteEngineRun : public RunFixture {
 protected:
  void SetUp() override {
    RunFixture::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    SWERVE_ASSERT_OK_AND_ASSIGN(engine_, CreateLocalEngine({.model_dir = Model(), .max_batch = 16}));
    SWERVE_ASSERT_OK_AND_ASSIGN(http_, HttpServer::Start({.threads = 32}, [this](const HttpCall& call) { return Answer(call); }));
  }
  void TearDown() override {
    if (HasFailure() && !root().empty()) std::fprintf(stderr, "%s\n", absl::StrJoin(LogTail(run().log_file("rollout-0"), 30), "\n").c_str());
    http_.reset();
    RunFixture::TearDown();
  }
  RunDir run() const { return RunDir(root() + "/run"); }
  std::string url() const { return absl::StrCat("http://127.0.0.1:", http_->port()); }

  HttpResponse Answer(const HttpCall& call) {
    const auto reply = server_.Answer({.method = call.method, .body = call.body}, call.path);
    return reply.ok() ? HttpResponse{reply->status, reply->body} : HttpResponse{503, "{}"};
  }

  // The user's turn, from the ids that came.
  std::string TextOf(const Asked& asked) {
    std::string bytes;
    for (const int32_t id : asked.prompt) bytes += engine_->TokenBytes(id).empty() ? "<|im_end|>" : engine_->TokenBytes(id);
    const size_t from = bytes.rfind("</img>\n");
    const std::string text = from == std::string::npos ? bytes.substr(bytes.rfind("<|im_start|>user\n") + 17) : bytes.substr(from + 7);
    return text.substr(0, text.find("<|im_end|>\n<|im_start|>assistant\n"));
  }
  GenerateRequest RequestOf(const Asked& asked) {
    GenerateRequest request{.prompt = {.text = TextOf(asked)}, .seeds = {static_cast<uint64_t>(asked.seed)}, .temperature = asked.temperature, .max_new_tokens = asked.max_tokens};
    absl::string_view data = asked.image_url;
    std::string png;
    if (absl::ConsumePrefix(&data, "data:image/png;base64,") && absl::Base64Unescape(data, &png)) request.prompt.image = std::make_shared<Image>(*DecodeImage(png));
    return request;
  }
  Said Generate(const Asked& asked) {
    {
      absl::MutexLock lock(&mutex_);
      if (held_ != asked.label) {
        v1::PolicyManifest policy;
        policy.set_directory(server_.loads().empty() ? Model() : server_.loads().back());
        EXPECT_OK(engine_->LoadWeights(policy));
        held_ = asked.label;
      }
    }
    const GenerateRequest request = RequestOf(asked);
    const auto results = engine_->Generate({&request, 1});
    if (!results.ok()) ADD_FAILURE() << results.status();
    if (!results.ok()) return {};
    if ((*results)[0].prompt_ids != asked.prompt) ++other_prompts_;
    const v1::Response& r = (*results)[0].responses[0];
    return {{r.token_ids().begin(), r.token_ids().end()}, {r.logprobs().begin(), r.logprobs().end()}, r.finish() == v1::LENGTH ? "length" : "stop"};
  }

  std::unique_ptr<Engine> engine_;
  FakeInferenceServer server_{FakeInferenceServer::Kind::kSglang, [this](const Asked& asked) { return Generate(asked); }};
  std::unique_ptr<HttpServer> http_;
  absl::Mutex mutex_;
  std::string held_ ABSL_GUARDED_BY(mutex_);
  std::atomic<int> other_prompts_{0};
};

TEST_F(RemoteEngineRun, TrainsAndOutlivesARestartOfItsServer) {
  Process train = Train(run(), root() + "/train.log",
                        {absl::StrCat("scenes.train=[", root(), "/scenes]"), absl::StrCat("policy.model=", Model()), "learner.steps=6", "learner.batch_groups=2",
                         "learner.num_iterations=1", "rollout.num_generations=3", "rollout.max_new_tokens=160", "rollout.groups_in_flight=2",
                         "rollout.success_threshold=0.99", "rollout.engine=sglang", absl::StrCat("rollout.servers.urls=[\"", url(), "\"]")},
                        /*resume=*/false);
  const auto rows = [&] {
    auto read = ReadMetrics(run().root());
    return read.ok() ? *std::move(read) : std::vector<MetricsRow>{};
  };
  const absl::Time until = absl::Now() + kPatience;
  while (rows().size() < 2 && absl::Now() < until && !train.Poll()) absl::SleepFor(absl::Milliseconds(20));
  server_.Restart();
  const auto end = Await(&train);
  ASSERT_TRUE(end && end->ok()) << absl::StrJoin(LogTail(root() + "/train.log", 30), "\n");
  EXPECT_EQ(rows().size(), 6u);
  EXPECT_EQ(other_prompts_, 0);
  std::set<std::string> labels;
  for (const Asked& asked : server_.asked()) labels.insert(asked.label);
  labels.erase("default");  // asked before the restart was noticed; such answers are dropped
  EXPECT_GE(labels.size(), 3u) << "versions";
  for (const std::string& label : labels) EXPECT_TRUE(absl::StartsWith(label, "swerve:")) << label;
  // What was sampled there is what the learner's own model says of it: nothing is off-policy beyond rounding.
  int told = 0;
  for (const MetricsRow& row : rows()) {
    for (const char* name : {"train/clip_ratio", "train/ppo_kl"}) {
      const auto at = row.values.find(name);
      if (at == row.values.end()) continue;
      ++told;
      EXPECT_LT(std::abs(at->second), 0.01) << name << " at step " << row.step;
    }
  }
  EXPECT_GT(told, 0);
}

TEST_F(RemoteEngineRun, EvalMeasuresWhatTheServerSays) {
  const std::vector<std::string> common = {"eval", "--policy", Model(), "--scenes", root() + "/scenes", "--samples", "0", "--max-scenes", "4", "--max-new-tokens", "160"};
  std::vector<std::string> local = common, remote = common;
  local.insert(local.end(), {"--json", root() + "/local.json"});
  remote.insert(remote.end(), {"--engine", "sglang", "--engine-url", url(), "--json", root() + "/remote.json"});
  Command(local);
  Command(remote);
  SWERVE_ASSERT_OK_AND_ASSIGN(const std::string here, ReadFile(root() + "/local.json"));
  SWERVE_ASSERT_OK_AND_ASSIGN(const std::string there, ReadFile(root() + "/remote.json"));
  EXPECT_EQ(here, there) << "greedy answers of the same weights";
  EXPECT_EQ(other_prompts_, 0);
}

}  // namespace
}  // namespace swerve
