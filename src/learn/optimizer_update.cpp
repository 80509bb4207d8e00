#include "learn/optimizer_update.h"

#include <algorithm>
#include <cmath>

#include <ATen/Parallel.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/scalar_tensor.h>
#include <ATen/ops/zeros.h>

namespace deepsearch {
namespace {

constexpr int64_t kGrain = 32768;  // values a thread takes at a time

struct Factors {
  float beta1, beta2, rest1, rest2, epsilon, scale;
  float step;    // lr / (1 − β₁ᵗ)
  float root;    // 1 / √(1 − β₂ᵗ)
  float shrink;  // 1 − lr · decay
};

Factors factors(const AdamWStep& step, bool decays) {
  const auto t = static_cast<double>(step.update);
  const auto f = [](double value) { return static_cast<float>(value); };
  return {.beta1 = f(step.beta1),
          .beta2 = f(step.beta2),
          .rest1 = f(1 - step.beta1),
          .rest2 = f(1 - step.beta2),
          .epsilon = f(step.epsilon),
          .scale = f(step.gradient_scale),
          .step = f(step.lr / (1 - std::pow(step.beta1, t))),
          .root = f(1 / std::sqrt(1 - std::pow(step.beta2, t))),
          .shrink = f(decays ? 1 - step.lr * step.weight_decay : 1.0)};
}

void update_values(float* __restrict weights, const float* __restrict gradient, float* __restrict mean,
                   float* __restrict variance, int64_t count, const Factors& f) {
  for (int64_t i = 0; i < count; ++i) {
    const float g = gradient[i] * f.scale;
    const float m = f.beta1 * mean[i] + f.rest1 * g;
    const float v = f.beta2 * variance[i] + f.rest2 * (g * g);
    mean[i] = m;
    variance[i] = v;
    weights[i] = weights[i] * f.shrink - f.step * m / (std::sqrt(v) * f.root + f.epsilon);
  }
}

void update_on_cpu(const AdamWStretch& stretch, const AdamWStep& step) {
  const Factors f = factors(step, stretch.decays);
  auto* weights = stretch.weights.data_ptr<float>();
  const auto* gradient = stretch.gradient.const_data_ptr<float>();
  auto* mean = stretch.mean.data_ptr<float>();
  auto* variance = stretch.variance.data_ptr<float>();
  at::parallel_for(0, stretch.weights.numel(), kGrain, [&](int64_t begin, int64_t end) {
    update_values(weights + begin, gradient + begin, mean + begin, variance + begin, end - begin, f);
  });
}

template <class Sum, class Gradient>
void add_on_cpu(Sum* __restrict sums, Gradient* __restrict gradients, int64_t n, bool first) {
  at::parallel_for(0, n, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      sums[i] = (first ? Sum{0} : sums[i]) + static_cast<Sum>(gradients[i]);
      gradients[i] = Gradient{0};
    }
  });
}

}  // namespace

void update_by_aten(const std::vector<AdamWStretch>& stretches, const AdamWStep& step) {
  for (const bool decays : {true, false}) {
    std::vector<at::Tensor> weights;
    std::vector<at::Tensor> gradients;
    std::vector<at::Tensor> means;
    std::vector<at::Tensor> variances;
    for (const AdamWStretch& stretch : stretches) {
      if (stretch.decays != decays) continue;
      weights.push_back(stretch.weights);
      gradients.push_back(stretch.gradient);
      if (step.gradient_scale != 1) gradients.back().mul_(step.gradient_scale);
      means.push_back(stretch.mean);
      variances.push_back(stretch.variance);
    }
    if (weights.empty()) continue;
    const at::Tensor count = at::full({}, static_cast<double>(step.update), weights[0].options());
    const std::vector<at::Tensor> counts(weights.size(), count);
    at::_fused_adamw_(weights, gradients, means, variances, /*max_exp_avg_sqs=*/{}, counts, step.lr, step.beta1,
                      step.beta2, decays ? step.weight_decay : 0.0, step.epsilon, /*amsgrad=*/false,
                      /*maximize=*/false);
  }
}

void update_stretches(const std::vector<AdamWStretch>& stretches, const AdamWStep& step) {
  if (stretches.empty()) return;
  if (!stretches[0].weights.is_cpu()) return update_by_aten(stretches, step);
  for (const AdamWStretch& stretch : stretches) update_on_cpu(stretch, step);
}

at::Tensor sum_of_squares(const at::Tensor& values) {
  if (!values.is_cpu()) return values.to(at::kDouble).square_().sum();
  const auto* data = values.const_data_ptr<float>();
  const int64_t n = values.numel();
  std::vector<double> partial(static_cast<size_t>((n + kGrain - 1) / kGrain));
  at::parallel_for(0, static_cast<int64_t>(partial.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t chunk = begin; chunk < end; ++chunk) {
      constexpr int64_t kLanes = 8;
      double lanes[kLanes] = {};
      const int64_t last = std::min(n, (chunk + 1) * kGrain);
      int64_t i = chunk * kGrain;
      for (; i + kLanes <= last; i += kLanes) {
        for (int64_t lane = 0; lane < kLanes; ++lane) {
          const double value = data[i + lane];
          lanes[lane] += value * value;
        }
      }
      for (; i < last; ++i) lanes[0] += static_cast<double>(data[i]) * data[i];
      for (const double lane : lanes) partial[static_cast<size_t>(chunk)] += lane;
    }
  });
  double sum = 0;
  for (const double one : partial) sum += one;
  return at::scalar_tensor(sum, at::TensorOptions().dtype(at::kDouble));
}

void total_gradients(const at::Tensor& sums, const at::Tensor& gradients) {
  if (!sums.is_cpu()) {
    gradients.copy_(sums.add(gradients));
    return;
  }
  const auto* sum = sums.const_data_ptr<double>();
  auto* gradient = gradients.data_ptr<float>();
  at::parallel_for(0, sums.numel(), kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      gradient[i] = static_cast<float>(sum[i] + static_cast<double>(gradient[i]));
    }
  });
}

void add_gradients(const at::Tensor& sums, const at::Tensor& gradients, bool first) {
  const int64_t n = sums.numel();
  if (sums.is_cpu() && sums.scalar_type() == at::kDouble && gradients.scalar_type() == at::kFloat) {
    return add_on_cpu(sums.data_ptr<double>(), gradients.data_ptr<float>(), n, first);
  }
  if (sums.is_cpu() && sums.scalar_type() == at::kFloat && gradients.scalar_type() == at::kBFloat16) {
    return add_on_cpu(sums.data_ptr<float>(), gradients.data_ptr<at::BFloat16>(), n, first);
  }
  first ? sums.copy_(gradients) : sums.add_(gradients);
  gradients.zero_();
}

}  // namespace deepsearch
