// The CUDA engine with its kernels run on the CPU, against the CPU engine: the same prompts, pages, steps, draws and ends.
#include <torch/torch.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>

#include "absl/strings/match.h"
#include "base/status_matchers.h"
#include "policy/device_backend.h"
#include "policy/engine.h"
#include "policy/engine_metrics.h"
#include "tests/policy/drive_requests.h"
#include "tests/testing/emulated_ops.h"

namespace swerve {
namespace {

const std::string kModel = std::string(SWERVE_SOURCE_DIR) + "/models/tiny";

std::vector<GenerateRequest> Requests(double temperature) { return DriveRequests(3, temperature, 4, 5); }

absl::StatusOr<std::unique_ptr<Engine>> DeviceEngine(EngineOptions options, std::function<std::string()> fail = nullptr) {
  options.model_dir = kModel;
  SWERVE_ASSIGN_OR_RETURN(auto platform, CreateDevicePlatform(options, "cpu", [fail]() -> absl::StatusOr<std::unique_ptr<device::DeviceOps>> { return EmulatedOps(fail); }));
  return CreateEngineOn(std::move(platform), options);
}

void ExpectSame(const std::vector<GenerateResult>& a, const std::vector<GenerateResult>& b, double tolerance) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(a[i].prompt_ids, b[i].prompt_ids);
    ASSERT_EQ(a[i].responses.size(), b[i].responses.size());
    for (size_t r = 0; r < a[i].responses.size(); ++r) {
      const v1::Response &x = a[i].responses[r], &y = b[i].responses[r];
      ASSERT_THAT(x.token_ids(), testing::ElementsAreArray(y.token_ids())) << i << " " << r;
      for (int t = 0; t < x.logprobs_size(); ++t) EXPECT_NEAR(x.logprobs(t), y.logprobs(t), tolerance) << i << " " << r << " " << t;
      EXPECT_EQ(x.finish(), y.finish());
      EXPECT_EQ(x.text(), y.text());
    }
  }
}

// float32 sums in another order
constexpr double kTolerance = 2e-5;

TEST(DeviceEngine, GeneratesWhatTheCpuEngineGenerates) {
  SWERVE_ASSERT_OK_AND_ASSIGN(auto cpu, CreateLocalEngine({.model_dir = kModel}));
  SWERVE_ASSERT_OK_AND_ASSIGN(auto device, DeviceEngine({.max_batch = 4, .cache_mb = 4}));  // fewer rows than responses: they take turns
  for (const double temperature : {0.0, 1.3}) {
    SWERVE_ASSERT_OK_AND_ASSIGN(const auto expected, cpu->Generate(Requests(temperature)));
    SWERVE_ASSERT_OK_AND_ASSIGN(const auto got, device->Generate(Requests(temperature)));
    ExpectSame(got, expected, kTolerance);
  }
  EXPECT_EQ(device->load().sequences, 0);
  EXPECT_EQ(device->load().prompts, 0);
  EXPECT_EQ(EngineMetrics::Get().cache_bytes.Value(), 0);
}

TEST(DeviceEngine, TakesANucleusAndAlternativesOnTheHost) {
  SWERVE_ASSERT_OK_AND_ASSIGN(auto cpu, CreateLocalEngine({.model_dir = kModel}));
  SWERVE_ASSERT_OK_AND_ASSIGN(auto device, DeviceEngine({.max_batch = 3, .cache_mb = 8}));
  std::vector<GenerateRequest> requests = {Requests(1.0)[1]};
  requests[0].top_p = 0.8;
  requests[0].top_logprobs = 3;
  auto tops = [&](Engine& engine) {
    std::vector<int32_t> ids;
    requests[0].on_token = [&](TokenEvent e) {
      for (const TokenLogprob& t : e.top) ids.push_back(t.id);
    };
    EXPECT_TRUE(engine.Generate(requests).ok());
    std::sort(ids.begin(), ids.end());  // of samples whose tokens come in any order
    return ids;
  };
  EXPECT_EQ(tops(*device), tops(*cpu));
}

TEST(DeviceEngine, Bfloat16StaysNearFloat32) {
  SWERVE_ASSERT_OK_AND_ASSIGN(auto full, DeviceEngine({.max_batch = 1, .cache_mb = 8}));
  SWERVE_ASSERT_OK_AND_ASSIGN(auto half, DeviceEngine({.dtype = "bfloat16", .max_batch = 1, .cache_mb = 8}));
  GenerateRequest r = Requests(0.0)[0];
  SWERVE_ASSERT_OK_AND_ASSIGN(const auto a, full->Generate({&r, 1}));
  SWERVE_ASSERT_OK_AND_ASSIGN(const auto b, half->Generate({&r, 1}));
  EXPECT_NEAR(a[0].responses[0].logprobs(0), b[0].responses[0].logprobs(0), 0.1);
}

TEST(DeviceEngine, NewWeightsAreForNewPromptsAndOldGraphsAreNotUsedForThem) {
  SWERVE_ASSERT_OK_AND_ASSIGN(auto engine, DeviceEngine({.max_batch = 2, .cache_mb = 8}));
  GenerateRequest r = Requests(0.0)[1];
  SWERVE_ASSERT_OK_AND_ASSIGN(const auto before, engine->Generate({&r, 1}));
  for (int version = 1; version <= 5; ++version) {
    v1::PolicyManifest next;
    next.set_directory(kModel);
    next.set_version(version);
    ASSERT_THAT(engine->LoadWeights(next), IsOk());
    SWERVE_ASSERT_OK_AND_ASSIGN(const auto after, engine->Generate({&r, 1}));
    EXPECT_EQ(after[0].policy.version(), version);
    EXPECT_THAT(after[0].responses[0].weight_versions(), testing::ElementsAre(version));
    ExpectSame(after, before, kTolerance);
  }
}

TEST(DeviceEngine, AFailingDeviceFailsTheCallsUnderWayAndServesTheNext) {
  auto failing = std::make_shared<std::atomic<int>>(0);
  SWERVE_ASSERT_OK_AND_ASSIGN(auto engine, DeviceEngine({.max_batch = 3, .cache_mb = 8}, [failing]() -> std::string { return failing->fetch_sub(1) == 1 ? "an illegal address" : ""; }));
  const std::vector<GenerateRequest> requests = Requests(1.0);
  *failing = 3;
  const double failures = EngineMetrics::Get().failures.Value();
  const auto failed = engine->Generate(requests);
  EXPECT_THAT(failed.status(), StatusIs(absl::StatusCode::kUnavailable, testing::HasSubstr("an illegal address")));
  EXPECT_EQ(EngineMetrics::Get().failures.Value(), failures + 1);
  EXPECT_EQ(engine->load().sequences, 0);
  EXPECT_EQ(engine->load().prompts, 0);
  SWERVE_ASSERT_OK_AND_ASSIGN(const auto served, engine->Generate(requests));
  for (const auto& result : served) {
    for (const v1::Response& response : result.responses) EXPECT_NE(response.finish(), v1::CANCELLED);
  }
}

TEST(DeviceEngine, SaysWhatItCannotServe) {
  EXPECT_THAT(DeviceEngine({.dtype = "float16"}).status(), StatusIs(absl::StatusCode::kInvalidArgument, testing::HasSubstr("float16")));
  SWERVE_ASSERT_OK_AND_ASSIGN(auto engine, DeviceEngine({.max_batch = 2, .cache_mb = 1}));
  GenerateRequest large = Requests(1.0)[1];
  large.max_new_tokens = 1500;
  EXPECT_THAT(engine->Generate({&large, 1}).status(), StatusIs(absl::StatusCode::kInvalidArgument, testing::HasSubstr("cache_mb")));
}

}  // namespace
}  // namespace swerve
