// Linear maps of the packed decoder.
#pragma once

#include <optional>
#include <vector>

#include <ATen/core/Tensor.h>

namespace deepsearch {

struct Affine {
  at::Tensor weight;  // [outputs, inputs], a leaf
  at::Tensor bias;    // [outputs], a leaf, or undefined
};

// The maps' outputs beside each other, [T, sum of outputs], of x [T, inputs]; plus `residual` of that shape if defined.
// fp32 on the CPU: own products (cpu/gemm.h); backward adds the parameters' gradients straight into .grad(). Else ATen.
at::Tensor linear(const at::Tensor& x, const std::vector<Affine>& maps, const at::Tensor& residual = {});

}  // namespace deepsearch
