// The sampler against double precision, against the definition of what it chooses among, and against chance.
#include "engine/sampler.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>

#include <gtest/gtest.h>

#include "core/error.h"
#include "core/rng.h"
#include "engine/reference_decoder.h"

namespace deepsearch {
namespace {

std::vector<float> some_logits(size_t n, uint64_t seed, double spread) {
  RandomStream random(seed, RngPurpose::kTests, n);
  std::vector<float> logits;
  for (size_t i = 0; i < n; ++i) logits.push_back(static_cast<float>(spread * random.normal()));
  return logits;
}

SampledToken draw_one(Sampler& sampler, const std::vector<float>& logits, const Draw& draw) {
  SampledToken token;
  EXPECT_TRUE(sampler.draw(logits, {&draw, 1}, &token));
  return token;
}

// What is left to choose among, by the definition: sort, cut at top_k, keep the fewest that reach top_p, scale.
std::vector<double> truncated(const std::vector<float>& logits, const Draw& draw) {
  // Not normalised, so that sums over equal logits are exact and reach a share of the whole as they should.
  const double largest = *std::max_element(logits.begin(), logits.end());
  std::vector<double> p;
  for (const float l : logits)
    p.push_back(std::exp((static_cast<double>(l) - largest) / static_cast<double>(draw.temperature)));
  std::vector<size_t> order(p.size());
  std::iota(order.begin(), order.end(), size_t{0});
  // By logit: equal logits are equally probable, whatever rounding makes of it.
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return logits[a] > logits[b]; });
  const size_t k = draw.top_k > 0 ? std::min(static_cast<size_t>(draw.top_k), p.size()) : p.size();
  double total = 0;
  for (size_t i = 0; i < k; ++i) total += p[order[i]];
  double sum = 0;
  for (size_t i = 0; i < order.size(); ++i) {
    const bool kept = i < k && (i == 0 || draw.top_p >= 1 || sum < static_cast<double>(draw.top_p) * total);
    sum += p[order[i]];
    if (!kept) p[order[i]] = 0;
  }
  const double kept = std::accumulate(p.begin(), p.end(), 0.0);
  for (double& v : p) v /= kept;
  return p;
}

// The token that u picks, by the definition; `margin` gets the distance of u from the nearest border between tokens.
size_t pick(const std::vector<double>& p, double u, double& margin) {
  double sum = 0;
  size_t token = 0;
  margin = 1;
  bool found = false;
  for (size_t i = 0; i < p.size(); ++i) {
    if (p[i] <= 0) continue;
    if (!found) token = i;
    sum += p[i];
    margin = std::min(margin, std::abs(sum - u));
    found = found || sum > u;
  }
  return token;
}

TEST(Sampler, ValuesAgainstDoubles) {
  Sampler sampler;
  for (const size_t n : {1U, 2U, 15U, 16U, 17U, 58U, 255U, 256U, 257U, 1000U, 32000U}) {
    for (const double spread : {0.01, 1.0, 5.0, 30.0}) {
      const std::vector<float> logits = some_logits(n, 4, spread);
      const std::vector<double> wide(logits.begin(), logits.end());
      const testing::Distribution raw = testing::softmax(wide);
      for (const float temperature : {1.0F, 0.7F, 2.5F, 0.0F}) {
        // 1 / T is rounded to fp32: that much of a temperature nobody asks for.
        const double used = temperature > 0 ? 1.0 / static_cast<double>(1.0F / temperature) : 1.0;
        const testing::Distribution tempered = testing::softmax(wide, used);
        for (const double u : {0.0, 0.3, 0.999999}) {
          const SampledToken drawn = draw_one(sampler, logits, {.temperature = temperature, .top_p = 0.9F, .u = u});
          const auto token = static_cast<size_t>(drawn.token);
          // 1e-6 and half a unit of the fp32 result.
          const auto tolerance = [](double value) { return 1e-6 + 6e-8 * std::abs(value); };
          EXPECT_NEAR(drawn.raw_entropy, raw.entropy, tolerance(raw.entropy)) << n << ", " << spread;
          EXPECT_NEAR(drawn.entropy, tempered.entropy, tolerance(tempered.entropy)) << n << ", " << spread;
          const double raw_logprob = std::log(raw.probabilities[token]);
          const double logprob = std::log(tempered.probabilities[token]);
          EXPECT_NEAR(drawn.raw_logprob, raw_logprob, tolerance(raw_logprob)) << n << ", " << spread;
          EXPECT_NEAR(drawn.logprob, logprob, tolerance(logprob)) << n << ", " << spread;
        }
      }
    }
  }
}

TEST(Sampler, PicksWhatTheDefinitionPicks) {
  Sampler sampler;
  int64_t compared = 0;
  for (const size_t n : {2U, 16U, 58U, 300U, 5000U}) {
    for (const double spread : {0.0, 0.3, 2.0, 8.0}) {
      std::vector<float> logits = some_logits(n, 11, spread);
      for (float& l : logits) l = std::round(l * 8) / 8;  // many ties
      for (const float temperature : {1.0F, 0.5F, 2.0F}) {
        for (const float top_p : {1.0F, 0.95F, 0.5F, 1e-6F}) {
          for (const int32_t top_k : {0, 1, 3, 40, 1000000}) {
            Draw draw{.temperature = temperature, .top_p = top_p, .top_k = top_k};
            const std::vector<double> p = truncated(logits, draw);
            for (uint64_t i = 0; i < 8; ++i) {
              draw.u = uniform_at(3, RngPurpose::kTests, n, i);
              double margin = 0;
              const size_t expected = pick(p, draw.u, margin);
              if (margin < 1e-6) continue;  // rounding decides
              ++compared;
              ASSERT_EQ(static_cast<size_t>(draw_one(sampler, logits, draw).token), expected)
                  << n << " tokens, spread " << spread << ", T " << temperature << ", p " << top_p << ", k " << top_k;
            }
          }
        }
      }
    }
  }
  EXPECT_GT(compared, 9000);
}

TEST(Sampler, DrawsTheDistribution) {
  constexpr int64_t kDraws = 20000;
  const std::vector<float> logits = some_logits(23, 8, 1.2);
  Sampler sampler;
  for (const Draw& setting : {Draw{}, Draw{.temperature = 0.6F}, Draw{.top_p = 0.8F}, Draw{.top_k = 7},
                              Draw{.temperature = 1.7F, .top_p = 0.7F, .top_k = 15}}) {
    const std::vector<double> expected = truncated(logits, setting);
    std::vector<int64_t> counts(logits.size(), 0);
    for (int64_t i = 0; i < kDraws; ++i) {
      Draw draw = setting;
      draw.u = uniform_at(3, RngPurpose::kTests, 9, static_cast<uint64_t>(i));
      ++counts[static_cast<size_t>(draw_one(sampler, logits, draw).token)];
    }
    // Pearson's statistic; cells of less than 5 expected draws are put together.
    double statistic = 0;
    double rest_expected = 0;
    double rest_count = 0;
    int64_t cells = 0;
    const auto add = [&](double count, double mean) {
      statistic += (count - mean) * (count - mean) / mean;
      ++cells;
    };
    for (size_t i = 0; i < logits.size(); ++i) {
      const double mean = expected[i] * kDraws;
      if (mean == 0) {
        EXPECT_EQ(counts[i], 0) << "token " << i << " was cut off";
      } else if (mean < 5) {
        rest_expected += mean;
        rest_count += static_cast<double>(counts[i]);
      } else {
        add(static_cast<double>(counts[i]), mean);
      }
    }
    if (rest_expected > 5) add(rest_count, rest_expected);
    // Mean cells − 1, variance twice that: five deviations.
    const double freedom = static_cast<double>(cells - 1);
    EXPECT_LT(statistic, freedom + 5 * std::sqrt(2 * freedom));
    EXPECT_GT(cells, 3);
  }
}

TEST(Sampler, TheNucleusIsNeverEmptyAndTiesGoToTheFirst) {
  Sampler sampler;
  const std::vector<float> equal(8, 0.5F);
  for (const double u : {0.0, 0.5, 0.99}) {
    EXPECT_EQ(draw_one(sampler, equal, {.top_p = 1e-9F, .u = u}).token, 0);
    EXPECT_EQ(draw_one(sampler, equal, {.top_p = 0.25F, .u = u}).token, u < 0.5 ? 0 : 1);
    EXPECT_EQ(draw_one(sampler, equal, {.top_k = 2, .u = u}).token, u < 0.5 ? 0 : 1);
    EXPECT_EQ(draw_one(sampler, equal, {.u = u}).token, static_cast<Token>(u * 8));
    EXPECT_EQ(draw_one(sampler, equal, {.temperature = 0, .u = u}).token, 0);
  }
  EXPECT_EQ(draw_one(sampler, {1, 3, 3, 2}, {.temperature = 0, .u = 0.9}).token, 1);
}

TEST(Sampler, ImpossibleTokensAreNeverTaken) {
  Sampler sampler;
  std::vector<float> logits(700, -200);
  logits[3] = 0;
  logits[400] = 1;
  for (const float top_p : {1.0F, 0.9999999F}) {
    EXPECT_EQ(draw_one(sampler, logits, {.top_p = top_p, .u = 0.0}).token, 3);
    EXPECT_EQ(draw_one(sampler, logits, {.top_p = top_p, .u = std::nextafter(1.0, 0.0)}).token, 400);
  }
}

TEST(Sampler, AForcedTokenHasItsValues) {
  Sampler sampler;
  const std::vector<float> logits = some_logits(100, 5, 3);
  const testing::Distribution raw = testing::softmax({logits.begin(), logits.end()});
  const testing::Distribution cold = testing::softmax({logits.begin(), logits.end()}, 0.5);
  for (const Token token : {0, 41, 99}) {
    // Neither top_p nor top_k stand in the way of a forced token, or change its values.
    const SampledToken drawn =
        draw_one(sampler, logits, {.forced = token, .temperature = 0.5F, .top_p = 0.1F, .top_k = 1, .u = 0.5});
    EXPECT_EQ(drawn.token, token);
    EXPECT_NEAR(drawn.raw_logprob, std::log(raw.probabilities[static_cast<size_t>(token)]), 3e-6);
    EXPECT_NEAR(drawn.logprob, std::log(cold.probabilities[static_cast<size_t>(token)]), 3e-6);
  }
}

bool same(const SampledToken& a, const SampledToken& b) {
  return a.token == b.token && a.logprob == b.logprob && a.entropy == b.entropy && a.raw_logprob == b.raw_logprob &&
         a.raw_entropy == b.raw_entropy;
}

TEST(Sampler, TheSameBitsFromEveryInstructionSetAndInAnyCompany) {
  for (const size_t n : {1U, 33U, 1000U, 32000U}) {
    const std::vector<float> logits = some_logits(n, 21, 2.0);
    std::vector<Draw> draws;
    for (const float temperature : {1.0F, 0.7F, 0.0F, 0.7F}) {
      for (const float top_p : {1.0F, 0.9F}) {
        for (const int32_t top_k : {0, 50}) {
          draws.push_back({.temperature = temperature, .top_p = top_p, .top_k = top_k, .u = 0.77});
        }
      }
    }
    std::vector<SampledToken> first;
    for (const native::Kernels* kernels : native::runnable_kernels()) {
      Sampler together(*kernels);
      Sampler alone(*kernels);
      std::vector<SampledToken> drawn(draws.size());
      ASSERT_TRUE(together.draw(logits, draws, drawn.data()));
      for (size_t i = 0; i < draws.size(); ++i) {
        EXPECT_TRUE(same(draw_one(alone, logits, draws[i]), drawn[i])) << kernels->name;
      }
      if (first.empty()) first = drawn;
      for (size_t i = 0; i < draws.size(); ++i) EXPECT_TRUE(same(first[i], drawn[i])) << kernels->name;
    }
  }
}

TEST(Sampler, RefusesLogitsThatAreNotNumbers) {
  const float inf = std::numeric_limits<float>::infinity();
  const float nan = std::nanf("");
  for (const native::Kernels* kernels : native::runnable_kernels()) {
    Sampler sampler(*kernels);
    SampledToken token;
    const Draw draw{.u = 0.5};
    for (const size_t n : {2U, 16U, 40U, 3000U}) {
      for (const size_t at : {size_t{0}, n / 2, n - 1}) {
        for (const float bad : {nan, inf, -inf}) {
          std::vector<float> logits = some_logits(n, 1, 1.0);
          logits[at] = bad;
          EXPECT_FALSE(sampler.draw(logits, {&draw, 1}, &token)) << kernels->name << ": " << bad << " at " << at;
        }
      }
      EXPECT_TRUE(sampler.draw(some_logits(n, 1, 1.0), {&draw, 1}, &token));
    }
    EXPECT_THROW((void)sampler.draw({}, {&draw, 1}, &token), Error);
  }
}

}  // namespace
}  // namespace deepsearch
