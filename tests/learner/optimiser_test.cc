#include <torch/torch.h>

#include "learner/optimiser.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/status_matchers.h"

namespace swerve {
namespace {

using torch::Tensor;

// A matrix, a bias and a frozen matrix.
std::shared_ptr<torch::nn::Module> MakeModule() {
  torch::manual_seed(1);
  auto module = std::make_shared<torch::nn::Module>("m");
  module->register_parameter("matrix", torch::randn({40, 17}));
  module->register_parameter("bias", torch::randn({17}));
  module->register_parameter("frozen", torch::randn({3, 3}), /*requires_grad=*/false);
  return module;
}

Tensor Of(const torch::nn::Module& module, const std::string& name) { return module.named_parameters()[name]; }

double Loss(const torch::nn::Module& module, int step) {
  torch::manual_seed(100 + step);
  const Tensor x = torch::randn({9, 40});
  const Tensor loss = (torch::matmul(x, Of(module, "matrix")) + Of(module, "bias")).square().sum();
  loss.backward();
  return loss.item<double>();
}

// Against LibTorch's own AdamW, whose order of operations differs: 1e-6 of the values.
TEST(Optimiser, StepsAsAdamWWithDecayOfMatricesAlone) {
  auto ours = MakeModule(), theirs = MakeModule();
  Optimiser optimiser(*ours, {.weight_decay = 0.3, .max_grad_norm = 0});
  auto options = [](double decay) {
    auto o = std::make_unique<torch::optim::AdamWOptions>(1e-2);
    o->betas({0.9, 0.95}).eps(1e-8).weight_decay(decay);
    return o;
  };
  torch::optim::AdamW reference(std::vector<torch::optim::OptimizerParamGroup>{
      {{Of(*theirs, "matrix")}, options(0.3)}, {{Of(*theirs, "bias")}, options(0.0)}});
  for (int step = 0; step < 6; ++step) {
    optimiser.ZeroGrad();
    reference.zero_grad();
    Loss(*ours, step);
    Loss(*theirs, step);
    const double norm = std::sqrt(Of(*ours, "matrix").grad().square().sum().item<double>() + Of(*ours, "bias").grad().square().sum().item<double>());
    EXPECT_NEAR(optimiser.Step(1e-2), norm, 1e-3 * norm);
    reference.step();
  }
  for (const char* name : {"matrix", "bias"}) EXPECT_TRUE(torch::allclose(Of(*ours, name), Of(*theirs, name), 1e-6, 1e-6)) << name;
  EXPECT_TRUE(torch::equal(Of(*ours, "frozen"), Of(*MakeModule(), "frozen")));
}

TEST(Optimiser, ClipsToTheNorm) {
  auto module = MakeModule();
  Optimiser optimiser(*module, {.max_grad_norm = 0.5});
  Loss(*module, 0);
  EXPECT_GT(optimiser.Step(1e-3), 0.5);
  EXPECT_NEAR(std::sqrt(Of(*module, "matrix").grad().square().sum().item<double>() + Of(*module, "bias").grad().square().sum().item<double>()), 0.5, 1e-4);
}

TEST(Optimiser, AGradientThatIsNotFiniteChangesNothing) {
  auto module = MakeModule();
  Optimiser optimiser(*module, {});
  Loss(*module, 0);
  Of(*module, "bias").mutable_grad()[3] = NAN;
  EXPECT_FALSE(std::isfinite(optimiser.Step(1e-2)));
  for (const auto& item : module->named_parameters()) EXPECT_TRUE(torch::equal(item.value(), Of(*MakeModule(), item.key()))) << item.key();
}

TEST(Optimiser, LoadedGoesOnWithTheSameBits) {
  const std::string file = testing::TempDir() + "/optimiser_test.safetensors";
  auto whole = MakeModule(), cut = MakeModule();
  Optimiser one(*whole, {}), two(*cut, {});
  for (int step = 0; step < 3; ++step) {
    one.ZeroGrad();
    two.ZeroGrad();
    Loss(*whole, step);
    Loss(*cut, step);
    one.Step(1e-2);
    two.Step(1e-2);
  }
  ASSERT_OK(two.Save(file));
  Optimiser three(*cut, {});
  ASSERT_OK(three.Load(file));
  for (int step = 3; step < 6; ++step) {
    one.ZeroGrad();
    three.ZeroGrad();
    Loss(*whole, step);
    Loss(*cut, step);
    one.Step(1e-2);
    three.Step(1e-2);
  }
  for (const auto& item : whole->named_parameters()) EXPECT_TRUE(torch::equal(item.value(), Of(*cut, item.key()))) << item.key();
  auto other = std::make_shared<torch::nn::Module>("m");
  other->register_parameter("matrix", torch::randn({40, 17}));
  Optimiser four(*other, {});
  EXPECT_FALSE(four.Load(file).ok());  // the bias's moments belong to nothing
}

}  // namespace
}  // namespace swerve
