// What a request may ask of the engine beyond tokens: nucleus, stop strings, deadlines, cancellation, tokens as they come.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <filesystem>
#include <map>
#include <thread>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "base/random.h"
#include "base/status_matchers.h"
#include "policy/checkpoint.h"
#include "policy/engine.h"

namespace swerve {
namespace {

const std::string kModel = std::string(SWERVE_SOURCE_DIR) + "/tests/policy/data/model";

// A clock that tests set; every look at it may move it on.
class FakeClock {
 public:
  absl::Time Now() { return absl::UnixEpoch() + absl::Seconds(seconds_ += step_); }
  void Step(int64_t seconds) { step_ = seconds; }
  int64_t seconds() const { return seconds_; }

 private:
  std::atomic<int64_t> seconds_{0}, step_{0};
};

std::unique_ptr<Engine> MakeEngine(FakeClock* clock, int threads = 1, int max_batch = 64) {
  auto engine = CreateLocalEngine({.model_dir = kModel, .threads = threads, .max_batch = max_batch, .now = [clock] { return clock->Now(); }});
  EXPECT_OK(engine.status());
  return *std::move(engine);
}

class EngineRequests : public testing::Test {
 protected:
  GenerateResult Ask(GenerateRequest request) {
    auto results = engine_->Generate({&request, 1});
    EXPECT_OK(results.status());
    EXPECT_EQ(engine_->load().prompts, 0);
    EXPECT_EQ(engine_->load().sequences, 0);
    return std::move((*results)[0]);
  }

  FakeClock clock_;
  std::unique_ptr<Engine> engine_ = MakeEngine(&clock_);
  const GenerateRequest request_{.prompt = {.text = "speed 4.5. drive."}, .seeds = {1, 2, 3}, .temperature = 1.3, .max_new_tokens = 24};
};

TEST_F(EngineRequests, TokensComeInOrderAndDoneComesOnceAfterThem) {
  GenerateRequest request = request_;
  std::vector<std::vector<TokenLogprob>> came(3);
  int done = 0;
  request.on_token = [&](TokenEvent event) {
    EXPECT_EQ(done, 0);
    came[event.sample].push_back(event.token);
  };
  request.on_done = [&](const GenerateResult& result) {
    ++done;
    EXPECT_EQ(result.responses.size(), 3u);
  };
  const GenerateResult result = Ask(request);
  EXPECT_EQ(done, 1);
  for (size_t i = 0; i < 3; ++i) {
    const v1::Response& r = result.responses[i];
    ASSERT_EQ(came[i].size(), static_cast<size_t>(r.token_ids_size()));
    for (int t = 0; t < r.token_ids_size(); ++t) {
      EXPECT_EQ(came[i][t].id, r.token_ids(t));
      EXPECT_EQ(came[i][t].logprob, r.logprobs(t));
    }
  }
}

TEST_F(EngineRequests, TopLogprobsAreTheMostLikelyBestFirst) {
  GenerateRequest request = request_;
  request.top_logprobs = 1 << 20;  // all there are
  for (const double temperature : {0.0, 1.3}) {
    request.temperature = temperature;
    request.on_token = [&](const TokenEvent& event) {
      ASSERT_GT(event.top.size(), 1000u);
      double sum = 0, chosen = 1;
      for (size_t i = 0; i < event.top.size(); ++i) {
        sum += std::exp(event.top[i].logprob);
        ASSERT_LE(event.top[i].logprob, event.top[i > 0 ? i - 1 : 0].logprob);
        if (event.top[i].id == event.token.id) chosen = event.top[i].logprob;
      }
      EXPECT_NEAR(sum, 1, 1e-3);
      EXPECT_EQ(chosen, event.token.logprob);
      EXPECT_TRUE(temperature > 0 || event.top[0].id == event.token.id);
    };
    Ask(request);
  }
}

// The nucleus is the smallest set of the most likely tokens that holds top_p of the mass; log-probabilities are its own.
TEST_F(EngineRequests, TopPSamplesFromTheNucleusAlone) {
  GenerateRequest request = request_;
  request.top_logprobs = 1 << 20;
  for (const double top_p : {0.3, 0.7, 0.95}) {
    request.top_p = top_p;
    request.on_token = [&](const TokenEvent& event) {
      double total = 0, before = 0;
      for (const TokenLogprob& t : event.top) total += std::exp(t.logprob);
      for (const TokenLogprob& t : event.top) {
        if (t.id == event.token.id) break;
        before += std::exp(t.logprob);
      }
      EXPECT_LT(before, 1 - 1e-4);             // the sampled token is one of the nucleus, whose mass is 1
      EXPECT_GE(1 / total, top_p - 1e-4);      // which is at least top_p of all
      double last = 0, sum = 0;
      for (const TokenLogprob& t : event.top) {
        if (sum > 1 - 1e-5) break;
        sum += last = std::exp(t.logprob);
      }
      EXPECT_LT((1 - last) / total, top_p + 1e-4);  // and less without its least likely
    };
    Ask(request);
  }
  // So small a nucleus holds one token: greedy.
  request.on_token = nullptr;
  request.top_p = 1e-9;
  const GenerateResult one = Ask(request);
  request.top_p = 1;
  request.temperature = 0;
  const GenerateResult greedy = Ask(request);
  EXPECT_EQ(one.responses[0].text(), greedy.responses[0].text());
  EXPECT_EQ(one.responses[0].logprobs(0), 0);
}

TEST_F(EngineRequests, AStopStringEndsTheTextBeforeItWhereverTokensBegin) {
  GenerateRequest request = request_;
  request.temperature = 0;
  request.seeds = {1};
  const GenerateResult whole = Ask(request);
  const std::string text = whole.responses[0].text();
  int tried = 0;
  for (size_t at = 1; at + 5 < text.size(); at += 3) {
    const std::string stop = text.substr(at, 5);
    // Bytes that are no character are U+FFFD in the text, and have no text to look for.
    if (!std::all_of(stop.begin(), stop.end(), absl::ascii_isascii)) continue;
    ++tried;
    request.stop = {"never written", stop};
    const v1::Response cut = Ask(request).responses[0];
    EXPECT_EQ(cut.text(), text.substr(0, text.find(stop)));
    EXPECT_EQ(cut.finish(), v1::STOP);
    ASSERT_LE(cut.token_ids_size(), whole.responses[0].token_ids_size());
    EXPECT_TRUE(std::equal(cut.token_ids().begin(), cut.token_ids().end(), whole.responses[0].token_ids().begin()));
  }
  EXPECT_GT(tried, 4);
}

TEST_F(EngineRequests, ADeadlineEndsWhatIsNotDone) {
  GenerateRequest request = request_;
  const GenerateResult whole = Ask(request);
  request.deadline = absl::UnixEpoch() + absl::Seconds(clock_.seconds() + 10);
  clock_.Step(1);  // a token of a sequence, a second
  const GenerateResult cut = Ask(request);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(cut.responses[i].finish(), v1::CANCELLED);
    EXPECT_GT(cut.responses[i].token_ids_size(), 0);
    EXPECT_LT(cut.responses[i].token_ids_size(), 24);
    EXPECT_TRUE(absl::StartsWith(whole.responses[i].text(), cut.responses[i].text().substr(0, cut.responses[i].text().size() / 2)));
  }
  int done = 0;
  request.on_done = [&](const GenerateResult&) { ++done; };
  const GenerateResult late = Ask(request);  // the time is over already
  EXPECT_EQ(done, 1);
  for (const v1::Response& r : late.responses) {
    EXPECT_EQ(r.finish(), v1::CANCELLED);
    EXPECT_EQ(r.token_ids_size(), 0);
    EXPECT_EQ(r.parse(), v1::FAILED);
  }
}

TEST_F(EngineRequests, CancellationIsSeenAtTheNextTokenAndByNobodyElse) {
  std::vector<GenerateRequest> requests = {request_, request_};
  SWERVE_ASSERT_OK_AND_ASSIGN(const auto whole, engine_->Generate(requests));
  auto cancelled = std::make_shared<std::atomic<bool>>(false);
  requests[1].cancelled = cancelled;
  int tokens = 0;
  requests[1].on_token = [&](const TokenEvent&) {
    if (++tokens == 6) cancelled->store(true);
  };
  SWERVE_ASSERT_OK_AND_ASSIGN(const auto results, engine_->Generate(requests));
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(results[0].responses[i].SerializeAsString(), whole[0].responses[i].SerializeAsString());
  // Six tokens are two of each; the third sequence sees it at once, the others a token later.
  EXPECT_EQ(tokens, 8);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(results[1].responses[i].finish(), v1::CANCELLED);
    EXPECT_EQ(results[1].responses[i].token_ids_size(), i == 2 ? 2 : 3);
  }
}

// A thousand requests, cancelled, late, cut by stop strings or left alone, while weights are swapped: each ends as it
// must, with the tokens of the weights that it names, and nothing is left behind.
class UnderLoad : public testing::Test {
 protected:
  static constexpr int kPrompts = 4, kSeeds = 3, kTokens = 16;

  static GenerateRequest Plain(int prompt, uint64_t seed) {
    return {.prompt = {.text = absl::StrCat("speed ", prompt, ".5. drive.")}, .seeds = {seed}, .temperature = 1.2, .max_new_tokens = kTokens};
  }

  static std::string Part(const std::string& text) { return text.size() > 8 ? text.substr(3, 4) : "zz"; }

  // Version v of the weights has parity v % 2.
  v1::PolicyManifest Weights(int64_t version) {
    v1::PolicyManifest manifest;
    manifest.set_version(version);
    manifest.set_directory(version % 2 == 0 ? kModel : other_);
    return manifest;
  }

  void SetUp() override {
    SWERVE_ASSERT_OK_AND_ASSIGN(ModelConfig config, LoadModelConfig(kModel));
    SWERVE_ASSERT_OK_AND_ASSIGN(TensorMap tensors, LoadTensors(kModel, config));
    std::vector<NamedTensor> named;
    for (auto& [name, t] : tensors) {
      for (float& v : t.data) v *= 1.5f;
      named.push_back({name, t.shape, t.data.data()});
    }
    std::filesystem::remove_all(other_);
    ASSERT_OK(SaveCheckpoint(other_, kModel, config, named));
    for (int64_t version : {0, 1}) {
      ASSERT_OK(engine_->LoadWeights(Weights(version)));
      for (int p = 0; p < kPrompts; ++p) {
        for (uint64_t seed = 0; seed < kSeeds; ++seed) {
          const GenerateRequest request = Plain(p, seed);
          SWERVE_ASSERT_OK_AND_ASSIGN(auto results, engine_->Generate({&request, 1}));
          want_[{version, p, seed}] = results[0].responses[0];
        }
      }
    }
  }

  const std::string other_ = testing::TempDir() + "/engine_requests_weights";
  FakeClock clock_;
  std::unique_ptr<Engine> engine_ = MakeEngine(&clock_, 2, 12);
  std::map<std::tuple<int64_t, int, uint64_t>, v1::Response> want_;
};

TEST_F(UnderLoad, EveryRequestEndsAsItMust) {
  enum Kind { kLeftAlone, kCancelledBefore, kCancelledAtAToken, kCancelledAnyTime, kLate, kStopped, kKinds };
  struct Issued {
    Kind kind;
    int prompt;
    uint64_t seed;
    std::shared_ptr<std::atomic<bool>> cancelled = std::make_shared<std::atomic<bool>>(false);
    std::atomic<int> tokens{0}, done{0};
  };
  std::atomic<bool> over{false};
  std::atomic<int64_t> swaps{0};
  absl::Mutex mutex;
  std::vector<std::shared_ptr<std::atomic<bool>>> open;  // to be cancelled at any time; under `mutex`
  std::thread swapper([&] {
    while (!over) {
      EXPECT_OK(engine_->LoadWeights(Weights(++swaps)));
      absl::MutexLock lock(&mutex);
      for (const auto& flag : open) flag->store(true);
    }
  });
  Random random(5);
  std::map<Kind, int> cancelled_at;
  for (int issued = 0; issued < 1000 || swaps <= 20;) {  // a busy machine may leave the swapper behind
    std::vector<std::unique_ptr<Issued>> batch;
    std::vector<GenerateRequest> requests;
    for (uint64_t n = 1 + random.Below(40); n > 0; --n, ++issued) {
      auto i = std::make_unique<Issued>(static_cast<Kind>(random.Below(kKinds)), static_cast<int>(random.Below(kPrompts)), random.Below(kSeeds));
      GenerateRequest request = Plain(i->prompt, i->seed);
      request.cancelled = i->cancelled;
      const int at = 1 + static_cast<int>(random.Below(kTokens));
      request.on_token = [i = i.get(), at](const TokenEvent&) {
        if (++i->tokens == at && i->kind == kCancelledAtAToken) i->cancelled->store(true);
      };
      request.on_done = [i = i.get()](const GenerateResult&) { ++i->done; };
      if (i->kind == kCancelledBefore) i->cancelled->store(true);
      if (i->kind == kLate) request.deadline = absl::UnixEpoch() - absl::Seconds(1);
      if (i->kind == kStopped) request.stop = {Part(want_[{0, i->prompt, i->seed}].text()), "zzz"};
      if (i->kind == kCancelledAnyTime) {
        absl::MutexLock lock(&mutex);
        open.push_back(i->cancelled);
      }
      batch.push_back(std::move(i));
      requests.push_back(std::move(request));
    }
    SWERVE_ASSERT_OK_AND_ASSIGN(const auto results, engine_->Generate(requests));
    for (size_t k = 0; k < batch.size(); ++k) {
      const Issued& i = *batch[k];
      const v1::Response& r = results[k].responses[0];
      ASSERT_EQ(i.done, 1);
      ASSERT_EQ(i.tokens, r.token_ids_size());
      ASSERT_EQ(r.weight_versions_size(), 1);
      const v1::Response& want = want_[{r.weight_versions(0) % 2, i.prompt, i.seed}];
      ASSERT_LE(r.token_ids_size(), want.token_ids_size());
      ASSERT_TRUE(std::equal(r.token_ids().begin(), r.token_ids().end(), want.token_ids().begin())) << "kind " << i.kind;
      switch (i.kind) {
        case kLeftAlone:
          ASSERT_EQ(r.finish(), want.finish());
          ASSERT_EQ(r.text(), want.text());
          break;
        case kCancelledBefore:
        case kLate:
          ASSERT_EQ(r.finish(), v1::CANCELLED);
          ASSERT_EQ(r.token_ids_size(), 0);
          break;
        case kStopped: ASSERT_TRUE(r.finish() == v1::STOP || r.finish() == want.finish()); break;
        default:
          // Whichever came first.
          ASSERT_TRUE(r.finish() == v1::CANCELLED || (r.finish() == want.finish() && r.text() == want.text()));
          cancelled_at[i.kind] += r.finish() == v1::CANCELLED;
      }
    }
    ASSERT_EQ(engine_->load().prompts, 0);
    ASSERT_EQ(engine_->load().sequences, 0);
    absl::MutexLock lock(&mutex);
    open.clear();
  }
  over = true;
  swapper.join();
  EXPECT_GT(cancelled_at[kCancelledAtAToken], 50);
}

}  // namespace
}  // namespace swerve
