#include "base/config.h"

#include <google/protobuf/util/message_differencer.h>
#include <yaml-cpp/yaml.h>

#include <set>

#include "base/files.h"
#include "base/status_matchers.h"

namespace swerve {
namespace {

using google::protobuf::util::MessageDifferencer;
using testing::AllOf;
using testing::HasSubstr;

TEST(ConfigTest, DefaultsComeFromTheProto) {
  SWERVE_ASSERT_OK_AND_ASSIGN(const v1::RunConfig config, LoadRunConfig(""));
  EXPECT_EQ(config.rollout().num_generations(), 8);
  EXPECT_DOUBLE_EQ(config.rollout().temperature(), 1.2);
  EXPECT_FALSE(config.learner().has_epsilon_high());
  EXPECT_THAT(config.reward().reward_weights(), testing::ElementsAre(1, 1, 1));
}

TEST(ConfigTest, FileThenOverridesInOrder) {
  SWERVE_ASSERT_OK_AND_ASSIGN(
      const v1::RunConfig config,
      ParseRunConfig("seed: 7\nlearner:\n  steps: 5\n  epsilon_high: 0.28\nscenes:\n  train: [a, b]\n", "f.yaml",
                     {"learner.steps=20", "learner.steps=21", "learner.epsilon_high=~", "scenes.curated=",
                      "reward.reward_weights=[1, 0.5, 0]", "learner.shaping=false", "teacher.kind=rule"}));
  EXPECT_EQ(config.seed(), 7u);
  EXPECT_EQ(config.learner().steps(), 21);
  EXPECT_FALSE(config.learner().has_epsilon_high());
  EXPECT_FALSE(config.learner().shaping());
  EXPECT_THAT(config.scenes().train(), testing::ElementsAre("a", "b"));
  EXPECT_THAT(config.reward().reward_weights(), testing::ElementsAre(1, 0.5, 0));
  EXPECT_EQ(config.teacher().kind(), "rule");
  SWERVE_ASSERT_OK_AND_ASSIGN(const v1::RunConfig one, LoadRunConfig("", {"scenes.train=dir"}));
  EXPECT_THAT(one.scenes().train(), testing::ElementsAre("dir"));
}

TEST(ConfigTest, UnknownFieldIsRefusedWithPathLineAndNearestName) {
  EXPECT_THAT(ParseRunConfig("seed: 1\nlearner:\n  learnin_rate: 1e-6\n", "f.yaml"),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("f.yaml:3"), HasSubstr("'learner.learnin_rate'"),
                             HasSubstr("did you mean 'learner.learning_rate'"))));
  // Right name in the wrong section.
  EXPECT_THAT(ParseRunConfig("temperature: 1.0\n", "f.yaml"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("did you mean 'rollout.temperature'")));
  EXPECT_THAT(ParseRunConfig("lerner: {}\n", "f.yaml"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("did you mean 'learner'")));
  EXPECT_THAT(LoadRunConfig("", {"rollout.worker=2"}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("did you mean 'rollout.workers'")));
  EXPECT_THAT(LoadRunConfig("", {"seed.x=2"}), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("'seed.x'")));
}

TEST(ConfigTest, IllTypedValuesAreRefused) {
  const auto refused = [](const std::string& yaml, const std::string& part) {
    EXPECT_THAT(ParseRunConfig(yaml, "f.yaml"), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(part))) << yaml;
  };
  refused("learner: {steps: many}", "'learner.steps' must be an integer, not 'many'");
  refused("learner: {steps: 2.5}", "'learner.steps' must be an integer");
  refused("learner: {steps: }", "'learner.steps' must be given a value");
  refused("learner: {shaping: yes}", "'learner.shaping' must be true or false");
  refused("learner: {gamma: .inf}", "'learner.gamma' must be a finite number");
  refused("learner: {gamma: [1]}", "'learner.gamma' must be a finite number, not a list");
  refused("learner: 3", "'learner' must be a mapping");
  refused("seed: -1", "'seed' must be an integer of 0 or more");
  refused("scenes: {train: {a: 1}}", "'scenes.train' must be a list");
  refused("seed: 1\nseed: 2", "'seed' is given twice");
  refused("- 1\n- 2", "(the whole file)");
  refused("a: [", "not YAML");
  EXPECT_THAT(LoadRunConfig("", {"steps"}), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("key=value")));
  EXPECT_THAT(LoadRunConfig("/no/such.yaml"), StatusIs(absl::StatusCode::kNotFound, HasSubstr("/no/such.yaml")));
}

TEST(ConfigTest, RangesAndNames) {
  const auto refused = [](const std::string& set, const std::string& part) {
    EXPECT_THAT(LoadRunConfig("", {set}), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(part))) << set;
  };
  refused("rollout.num_generations=1", "'rollout.num_generations' is 1 but must be at least 2");
  refused("rollout.temperature=0", "must be more than 0");
  refused("learner.epsilon_high=0", "must be more than 0");
  refused("teacher.kind=human", "must be one of: oracle, rule, ground_truth, none");
  refused("policy.codec=xy", "must be one of: pose3_text, xy_text, xy_parenthesised, json_traj, codebook, speed_curvature");
  refused("policy.codec=codebook", "'policy.codebook' is empty");
  refused("policy.codebook=book.safetensors", "of the codec codebook alone");
  refused("policy.device=gpu", "cpu or cuda:N");
  refused("reward.reward_weights=[1]", "needs 3");
  refused("rollout.k=9", "larger than rollout.num_generations");
  refused("buffers.url=mysql://h:1", "'buffers.url'");
  refused("buffers.url=redis://h:0", "port");
  refused("buffers.url=rediss://h", "stunnel");
  refused("telemetry.listen=0.0.0.0", "swerve certs init DIR");
  refused("telemetry.listen=10.1.2.3", "--insecure");
  refused("limits.max_streams=0", "at least 1");
}

TEST(ConfigTest, EnginesAndTheirServersGoTogether) {
  const std::vector<std::string> good = {"rollout.engine=sglang", "rollout.servers.urls=[\"http://a:1\", \"http://b:1\"]", "rollout.workers=2"};
  EXPECT_OK(LoadRunConfig("", good));
  const auto refused = [&](const std::string& set, const std::string& part) {
    std::vector<std::string> sets = good;
    sets.push_back(set);
    EXPECT_THAT(LoadRunConfig("", sets), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(part))) << set;
  };
  refused("rollout.engine=tgi", "must be one of: local, sglang, vllm");
  refused("rollout.engine=local", "rollout.engine is local");
  refused("rollout.workers=3", "each worker needs one of its own");
  refused("rollout.servers.urls=[\"a:1\", \"http://b:1\"]", "no http:// or https:// url");
  refused("rollout.servers.deadline_seconds=120", "less than rollout.lease_seconds");
  refused("rollout.servers.path_here=/a", "go together");
  refused("rollout.servers.concurrency=0", "at least 1");
  refused("rollout.stream_weights=true", "needs rollout.engine local");
  refused("deterministic=true", "do not promise the same bytes");
}

TEST(ConfigTest, OutsideLoopbackNeedsCertificatesOrConsent) {
  EXPECT_OK(LoadRunConfig("", {"telemetry.listen=127.0.0.2"}));
  EXPECT_OK(LoadRunConfig("", {"telemetry.listen=0.0.0.0", "security.insecure=true"}));
  EXPECT_OK(LoadRunConfig("", {"telemetry.listen=0.0.0.0", "security.certs=dir"}));
}

// Every table row of the rules names a field that exists and every default passes.
TEST(ConfigTest, DefaultsAreValid) { EXPECT_OK(ValidateRunConfig(v1::RunConfig())); }

TEST(ConfigTest, ToYamlHasEveryFieldAndReadsBack) {
  SWERVE_ASSERT_OK_AND_ASSIGN(
      const v1::RunConfig config,
      LoadRunConfig("", {"learner.learning_rate=0.0000123", "scenes.train=['a b', 'c: d', '3']", "scenes.curated=~x",
                         "seed=18446744073709551615", "policy.model=true"}));
  SWERVE_ASSERT_OK_AND_ASSIGN(const v1::RunConfig back, ParseRunConfig(ToYaml(config), "again"));
  EXPECT_EQ(ToYaml(back), ToYaml(config));
  EXPECT_EQ(back.policy().model(), "true");
  EXPECT_EQ(back.scenes().train(1), "c: d");
  EXPECT_DOUBLE_EQ(back.learner().learning_rate(), 0.0000123);
}

TEST(ConfigTest, BuffersMayBeGivenAsTheirUrlAlone) {
  SWERVE_ASSERT_OK_AND_ASSIGN(const v1::RunConfig set, LoadRunConfig("", {"buffers=redis://h:1/2"}));
  EXPECT_EQ(set.buffers().url(), "redis://h:1/2");
  SWERVE_ASSERT_OK_AND_ASSIGN(const v1::RunConfig file, ParseRunConfig("buffers: unix:///run/r.sock\n", "f.yaml"));
  EXPECT_EQ(file.buffers().url(), "unix:///run/r.sock");
  EXPECT_THAT(LoadRunConfig("", {"learner=3"}), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("mapping")));
}

TEST(ConfigTest, ThePasswordOfAUrlIsNeverWritten) {
  SWERVE_ASSERT_OK_AND_ASSIGN(const v1::RunConfig config, LoadRunConfig("", {"buffers=redis://me:hush@h:1/2"}));
  EXPECT_EQ(config.buffers().url(), "redis://me:hush@h:1/2");
  EXPECT_THAT(ToYaml(config), AllOf(HasSubstr("redis://me@h:1/2"), testing::Not(HasSubstr("hush"))));
  for (const std::string bad :
       {"buffers=redis://me:hush@h:x", "bufers=redis://me:hush@h", "redis://me:hush@h", "buffers.url=redis:/me:hush@h",
        "buffers=reddis://me:hush@h", "learner.steps=redis://me:hush@h", "buffers=redis://me:hu/hush@h",
        "buffers.url.x=redis://me:hush@h", "buffers=redis://me:hu%hush@h", "buffers=[redis://me:hush@h"}) {
    const absl::Status status = LoadRunConfig("", {bad}).status();
    EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument, testing::Not(HasSubstr("hush")))) << bad;
  }
  EXPECT_THAT(ParseRunConfig("learner: redis://me:hush@h\nbuffers: [redis://me:hush@h]\n", "f.yaml"),
              StatusIs(absl::StatusCode::kInvalidArgument, testing::Not(HasSubstr("hush"))));
}

void Leaves(const YAML::Node& node, const std::string& path, std::set<std::string>* out) {
  if (!node.IsMap()) {
    out->insert(path);
    return;
  }
  for (const auto& entry : node) {
    const std::string name = entry.first.as<std::string>();
    Leaves(entry.second, path.empty() ? name : path + "." + name, out);
  }
}

// The documented file shows every field, each at its default, each with a comment.
TEST(ConfigTest, DocumentedYamlListsEveryFieldAtItsDefault) {
  const std::string file = std::string(SWERVE_SOURCE_DIR) + "/deploy/swerve.yaml";
  std::set<std::string> listed;
  Leaves(YAML::LoadFile(file), "", &listed);
  const std::vector<std::string> paths = ConfigPaths();
  EXPECT_EQ(listed, std::set<std::string>(paths.begin(), paths.end()));
  SWERVE_ASSERT_OK_AND_ASSIGN(const v1::RunConfig documented, LoadRunConfig(file));
  SWERVE_ASSERT_OK_AND_ASSIGN(const v1::RunConfig defaults, LoadRunConfig(""));
  EXPECT_EQ(ToYaml(documented), ToYaml(defaults));
  SWERVE_ASSERT_OK_AND_ASSIGN(const std::string text, ReadFile(file));
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.empty() || line[0] == '#' || line.back() == ':') continue;
    EXPECT_THAT(line, HasSubstr("#")) << "field without a comment";
  }
}

}  // namespace
}  // namespace swerve
