// Parameters and gradients without a network, and AdamW as the paper writes it, in float64: what the optimiser's tests
// compare with.
#pragma once

#include <cmath>
#include <cstdint>
#include <functional>
#include <random>
#include <vector>

#include <ATen/ATen.h>

#include "learn/optimizer.h"

namespace deepsearch::testing {

// Matrices and vectors, small and large against a bucket, in five groups.
inline const std::vector<std::vector<int64_t>> kToyShapes = {{33, 17}, {17},     {64, 40}, {40},
                                                             {5},      {90, 33}, {1},      {7, 3}};
inline const std::vector<ParameterRange> kToyGroups = {{0, 1}, {1, 2}, {2, 5}, {5, 7}, {7, 8}};

inline at::Tensor toy_values(const std::vector<int64_t>& shape, uint64_t seed, double scale) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal(0.0F, static_cast<float>(scale));
  at::Tensor values = at::empty(shape);
  for (int64_t i = 0; i < values.numel(); ++i) values.data_ptr<float>()[i] = normal(random);
  return values;
}

inline std::vector<at::Tensor> toy_parameters(at::ScalarType type = at::kFloat) {
  std::vector<at::Tensor> parameters;
  for (size_t i = 0; i < kToyShapes.size(); ++i) {
    parameters.push_back(toy_values(kToyShapes[i], 100 + i, 0.5).to(type).set_requires_grad(true));
  }
  return parameters;
}

// Of one micro-batch of one update.
inline at::Tensor toy_gradient(size_t parameter, int update, int microbatch) {
  const uint64_t seed =
      1 + parameter + 1000 * static_cast<uint64_t>(microbatch) + 1000000 * static_cast<uint64_t>(update);
  return toy_values(kToyShapes[parameter], seed, update % 2 == 0 ? 0.02 : 0.002);
}

inline LearnParams toy_learn_params(bool shard) {
  LearnParams params;
  params.optimizer = {.lr = 1e-3, .warmup_steps = 3, .schedule = Schedule::kCosine, .weight_decay = 0.1};
  params.shard_optimizer = shard;
  params.bucket_mb = 0.004;  // 1000 values
  return params;
}

// What a rank does for a minibatch; `mine`: its micro-batches. `between` is called as a network would between layers.
// `spoil`: a NaN in the first micro-batch.
inline AdamW::Update toy_update(AdamW& optimizer, std::vector<at::Tensor>& parameters, int update,
                                const std::vector<int>& mine, const std::function<void()>& between,
                                bool spoil = false) {
  optimizer.zero_grad();
  for (size_t m = 0; m < mine.size(); ++m) {
    const bool last = m + 1 == mine.size();
    for (size_t g = kToyGroups.size(); g-- > 0;) {
      for (int64_t p = kToyGroups[g].begin; p < kToyGroups[g].end; ++p) {
        const auto i = static_cast<size_t>(p);
        parameters[i].mutable_grad().add_(toy_gradient(i, update, mine[m]).to(parameters[i].scalar_type()));
        if (spoil && m == 0 && i == 3) parameters[i].mutable_grad()[2] = std::nan("");
      }
      if (last) optimizer.gradients_ready(static_cast<int>(g));
      if (between) between();
    }
    if (!last) optimizer.accumulate();
  }
  return optimizer.step();
}

// Algorithm 2 of Loshchilov & Hutter (2019) on the sum of all micro-batches' gradients, with the norm clipped.
class PlainAdamW {
 public:
  explicit PlainAdamW(const OptimizerParams& params) : params_(params) {
    for (const at::Tensor& p : toy_parameters()) {
      weights_.push_back(p.detach().to(at::kDouble));
      mean_.push_back(at::zeros_like(weights_.back()));
      variance_.push_back(at::zeros_like(weights_.back()));
    }
  }
  void update(int update, int microbatches, double lr) {
    std::vector<at::Tensor> gradients;
    double squares = 0;
    for (size_t i = 0; i < weights_.size(); ++i) {
      gradients.push_back(at::zeros_like(weights_[i]));
      for (int m = 0; m < microbatches; ++m) gradients[i].add_(toy_gradient(i, update, m).to(at::kDouble));
      squares += gradients[i].square().sum().item<double>();
    }
    norm_ = std::sqrt(squares);
    const double scale = norm_ > params_.max_grad_norm ? params_.max_grad_norm / (norm_ + 1e-6) : 1;
    ++updates_;
    for (size_t i = 0; i < weights_.size(); ++i) {
      const at::Tensor g = gradients[i] * scale;
      mean_[i] = params_.beta1 * mean_[i] + (1 - params_.beta1) * g;
      variance_[i] = params_.beta2 * variance_[i] + (1 - params_.beta2) * g * g;
      const at::Tensor m = mean_[i] / (1 - std::pow(params_.beta1, updates_));
      const at::Tensor v = variance_[i] / (1 - std::pow(params_.beta2, updates_));
      const double decay = weights_[i].dim() >= 2 ? params_.weight_decay : 0;
      weights_[i] = weights_[i] - lr * (m / (v.sqrt() + params_.epsilon) + decay * weights_[i]);
    }
  }
  const std::vector<at::Tensor>& weights() const { return weights_; }
  double norm() const { return norm_; }

 private:
  OptimizerParams params_;
  std::vector<at::Tensor> weights_, mean_, variance_;
  double norm_ = 0;
  int updates_ = 0;
};

// Largest |difference| over largest |value|, over all parameters.
inline double relative_difference(const std::vector<at::Tensor>& a, const std::vector<at::Tensor>& b) {
  double worst = 0;
  double largest = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const at::Tensor x = a[i].detach().to(at::kDouble);
    const at::Tensor y = b[i].detach().to(at::kDouble);
    worst = std::max(worst, (x - y).abs().max().item<double>());
    largest = std::max(largest, y.abs().max().item<double>());
  }
  return worst / largest;
}

inline std::vector<at::Tensor> copy_of(const std::vector<at::Tensor>& parameters) {
  std::vector<at::Tensor> copies;
  for (const at::Tensor& p : parameters) copies.push_back(p.detach().clone());
  return copies;
}

inline bool same_bits(const std::vector<at::Tensor>& a, const std::vector<at::Tensor>& b) {
  for (size_t i = 0; i < a.size(); ++i) {
    if (!at::equal(a[i].detach(), b[i].detach())) return false;
  }
  return true;
}

}  // namespace deepsearch::testing
