// What training computes by the engine's kernels, against LibTorch's own operations: values within 1e-5 and gradients within
// 1e-4 of the largest (sums of a few hundred products in another order), and the same bits on any number of threads.
#include <torch/torch.h>

#include <gtest/gtest.h>

#include <functional>

#include "policy/kernels.h"
#include "policy/padded_indices.h"
#include "policy/torch_attention.h"
#include "policy/torch_decoder.h"
#include "policy/torch_fused.h"
#include "policy/torch_linear.h"

namespace swerve {
namespace {

using torch::Tensor;
using Inputs = std::vector<Tensor>;
using Operation = std::function<Tensor(const Inputs&)>;

// The result and the gradients of a weighted sum of it.
Inputs Traced(const Operation& operation, const Inputs& values) {
  Inputs leaves;
  for (const Tensor& v : values) leaves.push_back(v.detach().clone().requires_grad_(true));
  const Tensor out = operation(leaves);
  torch::manual_seed(7);
  out.backward(torch::randn_like(out));
  Inputs all = {out.detach()};
  for (const Tensor& leaf : leaves) all.push_back(leaf.grad());
  return all;
}

void ExpectSame(const Operation& ours, const Operation& theirs, const Inputs& values, bool same_bits = true) {
  const int before = at::get_num_threads();
  at::set_num_threads(1);
  const Inputs want = Traced(theirs, values), got = Traced(ours, values);
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i) {
    ASSERT_EQ(got[i].sizes(), want[i].sizes());
    EXPECT_LE((got[i] - want[i]).abs().max().item<double>(), (i == 0 ? 1e-5 : 1e-4) * std::max(1.0, want[i].abs().max().item<double>())) << "number " << i;
  }
  for (int threads : same_bits ? std::vector<int>{2, 5} : std::vector<int>{}) {
    at::set_num_threads(threads);
    const Inputs again = Traced(ours, values);
    for (size_t i = 0; i < got.size(); ++i) EXPECT_TRUE(torch::equal(again[i], got[i])) << "number " << i << " on " << threads << " threads";
  }
  at::set_num_threads(before);
}

struct Shape {
  int64_t m, k, n;
};
void PrintTo(const Shape& s, std::ostream* out) { *out << s.m << " x " << s.k << " x " << s.n; }

class Products : public testing::TestWithParam<Shape> {};

TEST_P(Products, AreThoseOfLibTorch) {
  const auto [m, k, n] = GetParam();
  torch::manual_seed(3);
  const bool kernels = m >= 16 && k % kernels::kLanes == 0 && n % kernels::kLanes == 0;  // LibTorch promises no bits
  const Inputs values = {torch::randn({m, k}), torch::randn({n, k}), torch::randn({n})};
  ExpectSame([](const Inputs& in) { return Linear(in[0], in[1], in[2]); }, [](const Inputs& in) { return torch::linear(in[0], in[1], in[2]); }, values, kernels);
  ExpectSame([](const Inputs& in) { return Linear(in[0], in[1]); }, [](const Inputs& in) { return torch::linear(in[0], in[1]); }, {values[0], values[1]}, kernels);
  const Tensor a = torch::randn({m, n});
  Tensor sum = torch::ones({n, k}), whole = torch::full({n, k}, 9.0);
  TransposedTimes(a, values[0], true, sum);
  TransposedTimes(a, values[0], false, whole);
  EXPECT_TRUE(torch::allclose(whole, torch::matmul(a.t(), values[0]), 1e-4, 1e-3));
  EXPECT_TRUE(torch::allclose(sum, whole + 1, 1e-4, 1e-3));
}

// Few rows and odd widths go to LibTorch; depths beyond what is packed at once, forward and back; more columns than a
// block has.
INSTANTIATE_TEST_SUITE_P(All, Products, testing::Values(Shape{1, 16, 16}, Shape{17, 16, 48}, Shape{100, 48, 7}, Shape{100, 7, 48}, Shape{333, 640, 272},
                                                        Shape{250, 1040, 64}, Shape{64, 32, 1040},
                                                        Shape{20, 16, 8208}, Shape{8208, 16, 16}));

TEST(Fused, NormsRotationsAndGatesAreThoseOfLibTorch) {
  torch::manual_seed(4);
  for (int64_t d : {16, 30, 128, 131}) {
    ExpectSame([](const Inputs& in) { return RmsNorm(in[0], in[1], 1e-6, torch::kFloat32); },
               [](const Inputs& in) { return in[0] * torch::rsqrt(in[0].square().mean(-1, true) + 1e-6) * in[1]; },
               {3 * torch::randn({300, d}), torch::randn({d})});
    ExpectSame([](const Inputs& in) { return Swiglu(in[0], in[1]); }, [](const Inputs& in) { return torch::silu(in[0]) * in[1]; },
               {10 * torch::randn({77, d}), torch::randn({77, d})});
    if (d % 2 != 0) continue;
    const Tensor angle = torch::randn({40, 1, d}), cos = angle.cos(), sin = angle.sin();
    ExpectSame([&](const Inputs& in) { return Rotate(in[0], cos, sin); },
               [&](const Inputs& in) { return in[0] * cos + torch::cat({-in[0].narrow(-1, d / 2, d / 2), in[0].narrow(-1, 0, d / 2)}, -1) * sin; },
               {torch::randn({40, 3, d})});
  }
}

// LibTorch's attention over the same sequences, padded and masked.
Tensor Padded(const PackedSequences& s, const Tensor& q, const Tensor& k, const Tensor& v) {
  Tensor out = torch::zeros_like(q);
  const int64_t g = q.size(1) / k.size(1);
  auto over = [&](int64_t token, const Inputs& keys, const Inputs& values) {
    const Tensor kk = torch::cat(keys).repeat_interleave(g, 1), vv = torch::cat(values).repeat_interleave(g, 1);
    const Tensor weights = torch::softmax(torch::einsum("hd,nhd->hn", {q[token], kk}) / std::sqrt(static_cast<double>(q.size(2))), -1);
    return torch::einsum("hn,nhd->hd", {weights, vv});
  };
  Inputs rows(q.size(0));
  for (const auto& group : s.groups) {
    for (int64_t t = 0; t < group.prompt.length; ++t) {
      rows[group.prompt.first + t] = over(group.prompt.first + t, {k.narrow(0, group.prompt.first, t + 1)}, {v.narrow(0, group.prompt.first, t + 1)});
    }
    for (const auto& answer : group.answers) {
      for (int64_t t = 0; t < answer.length; ++t) {
        rows[answer.first + t] = over(answer.first + t, {k.narrow(0, group.prompt.first, group.prompt.length), k.narrow(0, answer.first, t + 1)},
                                      {v.narrow(0, group.prompt.first, group.prompt.length), v.narrow(0, answer.first, t + 1)});
      }
    }
  }
  return torch::stack(rows).flatten(1);
}

// Prompts shorter and longer than a block of queries, answers of none and of more tokens than a block, one head and seven a key.
TEST(PackedAttention, IsWhatEachTokenSees) {
  torch::manual_seed(5);
  auto sequences = std::make_shared<PackedSequences>();
  sequences->groups = {{{0, 37}, {{160, 5}, {165, 0}, {165, 100}}}, {{37, 1}, {}}, {{38, 122}, {{265, 17}}}};
  for (auto [heads, kv, d] : {std::tuple{2, 2, 16}, {7, 1, 32}, {6, 3, 64}}) {
    ExpectSame([&](const Inputs& in) { return PackedAttention(in[0], in[1], in[2], sequences); },
               [&](const Inputs& in) { return Padded(*sequences, in[0], in[1], in[2]); },
               {torch::randn({282, heads, d}), torch::randn({282, kv, d}), torch::randn({282, kv, d})});
  }
}

// Scores in the hundreds: exp of them would overflow without the largest taken off.
TEST(PackedAttention, LargeScoresStayFinite) {
  torch::manual_seed(6);
  auto sequences = std::make_shared<PackedSequences>();
  sequences->groups = {{{0, 20}, {{20, 30}}}};
  const Inputs got = Traced([&](const Inputs& in) { return PackedAttention(in[0], in[1], in[2], sequences); },
                         {60 * torch::randn({50, 2, 16}), 60 * torch::randn({50, 1, 16}), torch::randn({50, 1, 16})});
  for (const Tensor& t : got) EXPECT_TRUE(torch::isfinite(t).all().item<bool>());
}

// What devices without these kernels use sees the same.
TEST(PaddedIndices, PutEveryTokenBackWhereItLies) {
  PackedSequences s;
  s.groups = {{{0, 3}, {{5, 2}, {9, 0}}}, {{3, 2}, {{7, 2}}}};
  const PaddedIndices p(s);
  EXPECT_EQ(p.prompt_pad, 3);
  EXPECT_EQ(p.response_pad, 2);
  std::vector<int64_t> packed;
  for (int64_t at : p.prompt_valid) packed.push_back(p.prompt_index[at]);
  for (int64_t at : p.response_valid) packed.push_back(p.response_index[at]);
  EXPECT_EQ(packed, (std::vector<int64_t>{0, 1, 2, 3, 4, 5, 6, 7, 8}));
  EXPECT_EQ(p.row_prompt_length, (std::vector<int64_t>{3, 2, 3}));
}

}  // namespace
}  // namespace swerve
