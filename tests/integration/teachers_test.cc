// Teachers are swapped by hand while a run trains: oracle → an OpenAI-compatible endpoint → rule. It goes on without a
// pause, the report shows the swaps and what each teacher was worth, and the endpoint's key is nowhere in what is left.
// Needs the whole binary ($SWERVE_BINARY) and models/tiny.
#include <gmock/gmock.h>
#include <signal.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "evaluation/group_log.h"
#include "evaluation/telemetry.h"
#include "tests/integration/run_fixture.h"
#include "tests/testing/fake_openai.h"

namespace swerve {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kKey[] = "sk-integration-3f9b1c7e5d";

class TeachersTest : public RunFixture {
 protected:
  void TearDown() override {
    if (HasFailure() && !root().empty()) {
      std::fprintf(stderr, "%s\n", absl::StrJoin(LogTail(root() + "/train.log", 40), "\n").c_str());
      std::fprintf(stderr, "%s\n", absl::StrJoin(LogTail(run().log_file("teacher"), 20), "\n").c_str());
    }
    RunFixture::TearDown();
  }

  RunDir run() const { return RunDir(root() + "/run"); }
  std::vector<MetricsRow> Rows() const {
    auto rows = ReadMetrics(run().root());
    return rows.ok() ? *std::move(rows) : std::vector<MetricsRow>{};
  }
  // Steps done once `more` further ones are; -1: the run has ended or stands still.
  int64_t Advance(int more, Process* train) {
    const absl::Time until = absl::Now() + kPatience;
    const int64_t begin = Rows().empty() ? 0 : Rows().back().step;
    while (absl::Now() < until && !train->Poll()) {
      const std::vector<MetricsRow> rows = Rows();
      if (!rows.empty() && rows.back().step >= begin + more) return rows.back().step;
      absl::SleepFor(absl::Milliseconds(50));
    }
    return -1;
  }
  void Teachers(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "teachers");
    arguments.insert(arguments.end(), {"--run", run().root()});
    Command(arguments);
  }

  void CheckTelemetry();
  void CheckPauses();
  void CheckReport();
  void CheckKey();

  FakeOpenAi server_;
};

// Every change is an event of one step, and the groups name the teachers of their own set.
void TeachersTest::CheckTelemetry() {
  std::vector<std::string> events;
  for (const MetricsRow& row : Rows()) events.insert(events.end(), row.events.begin(), row.events.end());
  EXPECT_THAT(events, ElementsAre(AllOf(HasSubstr("set 2"), HasSubstr("vlm")), AllOf(HasSubstr("set 3"), HasSubstr("vlm 100 %")),
                                  AllOf(HasSubstr("set 4"), HasSubstr("rule")), AllOf(HasSubstr("set 5"), HasSubstr("rule 100 %"))));
  SWERVE_ASSERT_OK_AND_ASSIGN(const std::vector<GroupRecord> groups, ReadGroups(run().root()));
  std::map<uint64_t, std::set<std::string>> asked;
  TeacherTallies tallies;
  for (const GroupRecord& group : groups) {
    AddTallies(group.teachers, &tallies);
    for (const auto& [name, tally] : group.teachers) asked[group.teacher_set].insert(name);
  }
  EXPECT_THAT(asked[1], ElementsAre("oracle"));
  EXPECT_THAT(asked[3], AllOf(Contains("vlm"), Not(Contains("oracle"))));  // and its fallback
  EXPECT_THAT(asked[5], ElementsAre("rule"));
  for (const char* name : {"oracle", "vlm", "rule"}) EXPECT_GT(tallies[name].refinements, 0) << name;
  EXPECT_GT(tallies["vlm"].tokens, 0);
  // The endpoint's refusals are typed, and the chain's next step spoke instead.
  EXPECT_GT(tallies["vlm"].failures["REFUSED"], 0);
  double dropped = 0;
  for (const MetricsRow& row : Rows()) {
    if (const auto at = row.values.find("train/episodes_dropped"); at != row.values.end()) dropped += at->second;
  }
  EXPECT_EQ(dropped, 0);
}

// A step with a change takes no longer than the slowest other one and one group's way through the worker; other work on
// the machine may slow any step down, twice is granted.
void TeachersTest::CheckPauses() {
  const std::vector<MetricsRow> rows = Rows();
  double quiet = 0, swapped = 0, group = 0;
  for (size_t i = 2; i < rows.size(); ++i) {  // the first ones wait for the run's start
    const double gap = rows[i].time - rows[i - 1].time;
    (rows[i].events.empty() ? quiet : swapped) = std::max(rows[i].events.empty() ? quiet : swapped, gap);
    double one = 0;
    for (const char* part : {"timing_s/generate", "timing_s/score", "timing_s/diagnose"}) {
      if (const auto at = rows[i].values.find(part); at != rows[i].values.end()) one += at->second;
    }
    group = std::max(group, one);
  }
  std::printf("slowest step %.2f s, with a swap %.2f s; a group takes up to %.2f s\n", quiet, swapped, group);
  EXPECT_LE(swapped, 2 * quiet + group);
}

void TeachersTest::CheckReport() {
  Command({"report", run().root()});
  SWERVE_ASSERT_OK_AND_ASSIGN(const std::string html, ReadFile(run().root() + "/report.html"));
  EXPECT_THAT(html, AllOf(HasSubstr("<h2>Teachers</h2>"), HasSubstr("vlm 100 %"), HasSubstr("rule 100 %"),
                          HasSubstr("class=\"event\"")));
  for (const char* name : {"oracle", "vlm", "rule"}) {
    EXPECT_THAT(html, AllOf(HasSubstr(absl::StrCat("<tr><td>", name, "</td>")),
                            HasSubstr(absl::StrCat(name, ": ΔPDMS of its refinements"))));
  }
}

// Every file that the run leaves, read as bytes: databases, checkpoints, logs, metrics, report, configuration.
void TeachersTest::CheckKey() {
  size_t files = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(root())) {
    if (!entry.is_regular_file()) continue;
    ++files;
    SWERVE_ASSERT_OK_AND_ASSIGN(const std::string bytes, ReadFile(entry.path()));
    EXPECT_EQ(bytes.find(kKey), std::string::npos) << entry.path();
  }
  EXPECT_GT(files, 20u);
}

TEST_F(TeachersTest, SwappedWhileItTrains) {
  ASSERT_EQ(setenv("SWERVE_TEST_TEACHER_KEY", kKey, 1), 0);
  // The endpoint says first what some say of a key they do not like.
  const FakeAnswer refusal = Errs(401, absl::StrCat("{\"error\":{\"message\":\"Incorrect API key provided: ", kKey, "\"}}"));
  server_.Script({refusal, refusal});
  Process train = Train(run(), root() + "/train.log",
                        {absl::StrCat("scenes.train=[", root(), "/scenes]"), absl::StrCat("policy.model=", Model()),
                         "learner.steps=100000", "learner.batch_groups=2", "learner.num_iterations=1",
                         "rollout.num_generations=3", "rollout.max_new_tokens=160", "rollout.groups_in_flight=2",
                         "rollout.success_threshold=0.99"},
                        /*resume=*/false);
  ASSERT_GE(Advance(3, &train), 0);
  Teachers({"add", "vlm", absl::StrCat("url=", server_.url()), "model=m", "key_env=SWERVE_TEST_TEACHER_KEY", "image_size=64",
            "price_in=1", "price_out=2", "fallback=[rule]"});
  Teachers({"remove", "oracle"});
  ASSERT_GE(Advance(4, &train), 0);
  Teachers({"list"});
  Teachers({"add", "rule", "kind=rule"});
  Teachers({"remove", "vlm"});
  ASSERT_GE(Advance(4, &train), 0);
  train.Signal(SIGINT);
  const auto end = Await(&train);
  ASSERT_TRUE(end) << "the drain hangs";
  ASSERT_FALSE(server_.asked().empty());
  EXPECT_EQ(server_.asked().back().authorization, absl::StrCat("Bearer ", kKey));
  CheckTelemetry();
  CheckPauses();
  CheckReport();
  CheckKey();
}

}  // namespace
}  // namespace swerve
