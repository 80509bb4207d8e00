#include "learn/optimizer.h"

#include <algorithm>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "learn/optimizer_update.h"
#include "learn/solo.h"
#include "learn/toy_parameters.h"

namespace deepsearch {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using namespace testing;  // NOLINT(google-build-using-namespace)

std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

// Remembers the sums it was asked for, by their size.
class RecordingCollectives : public SoloCollectives {
 public:
  Transfer start_all_reduce_sum(std::span<float> values) override {
    sizes.push_back(static_cast<int64_t>(values.size()));
    return {};
  }
  std::vector<int64_t> sizes;
};

class Optimizer : public ::testing::Test {
 protected:
  SoloCollectives solo_;
  LearnParams params_ = toy_learn_params(true);
};

TEST_F(Optimizer, FollowsAdamWInFloat64) {
  std::vector<at::Tensor> parameters = toy_parameters();
  AdamW optimizer(parameters, kToyGroups, params_, solo_, 20);
  PlainAdamW plain(params_.optimizer);
  bool clipped = false;
  for (int update = 0; update < 5; ++update) {
    const AdamW::Update result = toy_update(optimizer, parameters, update, {0, 1, 2, 3, 4, 5}, {});
    plain.update(update, 6, result.lr);
    EXPECT_EQ(result.lr, optimizer.rate(update));
    EXPECT_NEAR(result.grad_norm, plain.norm(), 1e-6 * plain.norm());
    clipped = clipped || plain.norm() > params_.optimizer.max_grad_norm;
    EXPECT_LT(relative_difference(parameters, plain.weights()), 3e-7) << "update " << update;
  }
  EXPECT_TRUE(clipped);
  EXPECT_EQ(optimizer.updates(), 5);
}

TEST_F(Optimizer, TheCutIntoBucketsChangesNothing) {
  std::vector<at::Tensor> a = toy_parameters();
  std::vector<at::Tensor> b = toy_parameters();
  AdamW small(a, kToyGroups, params_, solo_, 20);
  params_.bucket_mb = 25;
  AdamW large(b, {{0, 8}}, params_, solo_, 20);
  EXPECT_GT(small.buckets().buckets().size(), 5U);
  EXPECT_EQ(large.buckets().buckets().size(), 1U);
  for (int update = 0; update < 3; ++update) {
    toy_update(small, a, update, {0, 1}, {});
    large.zero_grad();
    for (size_t i = 0; i < b.size(); ++i) b[i].mutable_grad().add_(toy_gradient(i, update, 0));
    large.accumulate();
    for (size_t i = 0; i < b.size(); ++i) b[i].mutable_grad().add_(toy_gradient(i, update, 1));
    large.step();
    EXPECT_LT(relative_difference(a, b), 1e-7);
  }
}

TEST_F(Optimizer, RateRisesThenFollowsTheCosine) {
  std::vector<at::Tensor> parameters = toy_parameters();
  const AdamW optimizer(parameters, kToyGroups, params_, solo_, 23);
  EXPECT_DOUBLE_EQ(optimizer.rate(0), 1e-3 / 3);
  EXPECT_DOUBLE_EQ(optimizer.rate(2), 1e-3);
  EXPECT_DOUBLE_EQ(optimizer.rate(3), 1e-3);
  EXPECT_DOUBLE_EQ(optimizer.rate(13), 1e-3 * 0.55);
  EXPECT_DOUBLE_EQ(optimizer.rate(23), 1e-4);
  EXPECT_DOUBLE_EQ(optimizer.rate(1000), 1e-4);
  params_.optimizer.schedule = Schedule::kConstant;
  std::vector<at::Tensor> others = toy_parameters();
  EXPECT_DOUBLE_EQ(AdamW(others, kToyGroups, params_, solo_, 23).rate(1000), 1e-3);
}

TEST_F(Optimizer, GradientsThatAreNotFiniteChangeNothing) {
  std::vector<at::Tensor> parameters = toy_parameters();
  AdamW optimizer(parameters, kToyGroups, params_, solo_, 20);
  toy_update(optimizer, parameters, 0, {0, 1}, {});
  const std::vector<at::Tensor> before = copy_of(parameters);
  const OptimizerState state = optimizer.state();
  for (int i = 1; i <= 2; ++i) {
    EXPECT_TRUE(toy_update(optimizer, parameters, i, {0, 1}, {}, /*spoil=*/true).skipped);
    EXPECT_EQ(optimizer.skipped_in_a_row(), i);
  }
  EXPECT_TRUE(same_bits(parameters, before));
  EXPECT_EQ(optimizer.state().mean, state.mean);
  EXPECT_EQ(optimizer.updates(), 1);
  EXPECT_FALSE(toy_update(optimizer, parameters, 3, {0, 1}, {}).skipped);
  EXPECT_EQ(optimizer.skipped(), 2);
  EXPECT_EQ(optimizer.skipped_in_a_row(), 0);
}

// A bf16 value near 1 has steps of 2⁻⁷ or 2⁻⁸; updates of a tenth of that are lost without master weights.
TEST_F(Optimizer, UpdatesBelowABf16StepAddUp) {
  std::vector<at::Tensor> parameters = {at::ones({64}, at::kBFloat16).set_requires_grad(true)};
  params_.optimizer = {.lr = 4e-4, .warmup_steps = 0, .weight_decay = 0};
  AdamW optimizer(parameters, {{0, 1}}, params_, solo_, 1);
  const auto update = [&] {
    optimizer.zero_grad();
    parameters[0].mutable_grad().fill_(0.5);
    optimizer.step();
    return parameters[0][0].item<double>();
  };
  EXPECT_EQ(update(), 1.0);
  double value = 1.0;
  for (int i = 1; i < 50; ++i) value = update();
  EXPECT_NEAR(value, 1.0 - 50 * 4e-4, 1.0 / 256);
  EXPECT_NEAR(optimizer.state().master[0], 1.0 - 50 * 4e-4, 1e-5);
}

TEST_F(Optimizer, Bf16SumsOverMicrobatchesAreFp32) {
  std::vector<at::Tensor> parameters = {at::zeros({8, 4}, at::kBFloat16).set_requires_grad(true)};
  AdamW optimizer(parameters, {{0, 1}}, params_, solo_, 1);
  optimizer.zero_grad();
  for (int i = 0; i < 1000; ++i) {
    parameters[0].mutable_grad().add_(1);
    if (i < 999) optimizer.accumulate();
  }
  // In bf16 the sum would stop at 256.
  EXPECT_NEAR(optimizer.step().grad_norm, 1000 * std::sqrt(32.0), 1e-3);
}

TEST_F(Optimizer, BucketsStartFromTheLastWhateverTheOrder) {
  RecordingCollectives group;
  std::vector<at::Tensor> parameters = toy_parameters();
  AdamW optimizer(parameters, kToyGroups, params_, group, 20);
  std::vector<int64_t> backwards;
  for (const auto& bucket : optimizer.buckets().buckets()) backwards.push_back(bucket.size);
  std::reverse(backwards.begin(), backwards.end());
  optimizer.zero_grad();
  optimizer.gradients_ready(2);
  optimizer.gradients_ready(4);
  EXPECT_EQ(group.sizes.size(), 1U);
  optimizer.gradients_ready(3);
  EXPECT_GT(group.sizes.size(), 3U);
  EXPECT_THAT(message_of([&] { optimizer.accumulate(); }), HasSubstr("were to be the last"));
  EXPECT_THAT(message_of([&] { optimizer.gradients_ready(3); }), HasSubstr("group 3 were ready before"));
  EXPECT_THAT(message_of([&] { optimizer.gradients_ready(5); }), HasSubstr("group 5 of 5"));
  optimizer.step();
  EXPECT_EQ(group.sizes, backwards);
}

TEST_F(Optimizer, CountsItsMemory) {
  std::vector<at::Tensor> parameters = toy_parameters();
  AdamW fp32(parameters, kToyGroups, params_, solo_, 20);
  const int64_t n = fp32.buckets().total();
  EXPECT_EQ(fp32.bytes().weights, 4 * n);
  EXPECT_EQ(fp32.bytes().gradients, 4 * n);
  EXPECT_EQ(fp32.bytes().moments, 8 * n);
  fp32.accumulate();
  EXPECT_EQ(fp32.bytes().gradients, 12 * n) << "float64 sums, once there are several micro-batches";
  std::vector<at::Tensor> halves = toy_parameters(at::kBFloat16);
  const AdamW bf16(halves, kToyGroups, params_, solo_, 20);
  EXPECT_EQ(bf16.bytes().weights, 2 * n);
  EXPECT_EQ(bf16.bytes().gradients, 2 * n + 4 * n);
  EXPECT_EQ(bf16.bytes().master, 4 * n);
}

TEST_F(Optimizer, AStateOfSomethingElseIsRefused) {
  std::vector<at::Tensor> parameters = toy_parameters();
  AdamW optimizer(parameters, kToyGroups, params_, solo_, 20);
  const OptimizerState good = optimizer.state();
  const auto refused = [&](const std::function<void(OptimizerState&)>& change) {
    OptimizerState state = good;
    change(state);
    return message_of([&] { optimizer.restore(state); });
  };
  EXPECT_EQ(refused([](OptimizerState&) {}), "");
  EXPECT_THAT(refused([](OptimizerState& s) { s.parameters[1] = 18; }), HasSubstr("other sizes than the model's 8"));
  EXPECT_THAT(refused([](OptimizerState& s) { s.ranks = 2; }), HasSubstr("part 0 of 2, this rank needs part 0 of 1"));
  EXPECT_THAT(refused([](OptimizerState& s) { s.buckets.pop_back(); }), HasSubstr("[learn].bucket_mb"));
  EXPECT_THAT(refused([](OptimizerState& s) { s.variance.pop_back(); }), HasSubstr("is not whole"));
}

TEST_F(Optimizer, RefusesParametersItCannotHold) {
  std::vector<at::Tensor> mixed = {at::zeros({4}), at::zeros({4}, at::kBFloat16)};
  EXPECT_THAT(message_of([&] { AdamW(mixed, {{0, 2}}, params_, solo_, 1); }), HasSubstr("of one type"));
  std::vector<at::Tensor> doubles = {at::zeros({4}, at::kDouble)};
  EXPECT_THAT(message_of([&] { AdamW(doubles, {{0, 1}}, params_, solo_, 1); }), HasSubstr("fp32 or bf16"));
  EXPECT_THAT(message_of([&] { AdamW({}, {}, params_, solo_, 1); }), HasSubstr("no parameters"));
}

// What runs on GPUs gives what runs on CPUs, to rounding.
TEST(OptimizerUpdate, AtensAndOursAgree) {
  const AdamWStep step{.lr = 1e-3,
                       .beta1 = 0.9,
                       .beta2 = 0.99,
                       .epsilon = 1e-8,
                       .weight_decay = 0.1,
                       .gradient_scale = 0.25,
                       .update = 3};
  const auto stretches = [] {
    std::vector<AdamWStretch> made;
    for (uint64_t i = 0; i < 3; ++i) {
      const std::vector<int64_t> shape = {1000 + 37 * static_cast<int64_t>(i)};
      made.push_back({.weights = toy_values(shape, 4 * i, 0.5),
                      .gradient = toy_values(shape, 4 * i + 1, 0.1),
                      .mean = toy_values(shape, 4 * i + 2, 0.01),
                      .variance = toy_values(shape, 4 * i + 3, 0.01).square(),
                      .decays = i != 1});
    }
    return made;
  };
  const auto ours = stretches();
  const auto atens = stretches();
  update_stretches(ours, step);
  update_by_aten(atens, step);
  for (size_t i = 0; i < ours.size(); ++i) {
    EXPECT_LT(relative_difference({ours[i].weights}, {atens[i].weights}), 2e-7);
    EXPECT_LT(relative_difference({ours[i].mean}, {atens[i].mean}), 2e-7);
    EXPECT_LT(relative_difference({ours[i].variance}, {atens[i].variance}), 2e-7);
    EXPECT_FALSE(at::equal(ours[i].weights, stretches()[i].weights));
  }
}

TEST(OptimizerUpdate, SumsOfSquaresAreFloat64) {
  const at::Tensor values = toy_values({100'003}, 1, 3.0);
  const auto expected = values.to(at::kDouble).square().sum().item<double>();
  EXPECT_NEAR(sum_of_squares(values).item<double>(), expected, 1e-12 * expected);
}

}  // namespace
}  // namespace deepsearch
