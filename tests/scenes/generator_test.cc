// The generator: same seed, same bytes; every scene can be driven well; rare families punish whoever just goes on.
#include "scenes/generator/generator.h"

#include <gtest/gtest.h>

#include "base/status_matchers.h"

namespace swerve::generator {
namespace {

TEST(Generator, SameSeedSameBytesOnAnyNumberOfThreads) {
  auto run = [](int threads, uint64_t seed) {
    std::vector<std::string> bytes;
    GenerateOptions options{.mix = Mix::kUniform, .count = 24, .seed = seed, .threads = threads};
    EXPECT_OK(GenerateAll(options, [&](Generated one) {
      bytes.push_back(one.scene.SerializeAsString());
      return absl::OkStatus();
    }));
    return bytes;
  };
  const auto one = run(1, 7), two = run(2, 7), other = run(2, 8);
  ASSERT_EQ(one.size(), 24u);
  EXPECT_EQ(one, two);
  for (size_t i = 0; i < one.size(); ++i) EXPECT_NE(one[i], other[i]);
}

TEST(Generator, GroundTruthIsGoodAndRareFamiliesAreHard) {
  ASSERT_GE(Families().size(), 12u);
  constexpr int kScenes = 16;
  double rare_fails = 0, common_fails = 0, rare = 0, common = 0;
  for (const Family& family : Families()) {
    SCOPED_TRACE(family.name);
    double gt = 0;
    int fails = 0;
    for (int i = 0; i < kScenes; ++i) {
      SWERVE_ASSERT_OK_AND_ASSIGN(Generated one, GenerateScene(family, 1234, i));
      EXPECT_EQ(one.scene.gt_size(), 8);
      EXPECT_GT(one.gt_pdms, 0);
      gt += one.gt_pdms;
      fails += std::min(one.naive_pdms, one.straight_pdms) <= 0;
    }
    EXPECT_GE(gt / kScenes, 0.9);
    if (family.rare) {
      EXPECT_GT(fails, kScenes / 2);
    }
    (family.rare ? rare_fails : common_fails) += fails;
    (family.rare ? rare : common) += kScenes;
  }
  EXPECT_GT(rare_fails / rare, 0.75);
}

TEST(Generator, MixesDifferInRareShare) {
  auto share = [](Mix mix) {
    int rare = 0;
    for (int i = 0; i < 2000; ++i) rare += FamilyAt(mix, 3, i).rare;
    return rare / 2000.0;
  };
  EXPECT_NEAR(share(Mix::kCommon), 0.12, 0.04);
  EXPECT_NEAR(share(Mix::kRl), 0.75, 0.04);
  EXPECT_THAT(ParseMix("odd"), StatusIs(absl::StatusCode::kInvalidArgument, ::testing::HasSubstr("common")));
}

}  // namespace
}  // namespace swerve::generator
