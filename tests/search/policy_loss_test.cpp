// The plain policy loss against differences, all its terms; its values are pinned by golden cases (tests/golden).
#include "search/policy_loss.h"

#include <cmath>

#include <gtest/gtest.h>

#include "core/error.h"
#include "core/rng.h"

namespace deepsearch::testing {

namespace {

constexpr size_t kSize = 24;  // 4 x 6

struct Sample {
  std::vector<double> now, old, recomputed, reference, entropies, advantages;
  std::vector<uint8_t> mask;

  PolicyLossInput input() const {
    return {.rows = 4,
            .columns = 6,
            .logp_new = now,
            .logp_old = old,
            .advantages = advantages,
            .mask = mask,
            .logp_recomputed = recomputed,
            .logp_reference = reference,
            .entropies = entropies};
  }
};

Sample sample_of(uint64_t seed) {
  RandomStream random(seed, RngPurpose::kTests, 1);
  Sample sample;
  for (size_t i = 0; i < kSize; ++i) {
    sample.old.push_back(-3 * random.uniform());
    sample.recomputed.push_back(sample.old[i] + 0.5 * random.normal());
    sample.now.push_back(sample.recomputed[i] + 1.5 * random.normal());
    sample.reference.push_back(sample.old[i] + random.normal());
    sample.entropies.push_back(random.uniform());
    sample.advantages.push_back(random.normal());
    sample.mask.push_back(i % 6 < 3 + i / 6 ? 1 : 0);
  }
  return sample;
}

// The loss's slope by one of the values, by central differences.
double slope(Sample& sample, double& value, const PolicyLossOptions& options) {
  const double kept = value;
  value = kept + 1e-6;
  const double above = policy_loss(sample.input(), options).loss;
  value = kept - 1e-6;
  const double below = policy_loss(sample.input(), options).loss;
  value = kept;
  return (above - below) / 2e-6;
}

void expect_gradient(Sample& sample, const PolicyLossOptions& options) {
  const PolicyLoss loss = policy_loss(sample.input(), options);
  EXPECT_GT(loss.clip_fraction, 0);
  EXPECT_GT(loss.dual_clip_fraction, 0);
  for (size_t i = 0; i < kSize; ++i) {
    const double scale = std::max(1.0, std::abs(loss.grad_logp_new[i]));
    EXPECT_NEAR(slope(sample, sample.now[i], options), loss.grad_logp_new[i], 1e-7 * scale);
    EXPECT_NEAR(slope(sample, sample.entropies[i], options), loss.grad_entropies[i], 1e-7);
    EXPECT_TRUE(sample.mask[i] != 0 || loss.grad_logp_new[i] == 0);
  }
}

TEST(PolicyLoss, GradientMatchesDifferences) {
  for (const Aggregation aggregation : {Aggregation::kTokenMean, Aggregation::kSeqMeanTokenSum,
                                        Aggregation::kSeqMeanTokenMean, Aggregation::kSeqMeanTokenSumNorm}) {
    Sample sample = sample_of(3);
    expect_gradient(sample, {.dual_clip = 2, .aggregation = aggregation});
    sample.recomputed.clear();
    expect_gradient(sample, {.dual_clip = 2, .aggregation = aggregation});
  }
}

TEST(PolicyLoss, GradientOfTheOtherTermsMatchesDifferences) {
  for (const KlKind kl : {KlKind::kK1, KlKind::kK2, KlKind::kK3}) {
    for (const ImportanceKind importance : {ImportanceKind::kNone, ImportanceKind::kTruncate, ImportanceKind::kMask}) {
      Sample sample = sample_of(7);
      PolicyLossOptions options{.dual_clip = 2, .importance = importance, .importance_cap = 1.4};
      options.kl_coef = 0.2;
      options.kl = kl;
      options.entropy_coef = 0.3;
      expect_gradient(sample, options);
    }
  }
}

TEST(PolicyLoss, WildRatiosStayFinite) {
  const std::vector<double> logp_new = {0, -800};
  const std::vector<double> logp_old = {-800, 0};
  const std::vector<double> advantages = {-1, -1};
  const std::vector<uint8_t> mask = {1, 1};
  const PolicyLoss loss = policy_loss(
      {.rows = 1, .columns = 2, .logp_new = logp_new, .logp_old = logp_old, .advantages = advantages, .mask = mask},
      {});
  EXPECT_TRUE(std::isfinite(loss.loss));
  EXPECT_NEAR(0.5 * (10 + 0.8), loss.loss, 1e-6);
}

TEST(PolicyLoss, SizesMustFit) {
  Sample sample = sample_of(1);
  sample.reference.clear();
  EXPECT_NO_THROW(policy_loss(sample.input(), {}));
  EXPECT_THROW(policy_loss(sample.input(), {.kl_coef = 0.1}), Error);
  sample.now.pop_back();
  EXPECT_THROW(policy_loss(sample.input(), {}), Error);
  EXPECT_EQ(0, policy_loss({}, {}).loss) << "nothing is a loss of zero";
}

}  // namespace

}  // namespace deepsearch::testing
