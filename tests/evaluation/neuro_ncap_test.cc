// The NeuroNCAP score: its formula, its two averages, and records that are not what they should be.
#include "evaluation/neuro_ncap.h"

#include <nlohmann/json.hpp>

#include "base/files.h"
#include "base/random.h"
#include "base/status_matchers.h"
#include "evaluation/open_loop_json.h"

namespace swerve {
namespace {

using ::testing::HasSubstr;

constexpr char kRuns[] =
    R"({"scenario":"stationary","sequence":"0099","run":0,"collided":false}
{"scenario":"stationary","sequence":"0099","run":1,"collided":true,"impact_speed":5,"reference_speed":10}

{"scenario":"stationary","sequence":"0101","run":0,"collided":true,"impact_speed":12,"reference_speed":10}
{"scenario":"side","sequence":"0103","run":"a","collided":false,"reference_speed":8}
)";

TEST(NeuroNcap, ScoreOfOneRun) {
  ClosedLoopRun run;
  EXPECT_EQ(NeuroNcapScore(run), 5);
  run.collided = true;
  run.reference_speed = 10;
  run.impact_speed = 0;
  EXPECT_EQ(NeuroNcapScore(run), 4);  // the best collision is a star below none
  run.impact_speed = 5;
  EXPECT_EQ(NeuroNcapScore(run), 2);
  run.impact_speed = 12;
  EXPECT_EQ(NeuroNcapScore(run), 0);
}

TEST(NeuroNcap, ImpactSpeedIsTheDifferenceOfVelocities) {
  SWERVE_ASSERT_OK_AND_ASSIGN(
      const auto runs,
      ParseClosedLoopRuns(R"({"scenario":"side","sequence":"1","run":0,"collided":true,"ego_velocity":[3,0],)"
                          R"("actor_velocity":[0,4],"reference_speed":10}
{"scenario":"frontal","sequence":"1","run":0,"collided":true,"ego_velocity":[8,0,0],"actor_velocity":[-5,0,0],)"
                          R"("reference_speed":13})"));
  EXPECT_DOUBLE_EQ(runs[0].impact_speed, 5);
  EXPECT_DOUBLE_EQ(runs[1].impact_speed, 13);
}

TEST(NeuroNcap, MeanOfScenariosAndMeanOfRuns) {
  SWERVE_ASSERT_OK_AND_ASSIGN(const auto runs, ParseClosedLoopRuns(kRuns));
  const NeuroNcapResult r = SummariseNeuroNcap(runs);
  EXPECT_EQ(r.runs, 4);
  EXPECT_EQ(r.scenarios.at("stationary").sequences, 2);
  EXPECT_EQ(r.scenarios.at("stationary").runs, 3);
  EXPECT_DOUBLE_EQ(r.scenarios.at("stationary").neuroncap.score, 1.75);  // ((5 + 2) / 2 + 0) / 2
  EXPECT_DOUBLE_EQ(r.scenarios.at("stationary").neuroncap.collision_rate, 0.75);
  EXPECT_DOUBLE_EQ(r.neuroncap.score, 3.375);  // (1.75 + 5) / 2
  EXPECT_DOUBLE_EQ(r.neuroncap.collision_rate, 0.375);
  EXPECT_DOUBLE_EQ(r.neuroncap_runs.score, 3);  // (5 + 2 + 0 + 5) / 4
  EXPECT_DOUBLE_EQ(r.neuroncap_runs.collision_rate, 0.5);
  EXPECT_EQ(SummariseNeuroNcap({}).runs, 0);

  SWERVE_ASSERT_OK_AND_ASSIGN(const std::string text, AddMetricsToJson("", {}, nullptr, &r));
  const auto json = nlohmann::json::parse(text);
  EXPECT_EQ(json["neuroncap"]["score"]["neuroncap"], 3.375);
  EXPECT_EQ(json["neuroncap"]["score"]["neuroncap_runs"], 3);
  EXPECT_EQ(json["neuroncap"]["scenarios"]["side"]["collision_rate"], 0);
  EXPECT_THAT(NeuroNcapTable(r), HasSubstr("NeuroNCAP stationary (2 sequences, 3 runs)"));
}

TEST(NeuroNcap, ErrorsNameLineAndKey) {
  const struct {
    const char* line;
    const char* message;
  } cases[] = {
      {"[1]", "not a JSON object"},
      {"{\"scenario\":", "not a JSON object"},
      {R"({"scenario":"rear","sequence":"1","run":0,"collided":false})", "stationary, frontal or side"},
      {R"({"scenario":"side","run":0,"collided":false})", "\"sequence\""},
      {R"({"scenario":"side","sequence":"1","collided":false})", "\"run\""},
      {R"({"scenario":"side","sequence":"1","run":0})", "\"collided\""},
      {R"({"scenario":"side","sequence":"1","run":0,"collided":1})", "\"collided\""},
      {R"({"scenario":"side","sequence":"1","run":0,"collided":true,"impact_speed":3})", "\"reference_speed\""},
      {R"({"scenario":"side","sequence":"1","run":0,"collided":true,"impact_speed":3,"reference_speed":0})", "above 0"},
      {R"({"scenario":"side","sequence":"1","run":0,"collided":true,"impact_speed":-3,"reference_speed":9})", "negative"},
      {R"({"scenario":"side","sequence":"1","run":0,"collided":true,"reference_speed":9})", "\"ego_velocity\""},
      {R"({"scenario":"side","sequence":"1","run":0,"collided":true,"reference_speed":9,"ego_velocity":[1,2],)"
       R"("actor_velocity":[1,2,3]})",
       "as many numbers"},
      {R"({"scenario":"side","sequence":"1","run":0,"collided":true,"reference_speed":9,"ego_velocity":[1,"2"],)"
       R"("actor_velocity":[1,2]})",
       "finite numbers"},
      {R"({"scenario":"stationary","sequence":"0099","run":"0","collided":false})", "given before"},
  };
  for (const auto& c : cases) {
    EXPECT_THAT(ParseClosedLoopRuns(std::string(kRuns) + c.line),
                StatusIs(absl::StatusCode::kInvalidArgument, testing::AllOf(HasSubstr("line 6"), HasSubstr(c.message))))
        << c.line;
  }
  EXPECT_THAT(ParseClosedLoopRuns("\n \n"), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("no closed-loop runs")));
}

TEST(NeuroNcap, FilesAreNamed) {
  const std::string path = testing::TempDir() + "/runs.jsonl";
  EXPECT_THAT(ReadClosedLoopRuns(path + ".none"), StatusIs(absl::StatusCode::kNotFound, HasSubstr("runs.jsonl.none")));
  ASSERT_OK(WriteFileAtomically(path, kRuns));
  SWERVE_ASSERT_OK_AND_ASSIGN(const auto runs, ReadClosedLoopRuns(path));
  EXPECT_EQ(runs.size(), 4u);
  EXPECT_EQ(runs[3].run, "a");
  ASSERT_OK(WriteFileAtomically(path, "nonsense"));
  EXPECT_THAT(ReadClosedLoopRuns(path), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(path + ": line 1")));
}

TEST(NeuroNcap, DamagedFilesAreErrorsOrSaneScores) {
  Random random(11);
  for (int i = 0; i < 3000; ++i) {
    std::string text = kRuns;
    for (uint64_t n = 1 + random.Below(6); n > 0; --n) {
      const size_t at = random.Below(text.size());
      if (random.Below(2) == 0) {
        text[at] = static_cast<char>(random.Below(256));
      } else {
        text.erase(at, random.Below(20));
      }
    }
    const auto runs = ParseClosedLoopRuns(text);
    if (!runs.ok()) {
      EXPECT_EQ(runs.status().code(), absl::StatusCode::kInvalidArgument);
      continue;
    }
    const NeuroNcapResult r = SummariseNeuroNcap(*runs);
    EXPECT_TRUE(r.neuroncap.score >= 0 && r.neuroncap.score <= 5) << text;
  }
}

}  // namespace
}  // namespace swerve
