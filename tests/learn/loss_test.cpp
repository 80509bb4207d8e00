// The ATen loss against the plain double version (search/policy_loss.h), which golden cases pin.
#include "learn/loss.h"

#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "core/rng.h"
#include "search/policy_loss.h"

namespace deepsearch {
namespace {

TEST(Loss, ValueGradientAndFractionsAreThePlainVersions) {
  RandomStream random(5, RngPurpose::kTests, 2);
  for (int trial = 0; trial < 50; ++trial) {
    const int64_t n = random.between(1, 40);
    std::vector<double> now(static_cast<size_t>(n));
    std::vector<double> old(now.size());
    std::vector<double> advantages(now.size());
    const std::vector<uint8_t> mask(now.size(), 1);
    for (size_t i = 0; i < now.size(); ++i) {
      old[i] = -random.uniform() * 5;
      now[i] = old[i] + 2 * random.normal();  // wide: all clips occur
      advantages[i] = random.normal();
    }
    LearnParams params;
    params.dual_clip = 3.0;
    PolicyLossOptions options;
    options.dual_clip = 3.0;
    const PolicyLoss expected = policy_loss(
        {.rows = 1, .columns = n, .logp_new = now, .logp_old = old, .advantages = advantages, .mask = mask}, options);

    const auto tensor = [](const std::vector<double>& values) { return at::tensor(values, at::kDouble); };
    at::Tensor logprobs = tensor(now).requires_grad_(true);
    const TokenLoss found = clipped_policy_loss(logprobs, tensor(old), tensor(advantages), params);
    const at::Tensor loss = found.loss.sum() / (static_cast<double>(n) + 1e-8);
    loss.backward();
    EXPECT_NEAR(loss.item<double>(), expected.loss, 1e-9 * std::max(1.0, std::abs(expected.loss)));
    EXPECT_NEAR(found.clipped.to(at::kDouble).mean().item<double>(), expected.clip_fraction, 1e-6);
    EXPECT_NEAR(found.dual_clipped.to(at::kDouble).mean().item<double>(), expected.dual_clip_fraction, 1e-6);
    EXPECT_NEAR(-found.log_ratio.mean().item<double>(), expected.approx_kl, 1e-6);
    for (size_t i = 0; i < now.size(); ++i) {
      EXPECT_NEAR(logprobs.grad()[static_cast<int64_t>(i)].item<double>(), expected.grad_logp_new[i],
                  1e-9 * std::max(1.0, std::abs(expected.grad_logp_new[i])));
    }
  }
}

TEST(Loss, KlEstimateIsZeroOnlyForEqualPolicies) {
  const at::Tensor logprobs = at::tensor({-1.0, -2.0}, at::kDouble);
  EXPECT_EQ(kl_k3(logprobs, logprobs).sum().item<double>(), 0.0);
  EXPECT_GT(kl_k3(logprobs, logprobs + 0.1).min().item<double>(), 0.0);
  EXPECT_GT(kl_k3(logprobs, logprobs - 0.1).min().item<double>(), 0.0);
}

}  // namespace
}  // namespace deepsearch
