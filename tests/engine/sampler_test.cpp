// The sampler against double precision and against chance.
#include "engine/sampler.h"

#include <limits>

#include <gtest/gtest.h>

#include "core/error.h"
#include "core/rng.h"
#include "engine/engine_fixture.h"

namespace deepsearch {
namespace {

std::vector<float> some_logits(size_t n, uint64_t seed, double spread) {
  RandomStream random(seed, RngPurpose::kTests, n);
  std::vector<float> logits;
  for (size_t i = 0; i < n; ++i) logits.push_back(static_cast<float>(spread * random.normal()));
  return logits;
}

// Pearson's statistic of 20,000 draws against `expected`; cells of less than 5 expected draws are put together.
double chi_square(const std::vector<float>& logits, double temperature, double top_p,
                  const std::vector<double>& expected, int64_t& cells) {
  constexpr int64_t kDraws = 20000;
  Sampler sampler;
  std::vector<int64_t> counts(logits.size(), 0);
  for (int64_t i = 0; i < kDraws; ++i) {
    const double u = uniform_at(3, RngPurpose::kTests, 9, static_cast<uint64_t>(i));
    ++counts[static_cast<size_t>(sampler.sample(logits, temperature, top_p, u).token)];
  }
  double statistic = 0;
  double rest_expected = 0;
  double rest_count = 0;
  cells = 0;
  for (size_t i = 0; i < logits.size(); ++i) {
    const double e = expected[i] * kDraws;
    if (e == 0) {
      EXPECT_EQ(counts[i], 0) << "token " << i << " lies outside the nucleus";
    }
    if (e < 5) {
      rest_expected += e;
      rest_count += static_cast<double>(counts[i]);
      continue;
    }
    statistic += (static_cast<double>(counts[i]) - e) * (static_cast<double>(counts[i]) - e) / e;
    ++cells;
  }
  if (rest_expected > 5) {
    statistic += (rest_count - rest_expected) * (rest_count - rest_expected) / rest_expected;
    ++cells;
  }
  return statistic;
}

// The nucleus by the definition: sort, keep the fewest whose sum reaches top_p.
std::vector<double> nucleus(const std::vector<float>& logits, double temperature, double top_p) {
  const std::vector<double> wide(logits.begin(), logits.end());
  std::vector<double> p = testing::softmax(wide, temperature).probabilities;
  std::vector<size_t> order(p.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return p[a] > p[b]; });
  double sum = 0;
  for (const size_t i : order) {
    const double mine = p[i];
    if (sum >= top_p) p[i] = 0;
    sum += mine;
  }
  double kept = 0;
  for (const double v : p) kept += v;
  for (double& v : p) v /= kept;
  return p;
}

TEST(Sampler, LogprobAndEntropyAgainstDoubles) {
  Sampler sampler;
  for (const size_t n : {1U, 2U, 15U, 16U, 17U, 58U, 1000U}) {
    for (const double spread : {0.01, 1.0, 5.0, 30.0}) {
      const std::vector<float> logits = some_logits(n, 4, spread);
      const testing::Distribution d = testing::softmax({logits.begin(), logits.end()});
      for (const double u : {0.0, 0.3, 0.999999}) {
        const SampledToken sampled = sampler.sample(logits, 0.7, 0.9, u);
        EXPECT_NEAR(sampled.entropy, d.entropy, 1e-5);
        const double logprob = std::log(d.probabilities[static_cast<size_t>(sampled.token)]);
        EXPECT_NEAR(sampled.logprob, logprob, 1e-5 + 1e-6 * std::abs(logprob));
      }
    }
  }
}

TEST(Sampler, DrawsTheDistribution) {
  const std::vector<float> logits = some_logits(23, 8, 1.2);
  for (const auto& [temperature, top_p] :
       std::vector<std::pair<double, double>>{{1, 1}, {0.6, 1}, {1, 0.8}, {0.6, 0.95}, {1.7, 0.5}}) {
    int64_t cells = 0;
    const double statistic = chi_square(logits, temperature, top_p, nucleus(logits, temperature, top_p), cells);
    // Mean cells − 1, variance twice that: five deviations.
    const double freedom = static_cast<double>(cells - 1);
    EXPECT_LT(statistic, freedom + 5 * std::sqrt(2 * freedom)) << temperature << ", " << top_p;
    EXPECT_GT(cells, 3);
  }
}

TEST(Sampler, TheNucleusIsNeverEmptyAndTiesGoToTheFirst) {
  Sampler sampler;
  const std::vector<float> equal(8, 0.5F);
  for (const double u : {0.0, 0.5, 0.99}) {
    EXPECT_EQ(sampler.sample(equal, 1.0, 1e-9, u).token, 0);
    EXPECT_EQ(sampler.sample(equal, 1.0, 0.25, u).token, u < 0.5 ? 0 : 1);
    EXPECT_EQ(sampler.sample(equal, 1.0, 1.0, u).token, static_cast<Token>(u * 8));
    EXPECT_EQ(sampler.sample(equal, 0.0, 1.0, u).token, 0);
  }
  EXPECT_EQ(sampler.sample(std::vector<float>{1, 3, 3, 2}, 0.0, 1.0, 0.9).token, 1);
}

TEST(Sampler, ImpossibleTokensAreNeverTaken) {
  Sampler sampler;
  const std::vector<float> logits = {-200, 0, -200, 1, -200};
  EXPECT_EQ(sampler.sample(logits, 1.0, 1.0, 0.0).token, 1);
  EXPECT_EQ(sampler.sample(logits, 1.0, 1.0, std::nextafter(1.0, 0.0)).token, 3);
}

TEST(Sampler, RefusesLogitsThatAreNotNumbers) {
  Sampler sampler;
  const float inf = std::numeric_limits<float>::infinity();
  EXPECT_THROW(sampler.sample(std::vector<float>{1, std::nanf("")}, 1, 1, 0.5), Error);
  EXPECT_THROW(sampler.sample(std::vector<float>{std::nanf(""), 1}, 1, 1, 0.5), Error);
  EXPECT_THROW(sampler.sample(std::vector<float>{1, inf}, 1, 1, 0.5), Error);
  EXPECT_THROW(sampler.sample(std::vector<float>{}, 1, 1, 0.5), Error);
}

}  // namespace
}  // namespace deepsearch
