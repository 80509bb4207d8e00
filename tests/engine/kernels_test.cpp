// Kernels: accuracy, and the same bits from every instruction set, at every number of rows and every cut of a context.
#include "engine/native/kernels.h"

#include <cmath>
#include <cstring>

#include <gtest/gtest.h>

#include "core/rng.h"
#include "engine/engine_fixture.h"
#include "engine/native/native_backend.h"

namespace deepsearch::native {
namespace {

std::vector<float> noise(int64_t n, uint64_t key, double scale = 1.0) {
  RandomStream random(1, RngPurpose::kTests, key);
  std::vector<float> values;
  for (int64_t i = 0; i < n; ++i) values.push_back(static_cast<float>(scale * random.normal()));
  return values;
}

TEST(Kernels, ExponentialIsAccurate) {
  for (const Kernels* kernels : runnable_kernels()) {
    for (float x = -86.0F; x <= 0.0F; x += 0.0371F) {
      std::vector<float> in(16, x);
      std::vector<float> out(16, -1.0F);
      kernels->exp_shifted(in.data(), 16, 0.0F, 1.0F, out.data());
      const double exact = std::exp(static_cast<double>(x));
      ASSERT_NEAR(out[5] / exact, 1.0, 1e-6) << kernels->name << " at " << x;
    }
    std::vector<float> in(16, 0.0F);
    in[3] = -1000.0F;
    std::vector<float> out(16);
    kernels->exp_shifted(in.data(), 16, 0.0F, 1.0F, out.data());
    EXPECT_EQ(out[0], 1.0F);
    EXPECT_EQ(out[3], 0.0F);
  }
}

TEST(Kernels, AProductsRowDoesNotDependOnItsCompany) {
  constexpr int64_t kK = 37;
  constexpr int64_t kPanels = 5;
  constexpr int64_t kRows = 61;
  const std::vector<float> a = noise(kRows * kK, 1);
  const std::vector<float> w = noise(kPanels * kK * kLanes, 2);
  std::vector<float> expected(kRows * kPanels * kLanes);
  for (int64_t r = 0; r < kRows; ++r) {
    for (int64_t c = 0; c < kPanels * kLanes; ++c) {
      float sum = 0;  // one chain of fused multiply-adds
      for (int64_t i = 0; i < kK; ++i) {
        sum = std::fma(a[static_cast<size_t>(r * kK + i)],
                       w[static_cast<size_t>((c / kLanes * kK + i) * kLanes + c % kLanes)], sum);
      }
      expected[static_cast<size_t>(r * kPanels * kLanes + c)] = sum;
    }
  }
  for (const Kernels* kernels : runnable_kernels()) {
    for (int64_t rows = 1; rows <= kRows; ++rows) {
      std::vector<float> c(expected.size(), 0.0F);
      kernels->matmul(a.data(), kK, rows, kK, w.data(), kPanels, c.data(), kPanels * kLanes, rows % 2 == 0);
      ASSERT_EQ(std::memcmp(c.data(), expected.data(), static_cast<size_t>(rows * kPanels * kLanes) * sizeof(float)), 0)
          << kernels->name << ", " << rows << " rows";
    }
  }
}

// KV of one layer in the layout of SegmentView, cut into segments of the given lengths.
struct Context {
  std::vector<std::vector<float>> k;
  std::vector<std::vector<float>> v;
  std::vector<SegmentView> views;
};
Context cut(const AttentionShape& shape, const std::vector<float>& keys, const std::vector<float>& values,
            const std::vector<int64_t>& lengths) {
  Context context;
  int64_t start = 0;
  for (const int64_t n : lengths) {
    std::vector<float> k(static_cast<size_t>(shape.n_kv_heads * shape.head_dim * n + kLanes), std::nanf(""));
    std::vector<float> v(static_cast<size_t>(n * shape.n_kv_heads * shape.head_dim_padded), 0.0F);
    for (int64_t p = 0; p < n; ++p) {
      for (int64_t i = 0; i < shape.n_kv_heads * shape.head_dim; ++i) {
        const auto from = static_cast<size_t>((start + p) * shape.n_kv_heads * shape.head_dim + i);
        k[static_cast<size_t>(i * n + p)] = keys[from];
        v[static_cast<size_t>((p * shape.n_kv_heads + i / shape.head_dim) * shape.head_dim_padded +
                              i % shape.head_dim)] = values[from];
      }
    }
    context.k.push_back(std::move(k));
    context.v.push_back(std::move(v));
    start += n;
  }
  for (size_t i = 0; i < lengths.size(); ++i) {
    context.views.push_back(
        {.k = context.k[i].data(), .v = context.v[i].data(), .stride = lengths[i], .n = lengths[i]});
  }
  return context;
}

TEST(Kernels, AttentionDoesNotDependOnSegmentsOrInstructionSet) {
  const AttentionShape shape{.n_heads = 6, .n_kv_heads = 2, .head_dim = 20, .head_dim_padded = 32};
  constexpr int64_t kPositions = 53;
  const std::vector<float> q = noise(6 * 20, 1, 0.5);
  const std::vector<float> keys = noise(kPositions * 2 * 20, 2);
  const std::vector<float> values = noise(kPositions * 2 * 20, 3);
  std::vector<float> first;
  for (const Kernels* kernels : runnable_kernels()) {
    for (const std::vector<int64_t>& lengths :
         {std::vector<int64_t>{53}, {16, 37}, {1, 1, 1, 50}, {5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 3}, {52, 1}}) {
      const Context context = cut(shape, keys, values, lengths);
      std::vector<float> scores(static_cast<size_t>(6 * (round_up(kPositions, 16) + 16)), std::nanf(""));
      std::vector<float> out(6 * 20, 0.0F);
      kernels->attention(shape, q.data(), context.views.data(), static_cast<int64_t>(context.views.size()), kPositions,
                         scores.data(), out.data());
      if (first.empty()) first = out;
      ASSERT_EQ(out, first) << kernels->name << ", " << lengths.size() << " segments";
    }
  }
  // And it is attention: one head by hand.
  std::vector<double> weight;
  double sum = 0;
  for (int64_t p = 0; p < kPositions; ++p) {
    double s = 0;
    for (int64_t i = 0; i < 20; ++i)
      s += static_cast<double>(q[static_cast<size_t>(4 * 20 + i)]) * keys[static_cast<size_t>(p * 40 + 20 + i)];
    weight.push_back(std::exp(s));
    sum += weight.back();
  }
  for (int64_t i = 0; i < 20; ++i) {
    double expected = 0;
    for (int64_t p = 0; p < kPositions; ++p)
      expected += weight[static_cast<size_t>(p)] / sum * values[static_cast<size_t>(p * 40 + 20 + i)];
    EXPECT_NEAR(first[static_cast<size_t>(4 * 20 + i)], expected, 1e-5);
  }
}

// One prompt's logits by a backend, for comparing backends.
std::vector<float> prompt_logits(Backend& backend, const std::vector<Token>& prompt) {
  KvSegment segment;
  segment.tokens = prompt;
  segment.store = backend.make_store(segment.size());
  std::vector<BackendRow> rows;
  for (int32_t i = 0; i < segment.size(); ++i) rows.push_back({.segment = &segment, .offset = i, .wants_logits = true});
  std::vector<float> logits;
  backend.forward(rows, logits);
  return logits;
}

class BackendModels : public ::testing::TestWithParam<ModelConfig> {};

TEST_P(BackendModels, LogitsAgainstDoublesAndTheSameBitsFromEveryInstructionSet) {
  const ModelWeights weights = testing::lively_weights(GetParam(), 3);
  const std::vector<Token> prompt = testing::prompt_of(3, 70, GetParam());
  const auto reference = testing::ReferenceDecoder(weights).logits(prompt);
  std::vector<float> first;
  for (const Kernels* kernels : runnable_kernels()) {
    const auto backend = make_native_backend(GetParam(), 1, *kernels);
    backend->set_weights(weights);
    const std::vector<float> logits = prompt_logits(*backend, prompt);
    ASSERT_EQ(logits.size(), prompt.size() * reference[0].size());
    for (size_t t = 0; t < prompt.size(); ++t) {
      for (size_t i = 0; i < reference[t].size(); ++i) {
        ASSERT_NEAR(logits[t * reference[t].size() + i], reference[t][i], 1e-4) << kernels->name;
      }
    }
    if (first.empty()) first = logits;
    EXPECT_EQ(logits, first) << kernels->name;
    EXPECT_EQ(backend->kv_bytes(), 0);
  }
}

INSTANTIATE_TEST_SUITE_P(Models, BackendModels,
                         ::testing::Values(testing::small_config(), testing::odd_config(), testing::wide_config()));

}  // namespace
}  // namespace deepsearch::native
