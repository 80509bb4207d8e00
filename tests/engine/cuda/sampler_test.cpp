// The sampler kernel: values against double precision; picks against the definition, done by sorting.
#include <cmath>
#include <limits>
#include <numeric>

#include "engine/cuda/device_fixture.h"

namespace deepsearch::testing {
namespace {

class CudaSamplerTest : public DeviceTest {
 protected:
  std::vector<SampledToken> sample(const std::vector<float>& logits, int vocab, int stride,
                                   const std::vector<cuda::DeviceDraw>& draws) {
    const auto logits_on = upload(logits);
    const auto draws_on = upload(draws);
    const auto n = static_cast<int32_t>(draws.size());
    const auto n_on = upload(std::vector<int32_t>{n});
    const auto drawn = upload(std::vector<SampledToken>(draws.size() + 2, SampledToken{.token = -77}));
    device_->kernels().sample({.logits = logits_on.as<float>(),
                               .draws = draws_on.as<cuda::DeviceDraw>(),
                               .n_draws = n_on.as<int32_t>(),
                               .drawn = drawn.as<SampledToken>(),
                               .grid = n + 2,
                               .logit_rows = static_cast<int>(logits.size()) / stride,
                               .vocab = vocab,
                               .stride = stride});
    std::vector<SampledToken> got = download<SampledToken>(drawn.data(), draws.size() + 2);
    EXPECT_EQ(got.back().token, -77) << "a padding draw was written";
    got.resize(draws.size());
    return got;
  }
};
INSTANTIATE_TEST_SUITE_P(Devices, CudaSamplerTest,
                         ::testing::Combine(::testing::Values(Where::kEmulation, Where::kGpu),
                                            ::testing::Values(DType::kBF16)),
                         case_name);

// Probabilities at a temperature, and the tokens that top-k and then top-p keep.
struct Expected {
  Expected(const float* logits, int vocab, double temperature, int top_k, double top_p) {
    const double t = temperature > 0 ? temperature : 1;
    const double largest = *std::max_element(logits, logits + vocab);
    for (int i = 0; i < vocab; ++i) p.push_back(std::exp((logits[i] - largest) / t));
    const double sum = std::accumulate(p.begin(), p.end(), 0.0);
    for (double& x : p) {
      x /= sum;
      if (x > 0) entropy -= x * std::log(x);
    }
    std::vector<int> order(static_cast<size_t>(vocab));
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return logits[a] > logits[b]; });
    if (top_k > 0 && top_k < vocab) order.resize(static_cast<size_t>(top_k));
    for (const int i : order) total += p[static_cast<size_t>(i)];
    kept.assign(static_cast<size_t>(vocab), false);
    double reached = 0;
    for (const int i : order) {
      if (top_p < 1 && reached >= top_p * total) break;
      reached += p[static_cast<size_t>(i)];
      kept[static_cast<size_t>(i)] = true;
    }
    total = reached;
  }
  // u lies in the token's share of the kept mass, within the fp32 of one exponential.
  void check(Token token, double u) const {
    ASSERT_GE(token, 0);
    ASSERT_TRUE(kept[static_cast<size_t>(token)]) << "token " << token << " was cut off";
    double before = 0;
    for (size_t i = 0; i < static_cast<size_t>(token); ++i) before += kept[i] ? p[i] : 0;
    EXPECT_LE(before / total, u + 1e-5);
    EXPECT_GE((before + p[static_cast<size_t>(token)]) / total, u - 1e-5);
  }
  std::vector<double> p;
  std::vector<bool> kept;
  double entropy = 0;
  double total = 0;
};

TEST_P(CudaSamplerTest, ValuesAndPicks) {
  Numbers numbers(21);
  for (const int vocab : {1, 2, 37, 1000, 4099}) {
    const int stride = (vocab + 15) / 16 * 16;
    const int n_rows = 3;
    std::vector<float> logits(static_cast<size_t>(n_rows * stride), 1e30F);  // the padding must not be looked at
    for (int r = 0; r < n_rows; ++r) {
      for (int i = 0; i < vocab; ++i)
        logits[static_cast<size_t>(r * stride + i)] = static_cast<float>(1 + 2 * r) * numbers.normal();
    }
    std::vector<cuda::DeviceDraw> draws;
    for (int i = 0; i < 60; ++i) {
      const int k = numbers.below(3) == 0 ? 1 + numbers.below(std::max(1, vocab / 3)) : 0;
      const float p = numbers.below(2) == 0 ? 1.0F : 0.05F + 0.9F * static_cast<float>(numbers.uniform());
      const float t = std::vector<float>{1.0F, 0.0F, 0.6F, 1.7F}[static_cast<size_t>(numbers.below(4))];
      draws.push_back({.u = numbers.uniform(),
                       .logit_row = i / 20,
                       .forced = i % 9 == 8 ? numbers.below(vocab) : -1,
                       .temperature = t,
                       .top_p = p,
                       .top_k = k});
    }
    const std::vector<SampledToken> got = sample(logits, vocab, stride, draws);
    for (size_t i = 0; i < draws.size(); ++i) {
      const cuda::DeviceDraw& d = draws[i];
      const float* row = logits.data() + d.logit_row * stride;
      const Expected raw(row, vocab, 1, 0, 1);
      const Expected warm(row, vocab, d.temperature, d.top_k, d.top_p);
      const auto token = static_cast<size_t>(got[i].token);
      if (d.forced >= 0) {
        EXPECT_EQ(got[i].token, d.forced);
      } else if (d.temperature <= 0) {
        EXPECT_EQ(got[i].token, std::max_element(row, row + vocab) - row);
      } else {
        warm.check(got[i].token, d.u);
      }
      ASSERT_LT(token, static_cast<size_t>(vocab));
      EXPECT_NEAR(got[i].logprob, std::log(warm.p[token]), 2e-5) << i;
      EXPECT_NEAR(got[i].raw_logprob, std::log(raw.p[token]), 2e-5);
      EXPECT_NEAR(got[i].entropy, warm.entropy, 2e-5);
      EXPECT_NEAR(got[i].raw_entropy, raw.entropy, 2e-5);
    }
  }
}

// Equal logits: greedy takes the first, top-k and top-p keep the first ones.
TEST_P(CudaSamplerTest, Ties) {
  const int vocab = 320;
  std::vector<float> logits(vocab, 0.0F);
  for (const size_t i : {17U, 40U, 41U, 200U, 310U}) logits[i] = 2.0F;
  std::vector<cuda::DeviceDraw> draws = {{.temperature = 0}};
  for (int i = 0; i < 20; ++i) draws.push_back({.u = (i + 0.5) / 20, .top_k = 3});
  // The five hold 5e²/(5e² + 315) ≈ 0.105: two of them reach 0.03, all and 180 others reach 0.6.
  for (int i = 0; i < 20; ++i) draws.push_back({.u = (i + 0.5) / 20, .top_p = 0.03F});
  for (int i = 0; i < 40; ++i) draws.push_back({.u = (i + 0.5) / 40, .top_p = 0.6F});
  draws.push_back({.u = 0.7, .top_p = 0});  // the most probable one alone
  const auto got = sample(logits, vocab, vocab, draws);
  EXPECT_EQ(got.front().token, 17);
  EXPECT_EQ(got.back().token, 17);
  for (size_t i = 1; i + 1 < draws.size(); ++i) {
    const Expected expected(logits.data(), vocab, 1, draws[i].top_k, draws[i].top_p);
    expected.check(got[i].token, draws[i].u);
  }
}

// The frequencies of many draws at equally spaced u are the probabilities.
TEST_P(CudaSamplerTest, EverythingIsDrawnInProportion) {
  const std::vector<float> logits = {0.0F, 1.0F, -1.0F, 0.5F, -30.0F, 1.0F, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
  const int n = 400;
  std::vector<cuda::DeviceDraw> draws;
  for (int i = 0; i < n; ++i) draws.push_back({.u = (i + 0.5) / n});
  std::vector<int> counts(6);
  for (const SampledToken& t : sample(logits, 6, 16, draws)) ++counts.at(static_cast<size_t>(t.token));
  const Expected expected(logits.data(), 6, 1, 0, 1);
  for (size_t i = 0; i < 6; ++i) EXPECT_NEAR(counts[i], n * expected.p[i], 1.01);
}

TEST_P(CudaSamplerTest, ExtremesAndDamage) {
  const float big = 3e38F;
  std::vector<float> logits(5 * 16, 0.0F);
  logits[3] = big;        // one certain token
  logits[16 + 5] = -big;  // one impossible token
  logits[32 + 7] = NAN;
  logits[48 + 15] = std::numeric_limits<float>::infinity();
  logits[64] = -std::numeric_limits<float>::infinity();
  std::vector<cuda::DeviceDraw> draws;
  for (int r = 0; r < 5; ++r) draws.push_back({.u = 0.999999999999, .logit_row = r, .top_p = r == 1 ? 0.999F : 1.0F});
  const auto got = sample(logits, 16, 16, draws);
  EXPECT_EQ(got[0].token, 3);
  EXPECT_EQ(got[0].logprob, 0);
  EXPECT_EQ(got[0].entropy, 0);
  EXPECT_EQ(got[1].token, 15);
  EXPECT_NEAR(got[1].entropy, std::log(15), 1e-6);
  for (size_t r = 2; r < 5; ++r) EXPECT_EQ(got[r].token, cuda::kNotFinite) << r;
}

}  // namespace
}  // namespace deepsearch::testing
