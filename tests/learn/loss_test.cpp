// The ATen loss against the plain double version (search/policy_loss.h), which golden cases pin; and that one's terms
// beyond the golden cases through autograd.
#include "learn/loss.h"

#include <cmath>
#include <limits>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "core/rng.h"
#include "search/policy_loss.h"

namespace deepsearch {
namespace {

constexpr double kExact = 1e-9;

at::Tensor tensor(const std::vector<double>& values) {
  return at::tensor(values, at::kDouble);
}

struct Case {
  std::vector<double> now, old, recomputed, reference, entropies, advantages;
  std::vector<uint8_t> mask;
  LearnParams params;
  PolicyLossOptions options;
};

// Wide enough that all clips, both ends of the importance range and all signs occur.
Case random_case(uint64_t seed) {
  RandomStream random(seed, RngPurpose::kTests, 2);
  Case made;
  const auto n = static_cast<size_t>(random.between(1, 40));
  for (size_t i = 0; i < n; ++i) {
    made.old.push_back(-random.uniform() * 5);
    made.recomputed.push_back(made.old.back() + 0.7 * random.normal());
    made.now.push_back(made.old.back() + 2 * random.normal());
    made.reference.push_back(made.old.back() + random.normal());
    made.entropies.push_back(3 * random.uniform());
    made.advantages.push_back(random.below(5) == 0 ? 0 : random.normal());
  }
  made.mask.assign(n, 1);
  const auto importance = random.below(3);
  const auto kl = random.below(3);
  made.params.importance = static_cast<Importance>(importance);
  made.options.importance = static_cast<ImportanceKind>(importance);
  made.params.kl_estimator = static_cast<KlEstimator>(kl);
  made.options.kl = static_cast<KlKind>(kl);
  made.params.dual_clip = made.options.dual_clip = random.below(3) == 0 ? 0 : 3;
  made.params.kl_coef = made.options.kl_coef = random.below(3) == 0 ? 0 : 0.3;
  made.params.entropy_coef = made.options.entropy_coef = random.below(3) == 0 ? 0 : 0.1;
  if (importance == 0 && random.below(2) == 0) made.recomputed.clear();  // the engine's log-probs are π_behaviour
  return made;
}

PolicyLoss expected_of(const Case& made) {
  return policy_loss({.rows = 1,
                      .columns = static_cast<int64_t>(made.now.size()),
                      .logp_new = made.now,
                      .logp_old = made.old,
                      .advantages = made.advantages,
                      .mask = made.mask,
                      .logp_recomputed = made.recomputed,
                      .logp_reference = made.reference,
                      .entropies = made.entropies},
                     made.options);
}

LossInputs inputs_of(const Case& made, at::ScalarType type) {
  const auto in = [&](const std::vector<double>& values) { return tensor(values).to(type); };
  LossInputs inputs;
  inputs.logprobs = in(made.now).requires_grad_(true);
  inputs.entropies = in(made.entropies).requires_grad_(true);
  inputs.engine = in(made.old);
  if (!made.recomputed.empty()) inputs.recomputed = in(made.recomputed);
  inputs.reference = in(made.reference);
  inputs.advantages = in(made.advantages);
  return inputs;
}

void expect_near(const std::vector<double>& expected, const at::Tensor& found, double tolerance) {
  ASSERT_EQ(static_cast<int64_t>(expected.size()), found.numel());
  const at::Tensor values = found.to(at::kDouble);
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_NEAR(values[static_cast<int64_t>(i)].item<double>(), expected[i],
                tolerance * std::max(1.0, std::abs(expected[i])));
  }
}

double mean_of(const at::Tensor& values) {
  return values.to(at::kDouble).mean().item<double>();
}

// The gradient that autograd left, or zeros where nothing depends on the input.
at::Tensor grad_of(const at::Tensor& input) {
  return input.grad().defined() ? input.grad() : at::zeros_like(input);
}

void compare(const Case& made, at::ScalarType type, double tolerance) {
  const PolicyLoss expected = expected_of(made);
  const LossInputs inputs = inputs_of(made, type);
  const TermLoss found = term_losses(inputs, made.params);
  const at::Tensor loss = found.loss.sum() / (static_cast<double>(made.now.size()) + 1e-8);
  loss.backward();
  EXPECT_EQ(type, found.loss.scalar_type());
  EXPECT_NEAR(loss.item<double>(), expected.loss, tolerance * std::max(1.0, std::abs(expected.loss)));
  EXPECT_NEAR(mean_of(found.clipped_low.logical_or(found.clipped_high)), expected.clip_fraction, 1e-6);
  EXPECT_FALSE(found.clipped_low.logical_and(found.clipped_high).any().item<bool>());
  EXPECT_FALSE(found.clipped_low.logical_and(inputs.advantages.ge(0)).any().item<bool>());
  EXPECT_NEAR(mean_of(found.dual_clipped), expected.dual_clip_fraction, 1e-6);
  EXPECT_NEAR(-mean_of(found.log_ratio), expected.approx_kl, 1e-6);
  if (made.params.kl_coef != 0) {
    EXPECT_NEAR(mean_of(found.kl), expected.kl, std::max(tolerance, 1e-7) * (1 + std::abs(expected.kl)));
  }
  expect_near(expected.grad_logp_new, grad_of(inputs.logprobs), tolerance);
  expect_near(expected.grad_entropies, grad_of(inputs.entropies), tolerance);
}

TEST(Loss, ValueGradientAndFractionsAreThePlainVersions) {
  for (uint64_t seed = 0; seed < 300; ++seed) {
    SCOPED_TRACE(seed);
    compare(random_case(seed), at::kDouble, kExact);
    compare(random_case(seed), at::kFloat, 2e-4);  // e^6 in the ratio
  }
}

TEST(Loss, EveryTermIsAddedByItsWeight) {
  Case made = random_case(4);
  made.recomputed = made.old;
  for (double& value : made.recomputed) value += 0.1;
  made.params.importance = Importance::kTruncate;
  made.params.importance_cap = 1.05;
  made.params.kl_coef = 0.5;
  made.params.entropy_coef = 0.25;
  const LossInputs inputs = inputs_of(made, at::kDouble);
  const TermLoss found = term_losses(inputs, made.params);
  EXPECT_TRUE(found.loss.allclose(found.policy + 0.5 * found.kl - 0.25 * inputs.entropies, 1e-12, 1e-12));
  EXPECT_TRUE(found.importance.eq(1.05).all().item<bool>());
  LearnParams plain = made.params;
  plain.importance = Importance::kNone;
  EXPECT_TRUE(found.policy.allclose(1.05 * term_losses(inputs, plain).policy, 1e-12, 1e-12));
  for (const at::Tensor& detached : {found.policy, found.kl, found.log_ratio, found.importance}) {
    EXPECT_FALSE(detached.requires_grad());
  }
}

TEST(Loss, ImportanceWeights) {
  LossInputs inputs;
  inputs.engine = tensor({-1, -1, -1, -1, -1});
  inputs.recomputed = inputs.engine + tensor({std::log(4.0), std::log(2.0) - 1e-12, 0, -std::log(4.0), -800});
  inputs.logprobs = inputs.recomputed.clone();
  inputs.advantages = at::ones({5}, at::kDouble);
  LearnParams params;
  params.importance = Importance::kTruncate;
  expect_near({2, 2, 1, 0.25, std::exp(-20.0)}, term_losses(inputs, params).importance, 1e-9);
  params.importance = Importance::kMask;
  expect_near({0, 2, 1, 0, 0}, term_losses(inputs, params).importance, 1e-9);
  expect_near({0, -2, -1, 0, 0}, term_losses(inputs, params).policy, 1e-9);
  params.importance = Importance::kNone;
  EXPECT_FALSE(term_losses(inputs, params).importance.defined());
}

TEST(Loss, WhatATermIsComputedFromMustBeThere) {
  LossInputs inputs;
  inputs.logprobs = inputs.engine = inputs.advantages = at::zeros({2}, at::kDouble);
  LearnParams params;
  EXPECT_NO_THROW(term_losses(inputs, params));
  params.importance = Importance::kMask;
  EXPECT_THROW(term_losses(inputs, params), Error);
  params = {};
  params.kl_coef = 0.1;
  EXPECT_THROW(term_losses(inputs, params), Error);
  params = {};
  params.entropy_coef = 0.1;
  EXPECT_THROW(term_losses(inputs, params), Error);
}

LearnParams everything_on() {
  LearnParams params;
  params.importance = Importance::kTruncate;
  params.kl_coef = 0.1;
  params.entropy_coef = 0.1;
  return params;
}

TEST(Loss, NoTermsAreALossOfZero) {
  for (const KlEstimator estimator : {KlEstimator::kK1, KlEstimator::kK2, KlEstimator::kK3}) {
    LearnParams params = everything_on();
    params.kl_estimator = estimator;
    Case made;
    LossInputs inputs = inputs_of(made, at::kDouble);
    inputs.recomputed = inputs.engine;
    const TermLoss found = term_losses(inputs, params);
    EXPECT_EQ(0, found.loss.numel());
    found.loss.sum().backward();
    EXPECT_EQ(0.0, found.loss.sum().item<double>());
    EXPECT_EQ(0, found.clipped_low.numel() + found.clipped_high.numel() + found.dual_clipped.numel());
  }
}

TEST(Loss, ExtremesStayFiniteInValueAndGradient) {
  // Log-ratios to ±20 and far beyond, and the lowest numbers there are.
  const double lowest = std::numeric_limits<float>::lowest() / 4;
  for (const at::ScalarType type : {at::kDouble, at::kFloat}) {
    for (const double advantage : {-1.0, 0.0, 1.0, -1e4, 1e4}) {
      for (const KlEstimator estimator : {KlEstimator::kK1, KlEstimator::kK2, KlEstimator::kK3}) {
        LearnParams params = everything_on();
        params.kl_estimator = estimator;
        params.dual_clip = advantage < -1 ? 0 : 10;
        Case made;
        const bool square = estimator == KlEstimator::kK2;  // of the lowest float is no float
        for (const double gap : {-20.0, 20.0, -800.0, 800.0, -1e9, square ? 1e9 : lowest, 0.0}) {
          made.now.push_back(std::min(0.0, gap));
          made.old.push_back(std::min(0.0, -gap));
        }
        made.advantages.assign(made.now.size(), advantage);
        made.entropies.assign(made.now.size(), 0);
        made.recomputed = made.reference = made.old;
        const LossInputs inputs = inputs_of(made, type);
        const TermLoss found = term_losses(inputs, params);
        found.loss.sum().backward();
        EXPECT_TRUE(found.loss.isfinite().all().item<bool>());
        EXPECT_TRUE(inputs.logprobs.grad().isfinite().all().item<bool>());
        if (advantage == 0) {
          EXPECT_TRUE(found.policy.eq(0).all().item<bool>());
          EXPECT_FALSE(found.clipped_low.logical_or(found.clipped_high).any().item<bool>());
        }
      }
    }
  }
}

// The claims of loss.h on a distribution of four tokens: the mean over it of each estimate's gradient by the logits.
TEST(Loss, OfTheKlEstimatesOnlyK2HasTheGradientOfTheDivergence) {
  const at::Tensor target = at::log_softmax(tensor({0.3, -0.5, 1.0, 0.1}), 0);
  const auto gradient_by_logits = [&](const auto& objective) {
    at::Tensor logits = tensor({1.0, 0.2, -0.7, 0.4}).requires_grad_(true);
    objective(at::log_softmax(logits, 0)).backward();
    return logits.grad();
  };
  const auto of = [&](KlEstimator estimator) {
    return gradient_by_logits([&](const at::Tensor& logp) {
      LossInputs inputs;
      inputs.logprobs = logp;
      inputs.engine = logp.detach();
      inputs.advantages = at::zeros_like(logp).detach();
      inputs.reference = target;
      LearnParams params;
      params.kl_coef = 1;
      params.kl_estimator = estimator;
      return (term_losses(inputs, params).loss * logp.detach().exp()).sum();
    });
  };
  const at::Tensor reverse =
      gradient_by_logits([&](const at::Tensor& logp) { return (logp.exp() * (logp - target)).sum(); });
  const at::Tensor forward =
      gradient_by_logits([&](const at::Tensor& logp) { return (target.exp() * (target - logp)).sum(); });
  EXPECT_TRUE(of(KlEstimator::kK1).abs().lt(1e-12).all().item<bool>());
  EXPECT_TRUE(of(KlEstimator::kK2).allclose(reverse, 1e-9, 1e-12));
  EXPECT_TRUE(of(KlEstimator::kK3).allclose(forward, 1e-9, 1e-12));
  EXPECT_FALSE(forward.allclose(reverse, 0.05, 1e-3));
}

}  // namespace
}  // namespace deepsearch
