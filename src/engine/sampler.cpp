#include "engine/sampler.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "engine/native/kernels.h"

namespace deepsearch {

using native::best_kernels;
using native::kLanes;
using native::round_up;

SampledToken Sampler::sample(std::span<const float> logits, double temperature, double top_p, double u) {
  n_ = logits.size();
  if (n_ == 0) failure("sampler: no logits");
  const auto padded = static_cast<size_t>(round_up(static_cast<int64_t>(n_), kLanes));
  logits_.resize(padded);
  weights_.resize(padded);
  std::copy(logits.begin(), logits.end(), logits_.begin());
  std::fill(logits_.begin() + static_cast<std::ptrdiff_t>(n_), logits_.end(), logits[0]);
  largest_ = *std::max_element(logits_.begin(), logits_.begin() + static_cast<std::ptrdiff_t>(n_));

  best_kernels().exp_shifted(logits_.data(), static_cast<int64_t>(n_), largest_, 1.0F, weights_.data());
  // Z = Σ e^(l − m); H = ln Z − Σ e^(l − m)(l − m)/Z.
  double z = 0;
  double weighted = 0;
  for (size_t i = 0; i < n_; ++i) {
    z += weights_[i];
    weighted += static_cast<double>(weights_[i]) * (static_cast<double>(logits_[i]) - largest_);
  }
  if (!std::isfinite(z) || !std::isfinite(weighted)) {
    failure("sampler: the model's logits are not finite; its weights have diverged or are damaged");
  }
  const double log_z = std::log(z);
  const size_t token = pick(temperature, top_p, u);
  return {.token = static_cast<Token>(token),
          .logprob = static_cast<float>(static_cast<double>(logits_[token]) - largest_ - log_z),
          .entropy = static_cast<float>(std::max(0.0, log_z - weighted / z))};
}

// weights_ holds the softmax numerators at temperature 1 on entry.
size_t Sampler::pick(double temperature, double top_p, double u) {
  if (temperature <= 0) {
    return static_cast<size_t>(std::find(logits_.begin(), logits_.end(), largest_) - logits_.begin());
  }
  if (temperature != 1.0) {
    best_kernels().exp_shifted(logits_.data(), static_cast<int64_t>(n_), largest_,
                               static_cast<float>(1.0 / temperature), weights_.data());
  }
  double total = 0;
  if (top_p < 1.0) {
    total = keep_nucleus(top_p);
  } else {
    for (size_t i = 0; i < n_; ++i) total += weights_[i];
  }
  const double target = u * total;
  double sum = 0;
  size_t last = 0;
  for (size_t i = 0; i < n_; ++i) {
    if (weights_[i] <= 0) continue;
    sum += weights_[i];
    last = i;
    if (sum > target) break;
  }
  return last;  // rounding can leave sum at target: then the last possible token
}

// Sets the weights outside the nucleus to 0; returns the sum of those kept, taken in token order.
double Sampler::keep_nucleus(double top_p) {
  double total = 0;
  order_.clear();
  for (size_t i = 0; i < n_; ++i) {
    total += weights_[i];
    if (weights_[i] > 0) order_.push_back(static_cast<uint32_t>(i));
  }
  // A heap: the nucleus is usually far smaller than the vocabulary.
  const auto less_probable = [this](uint32_t a, uint32_t b) {
    return weights_[a] != weights_[b] ? weights_[a] < weights_[b] : a > b;
  };
  std::make_heap(order_.begin(), order_.end(), less_probable);
  auto end = order_.end();
  double kept = 0;
  do {
    std::pop_heap(order_.begin(), end, less_probable);
    --end;
    kept += weights_[*end];
  } while (end != order_.begin() && kept < top_p * total);
  std::for_each(order_.begin(), end, [this](uint32_t i) { weights_[i] = 0; });
  double sum = 0;
  for (size_t i = 0; i < n_; ++i) sum += weights_[i];
  return sum;
}

}  // namespace deepsearch
