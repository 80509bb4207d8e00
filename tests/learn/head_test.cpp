#include "learn/head.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

namespace deepsearch {
namespace {

struct Case {
  at::ScalarType type;
  double temperature;
  int64_t chunk_values;
  bool entropy;  // the loss depends on the entropies too
  double tolerance;
};

class Head : public ::testing::TestWithParam<Case> {};

// Outputs 1 and 4 have no target, 2 has three.
const std::vector<int64_t> kOutputs = {0, 2, 2, 2, 3, 5, 6, 6};
const std::vector<int64_t> kTokens = {4, 0, 3, 3, 36, 20, 1, 2};

HeadInputs make_inputs(const Case& c) {
  at::manual_seed(3);
  HeadInputs inputs;
  inputs.hidden = at::randn({7, 12}, c.type);
  inputs.weight = at::randn({37, 12}, c.type);
  inputs.target_outputs = at::tensor(kOutputs, at::kLong);
  inputs.target_tokens = at::tensor(kTokens, at::kLong);
  inputs.temperature = c.temperature;
  inputs.chunk_values = c.chunk_values;
  return inputs;
}

TEST_P(Head, IsLogSoftmaxAndItsGradient) {
  const Case& c = GetParam();
  const HeadInputs inputs = make_inputs(c);
  // In double by autograd, from the values as the type holds them.
  const at::Tensor hidden = inputs.hidden.to(at::kDouble).clone().requires_grad_(true);
  const at::Tensor weight = inputs.weight.to(at::kDouble).clone().requires_grad_(true);
  const at::Tensor log_p = at::log_softmax(at::mm(hidden, weight.t()) / c.temperature, 1);
  const at::Tensor logprobs = log_p.index({inputs.target_outputs, inputs.target_tokens});
  const at::Tensor entropies = -(log_p.exp() * log_p).sum(1);
  const at::Tensor slopes = at::tensor({0.5, -1.0, 2.0, 0.25, 0.0, 3.0, -0.5, 1.0}, at::kDouble);
  const at::Tensor entropy_slopes = at::tensor({0.1, 0.0, -0.3, 0.7, 0.2, 0.0, 1.0}, at::kDouble);
  at::Tensor loss = (logprobs * slopes).sum();
  if (c.entropy) loss = loss + (entropies * entropy_slopes).sum();
  loss.backward();

  const HeadValues values = head_values(inputs);
  EXPECT_LT((values.logprobs - logprobs).abs().max().item<double>(), c.tolerance);
  EXPECT_LT((values.entropies - entropies).abs().max().item<double>(), c.tolerance);

  const at::Tensor start = at::full_like(inputs.weight, 0.125);  // backward adds
  inputs.weight.mutable_grad() = start.clone();
  int64_t next_target = 0;
  int64_t next_output = 0;
  const at::Tensor gradient =
      head_backward(inputs, [&](int64_t first, int64_t last, int64_t first_output, const HeadValues& chunk) {
        EXPECT_EQ(first, next_target);
        EXPECT_EQ(first_output, next_output);
        next_target = last;
        next_output += chunk.entropies.size(0);
        HeadGradients gradients;
        gradients.logprobs = slopes.narrow(0, first, last - first).to(chunk.logprobs.scalar_type());
        if (c.entropy) {
          gradients.entropies =
              entropy_slopes.narrow(0, first_output, chunk.entropies.size(0)).to(chunk.logprobs.scalar_type());
        }
        return gradients;
      });
  EXPECT_EQ(next_target, 8);
  EXPECT_EQ(next_output, 7);
  EXPECT_LT((gradient - hidden.grad()).abs().max().item<double>(), 20 * c.tolerance);
  EXPECT_LT((inputs.weight.grad() - start - weight.grad()).abs().max().item<double>(), 20 * c.tolerance);
}

// fp32: sums of a few dozen numbers of size 10; bf16: 8 bits of the products' operands and of the gradients.
INSTANTIATE_TEST_SUITE_P(All, Head,
                         ::testing::Values(Case{at::kDouble, 1.0, 0, false, 1e-12},
                                           Case{at::kDouble, 0.7, 80, true, 1e-12},
                                           Case{at::kFloat, 1.0, 0, false, 5e-6}, Case{at::kFloat, 1.0, 40, true, 5e-6},
                                           Case{at::kFloat, 0.7, 111, false, 5e-6},
                                           Case{at::kFloat, 2.0, 75, true, 5e-6},
                                           Case{at::kBFloat16, 1.0, 75, true, 5e-2}));

TEST(HeadChunks, AreTheSameBitsOnSeveralThreads) {
  const HeadInputs inputs = make_inputs({at::kFloat, 0.9, 75, false, 0});
  std::vector<at::Tensor> seen;
  for (const int threads : {1, 3}) {
    at::set_num_threads(threads);
    seen.push_back(head_values(inputs).logprobs);
  }
  at::set_num_threads(1);
  EXPECT_TRUE(at::equal(seen[0], seen[1]));
}

TEST(HeadChunks, NothingIsDefined) {
  HeadInputs inputs = make_inputs({at::kFloat, 1, 0, false, 0});
  inputs.hidden = inputs.hidden.narrow(0, 0, 0);
  inputs.target_outputs = inputs.target_outputs.narrow(0, 0, 0);
  inputs.target_tokens = inputs.target_tokens.narrow(0, 0, 0);
  EXPECT_EQ(head_values(inputs).logprobs.numel(), 0);
}

}  // namespace
}  // namespace deepsearch
