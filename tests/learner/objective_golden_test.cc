// Every golden case, at the tolerance of golden/README_objectives.md, whole and in micro-batches.
#include <gtest/gtest.h>

#include <cmath>

#include "base/files.h"
#include "base/status_matchers.h"
#include "learner/objective_json.h"

namespace swerve {
namespace {

using nlohmann::json;

json Load(const std::string& name) {
  auto text = ReadFile(std::string(SWERVE_SOURCE_DIR) + "/tests/golden/objectives/" + name);
  EXPECT_TRUE(text.ok()) << text.status();
  return json::parse(*text);
}

// Reports each place where `ours` is not `expected`; keys beyond the expected ones are allowed.
void ExpectSame(const json& expected, const json& ours, const std::string& path) {
  if (expected.is_object()) {
    for (const auto& [key, value] : expected.items()) {
      ASSERT_TRUE(ours.contains(key)) << path << "." << key;
      ExpectSame(value, ours[key], path + "." + key);
    }
  } else if (expected.is_array()) {
    ASSERT_EQ(expected.size(), ours.size()) << path;
    for (size_t i = 0; i < expected.size(); ++i) ExpectSame(expected[i], ours[i], absl::StrCat(path, "[", i, "]"));
  } else if (expected.is_number_float() || (expected.is_number() && ours.is_number_float())) {
    ASSERT_TRUE(ours.is_number()) << path << " is " << ours;
    const double want = expected.get<double>();
    EXPECT_LE(std::abs(ours.get<double>() - want), 1e-12 + 1e-9 * std::abs(want)) << path << ": " << ours << " for " << want;
  } else {
    EXPECT_EQ(expected, ours) << path;
  }
}

class Golden : public testing::TestWithParam<std::tuple<const char*, int>> {};

TEST_P(Golden, EveryCase) {
  const auto [name, micro_batch] = GetParam();
  const json file = Load(name);
  SWERVE_ASSERT_OK_AND_ASSIGN(const ObjectiveFileAnswer answer, AnswerObjectiveFile(file.dump(), micro_batch));
  EXPECT_EQ(answer.failed_cases, 0);
  const json ours = json::parse(answer.json)["cases"];
  ASSERT_EQ(ours.size(), file["cases"].size());
  for (size_t i = 0; i < ours.size(); ++i) {
    const json& c = file["cases"][i];
    ASSERT_EQ(ours[i]["id"], c["id"]);
    ASSERT_FALSE(ours[i].contains("error")) << ours[i];
    ExpectSame(c["expected"], ours[i], c["id"]);
  }
}

INSTANTIATE_TEST_SUITE_P(Files, Golden,
                         testing::Combine(testing::Values("rl_objectives_elf.json", "rl_objectives_profiles.json"),
                                          testing::Values(0, 1, 3)));

// The numbers of the upstream functions, nine decimals.
TEST(Upstream, SameLosses) {
  const json g = Load("rl_objectives.json");
  json base = {{"T", g["T"]}, {"group", g["group"]}, {"lens", g["lens"]}, {"rewards", g["rewards"]},
               {"lp", g["lp"]}, {"old_lp", g["old_lp"]}, {"ref_lp", g["lp"]}};
  for (size_t i = 0; i < base["ref_lp"].size(); ++i) {
    for (size_t t = 0; t < base["ref_lp"][i].size(); ++t) {
      base["ref_lp"][i][t] = g["lp"][i][t].get<double>() - 0.1 * static_cast<double>((i + t) % 3);
    }
  }
  auto loss = [&](const char* profile, json config, bool guided) {
    json c = base;
    c["id"] = "case";
    c["profile"] = profile;
    c["config"] = std::move(config);
    if (guided) c["off_policy_rows"] = g["off_policy_rows"];
    auto parsed = ParseObjectiveCase(c);
    EXPECT_TRUE(parsed.ok()) << parsed.status();
    auto answer = ComputeObjectiveCase(*parsed, 0);
    EXPECT_TRUE(answer.ok()) << answer.status();
    return (*answer)["loss"].get<double>();
  };
  const json& luffy = g["luffy_adv_mean_only"];
  EXPECT_NEAR(loss("luffy", json::object(), true), luffy["shipped_shape0.1_noclip_divT"]["pg_loss"], 1e-9);
  EXPECT_NEAR(loss("luffy", {{"epsilon", 0.2}}, true), luffy["shape0.1_clip0.2_divT"]["pg_loss"], 1e-9);
  EXPECT_NEAR(loss("luffy_paper", {{"scale_rewards", "none"}}, true), luffy["shape0.1_clip0.2_tokenmean"]["pg_loss"], 1e-9);
  const json range = {{"epsilon", 0.2}, {"epsilon_high", 0.28}};
  const json& verl = g["verl_adv_std1e-6_eps_0.2_0.28_c3"];
  EXPECT_NEAR(loss("dapo_verl", json::object(), false), verl["token-mean"], 1e-9);
  EXPECT_NEAR(loss("grpo_verl", {{"epsilon_high", 0.28}, {"beta", 0}}, false), verl["seq-mean-token-mean"], 1e-9);
  const json& trl = g["trl_adv_eps1e-4_eps_0.2_0.28"];
  EXPECT_NEAR(loss("grpo_trl", range, false), trl["grpo"], 1e-9);
  EXPECT_NEAR(loss("dapo_trl", range, false), trl["dapo"], 1e-9);
  EXPECT_NEAR(loss("dr_grpo_trl", range, false), trl["dr_grpo(max_completion_length=5)"], 1e-9);
  json with_kl = range;
  with_kl["beta"] = 0.04;
  EXPECT_NEAR(loss("grpo_trl", with_kl, false), trl["beta_0.04"]["grpo"], 1e-9);
  EXPECT_NEAR(loss("dr_grpo_trl", with_kl, false), trl["beta_0.04"]["dr_grpo"], 1e-9);
  json capped = range;
  capped["delta"] = 1.05;
  EXPECT_NEAR(loss("grpo_trl", capped, false), trl["grpo_delta_1.05"], 1e-9);
}

}  // namespace
}  // namespace swerve
