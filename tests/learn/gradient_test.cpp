// The gradient of the whole loss, from rows to parameters: packed rows against one padded row a trajectory, and both
// against finite differences.
#include <cmath>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include "learn/aggregation.h"
#include "learn/policy_gradient.h"
#include "learn/sample_rows.h"
#include "model/model_fixtures.h"

namespace deepsearch {
namespace {

LearnParams loss_params(uint64_t seed) {
  LearnParams params;
  params.loss_aggregation = static_cast<LossAggregation>(seed % 3);
  params.temperature = seed % 4 == 0 ? 0.8 : 1.0;
  if (seed % 2 == 0) params.entropy_coef = 0.01;
  if (seed % 5 == 0) params.kl_coef = 0.1;
  return params;
}

struct Gradient {
  double loss = 0;
  std::vector<at::Tensor> of;  // by parameter
};

Gradient gradient_of(Decoder& decoder, const std::vector<Row>& rows, const LearnParams& params, Packing packing) {
  std::vector<WeightedRow> weighted;
  for (const Row& row : rows) weighted.push_back({&row, row_weight(row, params, 0), 0});
  const MicroBatch batch = make_micro_batch(weighted, packing, 0, at::kCPU);
  const double divisor = loss_denominator(rows, params, 0);
  for (const at::Tensor& parameter : decoder.parameters()) parameter.mutable_grad() = at::zeros_like(parameter);
  at::Tensor reference;
  if (params.kl_coef > 0) reference = batch.behaviour - 0.3;
  Gradient result;
  const at::Tensor states = output_states(decoder, batch);
  const at::Tensor slope =
      head_backward(head_inputs(decoder, batch, states.detach(), params.temperature),
                    policy_chunk_loss(batch, reference, params, divisor, [&](const ChunkTerms& chunk) {
                      const at::Tensor weights = batch.weights.narrow(0, chunk.terms.first, chunk.terms.size());
                      result.loss += (chunk.loss.loss.detach() * weights).sum().item<double>() / divisor;
                    }));
  states.backward(slope);
  for (const at::Tensor& parameter : decoder.parameters()) result.of.push_back(parameter.grad().clone());
  return result;
}

// By parameter, over its largest gradient; where that is but rounding (the keys' bias drops out of a softmax), over a
// hundredth of the largest of all (fp32 leaves 6e-8 of that, the sum of far larger terms that cancel).
double worst_relative(const Gradient& a, const Gradient& b) {
  double worst = 0;
  double overall = 0;
  for (const at::Tensor& gradient : b.of) overall = std::max(overall, gradient.abs().max().item<double>());
  for (size_t i = 0; i < a.of.size(); ++i) {
    const double largest = std::max(b.of[i].abs().max().item<double>(), 1e-2 * overall);
    worst = std::max(worst, (a.of[i] - b.of[i]).abs().max().item<double>() / largest);
  }
  return worst;
}

void compare_on_trees(at::ScalarType type, int trees, double tolerance) {
  const auto shapes = family_shapes();
  for (int tree = 1; tree <= trees; ++tree) {
    const auto seed = static_cast<uint64_t>(tree);
    const auto& [name, config] = shapes[seed % shapes.size()];
    Decoder decoder(config, at::kCPU, type);
    decoder.load(lively_weights(config, seed));
    const std::vector<Row> rows = sample_tree_rows(static_cast<int>(1 + seed % 9), seed);
    const LearnParams params = loss_params(seed);
    const Gradient packed = gradient_of(decoder, rows, params, Packing::kTree);
    const Gradient padded = gradient_of(decoder, rows, params, Packing::kNone);
    EXPECT_NEAR(packed.loss, padded.loss, tolerance * std::max(1.0, std::abs(padded.loss)))
        << name << ", tree " << tree;
    EXPECT_LT(worst_relative(packed, padded), tolerance) << name << ", tree " << tree;
  }
}

TEST(PackedGradient, IsThatOfPaddedRowsInDouble) {
  compare_on_trees(at::kDouble, 100, 1e-10);
}

// fp32 sums in another order, over a few hundred tokens.
TEST(PackedGradient, IsThatOfPaddedRowsInFloat) {
  compare_on_trees(at::kFloat, 100, 1e-5);
}

TEST(PackedGradient, IsThatOfFiniteDifferences) {
  const auto shapes = family_shapes();
  const auto& [name, config] = shapes[0];
  Decoder decoder(config, at::kCPU, at::kDouble);
  decoder.load(lively_weights(config, 4));
  const std::vector<Row> rows = sample_tree_rows(6, 4);
  LearnParams params = loss_params(20);
  const Gradient gradient = gradient_of(decoder, rows, params, Packing::kTree);
  RandomStream random(1, RngPurpose::kTests, 9);
  constexpr double kStep = 1e-6;
  int checked = 0;
  for (size_t p = 0; p < decoder.parameters().size(); ++p) {
    for (int probe = 0; probe < 4; ++probe) {
      auto* values = decoder.parameters()[p].mutable_data_ptr<double>();
      const auto at = static_cast<size_t>(random.below(static_cast<uint64_t>(decoder.parameters()[p].numel())));
      const double before = values[at];
      values[at] = before + kStep;
      const double above = gradient_of(decoder, rows, params, Packing::kTree).loss;
      values[at] = before - kStep;
      const double below = gradient_of(decoder, rows, params, Packing::kTree).loss;
      values[at] = before;
      const double expected = (above - below) / (2 * kStep);
      const double seen = gradient.of[p].view(-1)[static_cast<int64_t>(at)].item<double>();
      // Central differences: the third derivative's 1e-12 and rounding of the loss, 1e-16 / 1e-6.
      EXPECT_NEAR(seen, expected, 1e-7 * std::max(1.0, std::abs(expected))) << name << ", parameter " << p;
      ++checked;
    }
  }
  EXPECT_GT(checked, 40);
}

// Nothing on the way changes temperature, masks or positions: on a fresh policy's own log-probs every ratio is 1.
TEST(PackedGradient, RatioIsOneOnThePolicysOwnLogProbs) {
  for (const double temperature : {1.0, 0.7}) {
    const auto shapes = family_shapes();
    const auto& [name, config] = shapes[1];
    Decoder decoder(config, at::kCPU);
    decoder.load(lively_weights(config, 3));
    std::vector<Row> rows = sample_tree_rows(12, 8);
    LearnParams params;
    params.temperature = temperature;
    std::vector<WeightedRow> weighted;
    for (const Row& row : rows) weighted.push_back({&row, 1, 0});
    // From padded rows, one at a time, into the packed batch.
    for (Row& row : rows) {
      const MicroBatch one = make_micro_batch({{&row, 1, 0}}, Packing::kNone, 0, at::kCPU);
      const at::Tensor values = term_logprobs(decoder, one, temperature).contiguous();
      row.behaviour.assign(values.const_data_ptr<float>(), values.const_data_ptr<float>() + values.numel());
    }
    const MicroBatch batch = make_micro_batch(weighted, Packing::kTree, 0, at::kCPU);
    const at::Tensor difference = term_logprobs(decoder, batch, temperature) - batch.behaviour;
    EXPECT_LT(difference.abs().max().item<double>(), 1e-5) << name;
    EXPECT_LT((difference.exp() - difference - 1).abs().max().item<double>(), 1e-9) << name;
  }
}

}  // namespace
}  // namespace deepsearch
