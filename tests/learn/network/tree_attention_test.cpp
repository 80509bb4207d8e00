#include "learn/network/tree_attention.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "learn/network/cpu/attention.h"
#include "learn/network/segment_fixtures.h"

namespace deepsearch {
namespace {

struct Inputs {
  at::Tensor q, k, v, dout;
};

struct Outputs {
  at::Tensor out, dq, dk, dv;
};

at::Tensor random_values(at::IntArrayRef sizes, RandomStream& random) {
  at::Tensor values = at::empty(sizes, at::kDouble);
  auto* to = values.mutable_data_ptr<double>();
  for (int64_t i = 0; i < values.numel(); ++i) to[i] = random.normal();
  return values;
}

Inputs random_inputs(int64_t tokens, int64_t n_heads, int64_t n_kv, int64_t head_dim, uint64_t seed) {
  RandomStream random(seed, RngPurpose::kTests, 11);
  return {random_values({tokens, n_heads, head_dim}, random), random_values({tokens, n_kv, head_dim}, random),
          random_values({tokens, n_kv, head_dim}, random), random_values({tokens, n_heads, head_dim}, random)};
}

template <class Attend>
Outputs with_gradients(const Inputs& in, at::ScalarType type, Attend&& attend) {
  const auto leaf = [&](const at::Tensor& x) { return x.to(type, false, true).requires_grad_(true); };
  const at::Tensor q = leaf(in.q);
  const at::Tensor k = leaf(in.k);
  const at::Tensor v = leaf(in.v);
  const at::Tensor out = attend(q, k, v);
  out.backward(in.dout.to(type));
  return {out.detach(), q.grad(), k.grad(), v.grad()};
}

// Softmax over a T × T matrix.
at::Tensor dense_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const at::Tensor& mask) {
  const int64_t group = q.size(1) / k.size(1);
  const auto heads_first = [&](const at::Tensor& x, int64_t repeat) {
    return x.repeat_interleave(repeat, 1).transpose(0, 1);
  };
  const at::Tensor scores =
      at::matmul(heads_first(q, 1), heads_first(k, group).transpose(1, 2)) / std::sqrt(static_cast<double>(q.size(2)));
  const at::Tensor masked = scores.masked_fill(mask.logical_not(), -INFINITY);
  return at::matmul(at::softmax(masked, -1), heads_first(v, group)).transpose(0, 1);
}

Outputs dense(const Inputs& in, const std::vector<Segment>& segments) {
  const at::Tensor mask = dense_mask(segments);
  return with_gradients(in, at::kDouble, [&](const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
    return dense_attention(q, k, v, mask);
  });
}

Outputs packed(const Inputs& in, const std::vector<Segment>& segments, at::ScalarType type) {
  const auto plan = make_attention_plan(segments, at::kCPU);
  return with_gradients(in, type, [&](const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
    return tree_attention(q, k, v, plan);
  });
}

void expect_close(const Outputs& a, const Outputs& b, double tolerance, const std::string& what) {
  const auto check = [&](const at::Tensor& x, const at::Tensor& y, const char* name) {
    ASSERT_EQ(x.sizes(), y.sizes());
    const double scale = y.abs().max().item<double>() + 1e-3;
    EXPECT_LT((x.to(at::kDouble) - y.to(at::kDouble)).abs().max().item<double>() / scale, tolerance)
        << what << " " << name;
  };
  check(a.out, b.out, "out");
  check(a.dq, b.dq, "dq");
  check(a.dk, b.dk, "dk");
  check(a.dv, b.dv, "dv");
}

struct Case {
  int segments, longest;
  bool depth_first;
  int64_t n_heads, n_kv, head_dim;
};
const std::vector<Case>& cases() {
  static const std::vector<Case> all = {
      {1, 1, true, 1, 1, 4},     {1, 200, true, 2, 2, 32}, {3, 150, true, 4, 2, 64},  {40, 6, true, 4, 4, 16},
      {60, 6, true, 8, 2, 16},   {12, 40, true, 6, 1, 12}, {12, 40, false, 4, 2, 24}, {30, 9, false, 3, 3, 6},
      {6, 70, true, 14, 2, 64},  {4, 90, true, 2, 1, 128}, {5, 33, true, 1, 1, 80},   {4, 20, true, 64, 1, 20},
      {7, 50, false, 2, 2, 256}, {100, 3, true, 4, 4, 32}, {2, 64, true, 4, 4, 48},   {5, 48, true, 5, 5, 10},
  };
  return all;
}
std::string name_of(const Case& c) {
  return std::to_string(c.segments) + "x" + std::to_string(c.longest) + " heads " + std::to_string(c.n_heads) + "/" +
         std::to_string(c.n_kv) + " dim " + std::to_string(c.head_dim);
}

TEST(TreeAttention, AgreesWithTheDenseMask) {
  uint64_t seed = 0;
  for (const Case& c : cases()) {
    RandomStream random(++seed, RngPurpose::kTests, 12);
    const std::vector<Segment> segments = random_segments(random, c.segments, c.longest, c.depth_first);
    const Inputs in = random_inputs(tokens_of(segments), c.n_heads, c.n_kv, c.head_dim, seed);
    const Outputs expected = dense(in, segments);
    expect_close(packed(in, segments, at::kDouble), expected, 1e-12, name_of(c) + " double");
    expect_close(packed(in, segments, at::kFloat), expected, 3e-6, name_of(c) + " float");
    expect_close(packed(in, segments, at::kBFloat16), expected, 3e-2, name_of(c) + " bf16");
  }
}

TEST(TreeAttention, GradientsAgreeWithFiniteDifferences) {
  RandomStream random(5, RngPurpose::kTests, 13);
  const std::vector<Segment> segments = random_segments(random, 9, 5);
  const Inputs in = random_inputs(tokens_of(segments), 4, 2, 6, 5);
  const auto plan = make_attention_plan(segments, at::kCPU);
  const Outputs exact = packed(in, segments, at::kFloat);
  const auto loss = [&] { return (tree_attention(in.q, in.k, in.v, plan) * in.dout).sum().item<double>(); };
  const std::pair<at::Tensor, at::Tensor> all[] = {{in.q, exact.dq}, {in.k, exact.dk}, {in.v, exact.dv}};
  for (const auto& [value, gradient] : all) {
    const at::Tensor flat = value.view(-1);
    for (int64_t i = 0; i < flat.numel(); i += 7) {
      const double x = flat[i].item<double>();
      flat[i].fill_(x + 1e-5);
      const double above = loss();
      flat[i].fill_(x - 1e-5);
      const double below = loss();
      flat[i].fill_(x);
      EXPECT_NEAR(gradient.reshape(-1)[i].item<double>(), (above - below) / 2e-5, 2e-6);
    }
  }
}

TEST(TreeAttention, LoneRowsAreCausalAttention) {
  const int64_t length = 70;
  const std::vector<Segment> rows = {{-1, 0, 70}, {-1, 70, 70}, {-1, 140, 70}};
  const Inputs in = random_inputs(3 * length, 4, 4, 32, 3);
  const Outputs expected =
      with_gradients(in, at::kFloat, [&](const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
        const auto rows_of = [&](const at::Tensor& x) { return x.view({3, length, 4, 32}).transpose(1, 2); };
        return at::scaled_dot_product_attention(rows_of(q), rows_of(k), rows_of(v), {}, 0.0, true)
            .transpose(1, 2)
            .reshape({3 * length, 4, 32});
      });
  expect_close(packed(in, rows, at::kFloat), expected, 3e-6, "rows");
}

// Scores far from zero: the running maximum is what keeps exp in range.
TEST(TreeAttention, LargeScoresStayFinite) {
  const std::vector<Segment> segments = {{-1, 0, 100}, {0, 100, 80}};
  Inputs in = random_inputs(180, 2, 2, 16, 4);
  in.q *= 40;
  expect_close(packed(in, segments, at::kFloat), dense(in, segments), 1e-4, "large");
}

TEST(TreeAttention, SameBitsForAnyNumberOfThreads) {
  const int threads = at::get_num_threads();
  for (const Case& c : {cases()[4], cases()[6], cases()[8]}) {
    RandomStream random(9, RngPurpose::kTests, 14);
    const std::vector<Segment> segments = random_segments(random, c.segments, c.longest, c.depth_first);
    const Inputs in = random_inputs(tokens_of(segments), c.n_heads, c.n_kv, c.head_dim, 6);
    at::set_num_threads(1);
    const Outputs one = packed(in, segments, at::kFloat);
    at::set_num_threads(3);
    const Outputs three = packed(in, segments, at::kFloat);
    EXPECT_TRUE(one.out.equal(three.out) && one.dq.equal(three.dq) && one.dk.equal(three.dk) && one.dv.equal(three.dv))
        << name_of(c);
  }
  at::set_num_threads(threads);
}

// All instruction sets do the same operations in the same order.
TEST(TreeAttention, SameBitsFromAllInstructionSets) {
  using namespace network;
  for (const Case& c : {cases()[2], cases()[4], cases()[5], cases()[9]}) {
    RandomStream random(10, RngPurpose::kTests, 15);
    const std::vector<Segment> segments = random_segments(random, c.segments, c.longest, c.depth_first);
    const AttentionPlan plan(segments, at::kCPU);
    const Inputs in = random_inputs(plan.tokens(), c.n_heads, c.n_kv, c.head_dim, 7);
    const at::Tensor q = in.q.to(at::kFloat);
    const at::Tensor k = in.k.to(at::kFloat);
    const at::Tensor v = in.v.to(at::kFloat);
    const at::Tensor dout = in.dout.to(at::kFloat);
    const auto heads = [](const at::Tensor& x) { return ConstHeads{x.data_ptr<float>(), x.stride(0), x.stride(1)}; };
    const auto written = [](const at::Tensor& x) { return Heads{x.data_ptr<float>(), x.stride(0), x.stride(1)}; };
    std::vector<Outputs> results;
    for (const Kernels* kernels : runnable_kernels()) {
      Outputs to = {at::empty_like(q), at::empty_like(q), at::empty_like(k), at::empty_like(v)};
      const at::Tensor lse = at::empty({plan.tokens(), c.n_heads}, at::kFloat);
      const AttentionShape shape{c.n_heads, c.n_kv, c.head_dim};
      attention_forward(plan, shape, heads(q), heads(k), heads(v), written(to.out), lse.data_ptr<float>(), *kernels);
      attention_backward(plan, shape, heads(q), heads(k), heads(v), heads(to.out), lse.data_ptr<float>(), heads(dout),
                         {written(to.dq), written(to.dk), written(to.dv)}, *kernels);
      EXPECT_TRUE(results.empty() || (results[0].out.equal(to.out) && results[0].dq.equal(to.dq) &&
                                      results[0].dk.equal(to.dk) && results[0].dv.equal(to.dv)))
          << kernels->name << " " << name_of(c);
      results.push_back(to);
    }
  }
}

// What FlashAttention is given on a GPU: gathered keys, causal from the lower right.
TEST(TreeAttention, GatheredLayoutIsTheSameAttention) {
  RandomStream random(11, RngPurpose::kTests, 16);
  const std::vector<Segment> segments = random_segments(random, 14, 9, /*depth_first=*/false);
  const Inputs in = random_inputs(tokens_of(segments), 4, 2, 8, 8);
  const GatherLayout layout = gather_layout(segments);
  const at::Tensor keys = at::tensor(layout.keys, at::kLong);
  const at::Tensor k = in.k.index_select(0, keys);
  const at::Tensor v = in.v.index_select(0, keys);
  std::vector<at::Tensor> parts;
  int64_t longest_query = 0;
  int64_t longest_path = 0;
  for (size_t s = 0; s + 1 < layout.query_starts.size(); ++s) {
    const int64_t n = layout.query_starts[s + 1] - layout.query_starts[s];
    const int64_t m = layout.key_starts[s + 1] - layout.key_starts[s];
    longest_query = std::max(longest_query, n);
    longest_path = std::max(longest_path, m);
    parts.push_back(dense_attention(in.q.narrow(0, layout.query_starts[s], n), k.narrow(0, layout.key_starts[s], m),
                                    v.narrow(0, layout.key_starts[s], m), at::ones({n, m}, at::kBool).tril(m - n)));
  }
  EXPECT_EQ(layout.longest_query, longest_query);
  EXPECT_EQ(layout.longest_path, longest_path);
  EXPECT_LT((at::cat(parts) - dense(in, segments).out).abs().max().item<double>(), 1e-12);
}

TEST(AttentionPlan, CountsPairs) {
  RandomStream random(12, RngPurpose::kTests, 17);
  for (const bool depth_first : {true, false}) {
    const std::vector<Segment> segments = random_segments(random, 20, 7, depth_first);
    const AttentionPlan plan(segments, at::kCPU);
    EXPECT_EQ(plan.tokens(), tokens_of(segments));
    EXPECT_EQ(plan.pairs(), dense_mask(segments).sum().item<int64_t>());
    EXPECT_EQ(plan.longest_path(), path_positions(segments).max().item<int64_t>() + 1);
  }
}

TEST(AttentionPlan, RefusesWhatIsNoTree) {
  const std::vector<std::vector<Segment>> wrong = {
      {{-1, 1, 3}}, {{0, 0, 3}}, {{-1, 0, 0}}, {{-1, 0, 3}, {0, 4, 1}}, {{-1, 0, 3}, {1, 3, 1}}, {{-2, 0, 3}}};
  for (const auto& segments : wrong) EXPECT_THROW(AttentionPlan(segments, at::kCPU), Error);
  const std::vector<Segment> fine = {{-1, 0, 3}};
  const auto plan = make_attention_plan(fine, at::kCPU);
  const at::Tensor q = at::zeros({3, 4, 8});
  EXPECT_THROW(tree_attention(q, at::zeros({3, 3, 8}), at::zeros({3, 3, 8}), plan), Error);
  EXPECT_THROW(tree_attention(q, at::zeros({2, 4, 8}), at::zeros({2, 4, 8}), plan), Error);
}

}  // namespace
}  // namespace deepsearch
