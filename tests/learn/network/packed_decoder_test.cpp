#include <cmath>
#include <numeric>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>

#include "learn/network/decoder.h"
#include "learn/network/segment_fixtures.h"
#include "model/model_fixtures.h"

namespace deepsearch {
namespace {

struct Batch {
  std::vector<Segment> segments;
  at::Tensor tokens, positions, weights;  // weights: of each hidden state's coordinates in the loss
};

Batch random_batch(const ModelConfig& config, uint64_t seed, int n_segments = 12, int longest = 5) {
  RandomStream random(seed, RngPurpose::kTests, 21);
  Batch batch;
  batch.segments = random_segments(random, n_segments, longest);
  const int64_t n = tokens_of(batch.segments);
  batch.tokens = at::empty({n}, at::kLong);
  batch.weights = at::empty({n, config.hidden_size}, at::kDouble);
  for (int64_t i = 0; i < n; ++i) {
    batch.tokens[i] = static_cast<int64_t>(random.below(static_cast<uint64_t>(config.vocab_size)));
    for (int64_t j = 0; j < config.hidden_size; ++j) batch.weights[i][j] = random.normal();
  }
  batch.positions = path_positions(batch.segments);
  return batch;
}

Decoder make_decoder(const ModelConfig& config, uint64_t seed, at::ScalarType dtype) {
  Decoder decoder(config, at::kCPU, dtype);
  decoder.load(lively_weights(config, seed));
  return decoder;
}

struct Result {
  at::Tensor hidden;
  std::vector<at::Tensor> gradients;
};

Result take(const Decoder& decoder, const at::Tensor& hidden) {
  Result result;
  result.hidden = hidden.detach().to(at::kDouble);
  for (const at::Tensor& parameter : decoder.parameters()) {
    // The head is no part of hidden().
    result.gradients.push_back(parameter.grad().defined() ? parameter.grad().clone() : at::zeros_like(parameter));
    parameter.mutable_grad() = at::Tensor();
  }
  return result;
}

Result run_packed(const Decoder& decoder, const Batch& batch) {
  const at::Tensor hidden =
      decoder.hidden(batch.tokens, batch.positions, make_attention_plan(batch.segments, at::kCPU));
  hidden.backward(batch.weights.to(hidden.scalar_type()));
  return take(decoder, hidden);
}

// One row a segment: its path. The loss reads the segment's own tokens there.
Result run_rows(const Decoder& decoder, const Batch& batch) {
  const AttentionPlan plan(batch.segments, at::kCPU);
  at::Tensor all = at::empty(batch.weights.sizes(), batch.weights.options());
  for (size_t s = 0; s < batch.segments.size(); ++s) {
    const std::vector<int64_t> path = plan.path_of(s);
    const auto length = static_cast<int64_t>(path.size());
    const Segment& segment = batch.segments[s];
    const at::Tensor row = batch.tokens.index_select(0, at::tensor(path, at::kLong)).unsqueeze(0);
    const at::Tensor hidden = decoder.hidden(row, at::arange(length, at::kLong).unsqueeze(0))[0].narrow(
        0, length - segment.count, segment.count);
    hidden.backward(batch.weights.narrow(0, segment.first, segment.count).to(hidden.scalar_type()));
    all.narrow(0, segment.first, segment.count).copy_(hidden.detach());
  }
  return take(decoder, all);
}

void expect_close(const Result& a, const Result& b, double tolerance, const std::string& what) {
  const auto far = [](const at::Tensor& x, const at::Tensor& y) {
    return (x.to(at::kDouble) - y.to(at::kDouble)).abs().max().item<double>() /
           (1e-3 + y.to(at::kDouble).abs().max().item<double>());
  };
  EXPECT_LT(far(a.hidden, b.hidden), tolerance) << what;
  for (size_t i = 0; i < a.gradients.size(); ++i) {
    EXPECT_LT(far(a.gradients[i], b.gradients[i]), tolerance) << what << " parameter " << i;
  }
}

bool same_bits(const Result& a, const Result& b) {
  bool same = a.hidden.equal(b.hidden);
  for (size_t i = 0; i < a.gradients.size(); ++i) same = same && a.gradients[i].equal(b.gradients[i]);
  return same;
}

// Shapes whose rows fill registers, beside the small ones that do not.
std::vector<std::pair<std::string, ModelConfig>> shapes() {
  auto all = family_shapes();
  ModelConfig larger = family_shapes()[2].second;  // qwen2: grouped heads, biases
  larger.hidden_size = 80;
  larger.n_heads = 6;
  larger.n_kv_heads = 2;
  larger.head_dim = 32;
  larger.intermediate_size = 112;
  larger.max_positions = 400;
  all.emplace_back("larger", larger);
  ModelConfig normed = family_shapes()[4].second;  // qwen3 with biases
  normed.hidden_size = 64;
  normed.head_dim = 20;
  normed.intermediate_size = 50;
  all.emplace_back("normed", normed);
  return all;
}

TEST(PackedDecoder, AgreesWithRows) {
  for (const auto& [name, config] : shapes()) {
    const Batch batch = random_batch(config, 3);
    for (const at::ScalarType type : {at::kDouble, at::kFloat}) {
      const Decoder decoder = make_decoder(config, 4, type);
      expect_close(run_packed(decoder, batch), run_rows(decoder, batch), type == at::kDouble ? 1e-10 : 2e-5,
                   name + (type == at::kDouble ? " double" : " float"));
    }
  }
}

TEST(PackedDecoder, LongSegmentsAgreeWithDouble) {
  ModelConfig config = shapes()[5].second;
  const Batch batch = random_batch(config, 5, 9, 150);
  const Result exact = run_packed(make_decoder(config, 6, at::kDouble), batch);
  expect_close(run_packed(make_decoder(config, 6, at::kFloat), batch), exact, 2e-5, "float");
}

TEST(PackedDecoder, HalfPrecisionIsClose) {
  for (const auto& [name, config] : family_shapes()) {
    const Batch batch = random_batch(config, 7);
    const Decoder half = make_decoder(config, 8, at::kBFloat16);
    // The same rounded weights, exactly computed.
    Decoder exact(config, at::kCPU, at::kDouble);
    exact.load(half.store());
    expect_close(run_packed(half, batch), run_packed(exact, batch), 0.1, name);
  }
}

TEST(PackedDecoder, CheckpointingGivesTheSameBits) {
  for (const auto& [name, config] : shapes()) {
    const Batch batch = random_batch(config, 9);
    Decoder decoder = make_decoder(config, 10, at::kFloat);
    const Result kept = run_packed(decoder, batch);
    decoder.set_checkpointing(true);
    EXPECT_TRUE(same_bits(run_packed(decoder, batch), kept)) << name;
    decoder.set_checkpointing(false);
    EXPECT_TRUE(same_bits(run_packed(decoder, batch), kept)) << name;
  }
}

TEST(PackedDecoder, SameBitsForAnyNumberOfThreads) {
  const int threads = at::get_num_threads();
  for (const auto& [name, config] : shapes()) {
    const Batch batch = random_batch(config, 11, 9, 30 < config.max_positions / 9 ? 40 : 4);
    const Decoder decoder = make_decoder(config, 12, at::kFloat);
    at::set_num_threads(1);
    const Result one = run_packed(decoder, batch);
    at::set_num_threads(3);
    EXPECT_TRUE(same_bits(run_packed(decoder, batch), one)) << name;
  }
  at::set_num_threads(threads);
}

// Gradients add up over backwards, as those of leaves do.
TEST(PackedDecoder, GradientsAccumulate) {
  for (const auto& [name, config] : shapes()) {
    const Batch batch = random_batch(config, 13);
    const Decoder decoder = make_decoder(config, 14, at::kFloat);
    const Result once = run_packed(decoder, batch);
    const auto plan = make_attention_plan(batch.segments, at::kCPU);
    for (int i = 0; i < 2; ++i) {
      const at::Tensor hidden = decoder.hidden(batch.tokens, batch.positions, plan);
      hidden.backward(batch.weights.to(at::kFloat));
    }
    Result twice = take(decoder, decoder.hidden(batch.tokens, batch.positions, plan));
    for (at::Tensor& gradient : twice.gradients) gradient /= 2;
    expect_close(twice, once, 1e-6, name);
  }
}

TEST(PackedDecoder, GroupsCoverTheParameters) {
  for (const auto& [name, config] : family_shapes()) {
    const Decoder decoder(config, at::kCPU);
    const std::vector<TensorShape> expected = expected_tensors(config);
    const auto& groups = decoder.parameter_groups();
    ASSERT_EQ(groups.size(), static_cast<size_t>(config.n_layers) + 2);
    int64_t next = 0;
    for (size_t g = 0; g < groups.size(); ++g) {
      EXPECT_EQ(groups[g].begin, next);
      next = groups[g].end;
      const std::string start = g == 0                  ? "model.embed_tokens."
                                : g + 1 < groups.size() ? "model.layers." + std::to_string(g - 1) + "."
                                                        : "";
      for (auto i = static_cast<size_t>(groups[g].begin); i < static_cast<size_t>(groups[g].end); ++i) {
        EXPECT_TRUE(expected[i].name.starts_with(start)) << name << " " << expected[i].name;
      }
    }
    EXPECT_EQ(next, static_cast<int64_t>(expected.size()));
  }
}

// At each call the group's gradients are what they are in the end, and those of earlier groups are not there yet.
TEST(PackedDecoder, TellsOfCompleteGradients) {
  for (const auto& [name, config] : shapes()) {
    for (const auto& [type, checkpointing] :
         {std::pair(at::kFloat, false), {at::kFloat, true}, {at::kDouble, false}, {at::kDouble, true}}) {
      const Batch batch = random_batch(config, 15);
      Decoder decoder = make_decoder(config, 16, type);
      decoder.set_checkpointing(checkpointing);
      std::vector<size_t> order;
      std::vector<at::Tensor> then(decoder.parameters().size());
      decoder.on_gradients([&](size_t group) {
        order.push_back(group);
        const auto first = static_cast<size_t>(decoder.parameter_groups()[group].begin);
        const auto last = static_cast<size_t>(decoder.parameter_groups()[group].end);
        for (size_t i = 0; i < first; ++i) {
          if (i >= 1) {
            EXPECT_FALSE(decoder.parameters()[i].grad().defined()) << name << " " << group << " " << i;
          }
        }
        for (size_t i = first; i < last; ++i) {
          if (decoder.parameters()[i].grad().defined()) then[i] = decoder.parameters()[i].grad().clone();
        }
      });
      const Result result = run_packed(decoder, batch);
      std::vector<size_t> expected(decoder.parameter_groups().size());
      std::iota(expected.rbegin(), expected.rend(), size_t{0});
      EXPECT_EQ(order, expected) << name;
      for (size_t i = 0; i < then.size(); ++i) {
        const bool head = !config.tie_embeddings && i + 1 == then.size();
        EXPECT_EQ(then[i].defined(), !head) << name << " " << i;
        if (then[i].defined()) {
          EXPECT_TRUE(then[i].equal(result.gradients[i])) << name << " " << i;
        }
      }
      decoder.on_gradients({});
      run_packed(decoder, batch);
      EXPECT_EQ(order.size(), expected.size());
    }
  }
}

TEST(PackedDecoder, WithoutGradients) {
  const ModelConfig config = small_model_config();
  const Batch batch = random_batch(config, 17);
  Decoder decoder = make_decoder(config, 18, at::kFloat);
  const auto plan = make_attention_plan(batch.segments, at::kCPU);
  const at::Tensor with = decoder.hidden(batch.tokens, batch.positions, plan);
  for (const bool checkpointing : {false, true}) {
    decoder.set_checkpointing(checkpointing);
    const c10::NoGradGuard no_grad;
    const at::Tensor without = decoder.hidden(batch.tokens, batch.positions, plan);
    EXPECT_FALSE(without.requires_grad());
    EXPECT_TRUE(without.equal(with.detach()));
  }
}

}  // namespace
}  // namespace deepsearch
