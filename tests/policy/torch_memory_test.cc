#include "policy/torch_memory.h"

#include <c10/core/CPUAllocator.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <torch/torch.h>

#include <cstdint>
#include <thread>
#include <vector>

namespace swerve {
namespace {

int64_t PageFaults() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_minflt;
}

// As a step of training does: several large tensors at once, gone at its end.
void Step() {
  std::vector<torch::Tensor> held;
  for (int i = 1; i <= 8; ++i) held.push_back(torch::full({i, 256, 1024}, 1.0f));
}

TEST(TorchMemory, WhatIsFreedIsKept) {
  KeepTorchMemory();
  for (int i = 0; i < 3; ++i) Step();
  const int64_t before = PageFaults();
  for (int i = 0; i < 10; ++i) Step();
  // 36 MiB a step; by itself glibc faults 2,048 times in these ten.
  EXPECT_LT(PageFaults() - before, 100);
}

TEST(TorchMemory, TensorsAreLibTorchsInEveryOtherWay) {
  const torch::Tensor earlier = torch::arange(1 << 20);
  KeepTorchMemory();
  KeepTorchMemory();
  EXPECT_EQ(torch::empty({0}).numel(), 0);
  for (const int64_t n : {1, 100, 300'000, 3'000'000, 12'000'000}) {
    const torch::Tensor x = torch::arange(n);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(x.data_ptr()) % 64, 0u) << n;
    EXPECT_TRUE(torch::equal(x.clone(), x));
    torch::Tensor grown = x.clone();
    grown.resize_({2 * n});
    EXPECT_TRUE(torch::equal(grown.narrow(0, 0, n), x)) << n;
  }
  EXPECT_EQ(earlier[-1].item<int64_t>(), (1 << 20) - 1);
}

TEST(TorchMemory, WhatCannotBeHadIsLibTorchsError) {
  KeepTorchMemory();
  EXPECT_THROW(torch::empty({int64_t{1} << 50}), c10::Error);
  EXPECT_THROW(c10::GetCPUAllocator()->allocate(SIZE_MAX), c10::Error);
}

TEST(TorchMemory, ThreadsFreeWhatOthersTook) {
  KeepTorchMemory();
  for (int i = 0; i < 20; ++i) {
    torch::Tensor x = torch::full({700, 1000}, i);
    std::thread([y = std::move(x), i]() mutable {
      EXPECT_EQ(y.min().item<int>(), i);
      EXPECT_EQ(y.max().item<int>(), i);
      y.reset();
    }).join();
  }
}

}  // namespace
}  // namespace swerve
