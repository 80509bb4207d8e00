// The arithmetic of one AdamW update over a stretch of values, without its bookkeeping. Private to the optimiser.
#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

namespace deepsearch {

// Of one update; doubles here, floats where they are used.
struct AdamWStep {
  double lr = 0;
  double beta1 = 0;
  double beta2 = 0;
  double epsilon = 0;
  double weight_decay = 0;
  double gradient_scale = 1;  // clipping
  int64_t update = 1;         // counted from 1, for the moments' bias
};

// Flat tensors of one length. All fp32, on one device.
struct AdamWStretch {
  at::Tensor weights;
  at::Tensor gradient;
  at::Tensor mean;
  at::Tensor variance;
  bool decays = false;
};

// In place; elsewhere than on the CPU the gradient may be scaled in its place too. On the CPU one pass over memory, on
// all threads, the same bits for any number of them; elsewhere ATen's.
void update_stretches(const std::vector<AdamWStretch>& stretches, const AdamWStep& step);
// ATen's fused AdamW on any device: what the above takes elsewhere.
void update_by_aten(const std::vector<AdamWStretch>& stretches, const AdamWStep& step);

// Sum of squares in float64, the same bits for any number of threads. [] float64, on the tensor's device.
at::Tensor sum_of_squares(const at::Tensor& values);

// gradients = sums + gradients, rounded once. Sums float64, gradients fp32.
void total_gradients(const at::Tensor& sums, const at::Tensor& gradients);

// sums += gradients and gradients = 0 (`first`: sums = gradients). Sums float64 or fp32, gradients fp32 or bf16.
void add_gradients(const at::Tensor& sums, const at::Tensor& gradients, bool first);

}  // namespace deepsearch
