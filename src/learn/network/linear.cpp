// GCC 12 reports null pointers inside LibTorch's inlined autograd templates, which it instantiates here.
#pragma GCC diagnostic ignored "-Wnull-dereference"

#include "learn/network/linear.h"

#include <optional>

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/linear.h>
#include <torch/csrc/autograd/custom_function.h>

#include "learn/network/cpu/gemm.h"
#include "learn/network/saved.h"

namespace deepsearch {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// weight.grad (+)= gᵀ · x for the map whose outputs begin at column `first` of g.
void add_weight_gradient(const Affine& map, const at::Tensor& x, const at::Tensor& g, int64_t first) {
  at::Tensor& sum = map.weight.mutable_grad();
  const bool add = sum.defined();
  if (!add) sum = at::empty_like(map.weight);
  float* to = sum.mutable_data_ptr<float>();
  network::gemm({.m = map.weight.size(0),
                 .n = map.weight.size(1),
                 .k = x.size(0),
                 .a = {g.const_data_ptr<float>() + first, 1, g.size(1)},
                 .b = {x.const_data_ptr<float>(), x.size(1), 1},
                 .c = to,
                 .c_stride = sum.stride(0),
                 .plus = add ? to : nullptr,
                 .plus_stride = sum.stride(0)});
  if (!map.bias.defined()) return;
  const at::Tensor of_bias = g.narrow(1, first, map.weight.size(0)).sum(0);
  at::Tensor& bias_sum = map.bias.mutable_grad();
  if (bias_sum.defined()) {
    bias_sum.add_(of_bias);
  } else {
    bias_sum = of_bias;
  }
}

class Linear : public torch::autograd::Function<Linear> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& input,
                            const std::optional<at::Tensor>& given_residual, const std::vector<Affine>& maps) {
    const at::Tensor x = input.contiguous();
    const at::Tensor residual = given_residual ? given_residual->contiguous() : at::Tensor();
    int64_t width = 0;
    for (const Affine& map : maps) width += map.weight.size(0);
    const at::Tensor out = at::empty({x.size(0), width}, x.options());
    int64_t first = 0;
    for (const Affine& map : maps) {
      const int64_t inputs = map.weight.size(1);
      network::Gemm product{.m = x.size(0),
                            .n = map.weight.size(0),
                            .k = inputs,
                            .a = {x.const_data_ptr<float>(), inputs, 1},
                            .b = {map.weight.const_data_ptr<float>(), 1, inputs},
                            .c = out.mutable_data_ptr<float>() + first,
                            .c_stride = width};
      if (map.bias.defined()) {
        product.plus = map.bias.const_data_ptr<float>();
      } else if (residual.defined()) {
        product.plus = residual.const_data_ptr<float>() + first;
        product.plus_stride = width;
      }
      network::gemm(product);
      if (map.bias.defined() && residual.defined()) {
        out.narrow(1, first, product.n).add_(residual.narrow(1, first, product.n));
      }
      first += product.n;
    }
    context->save_for_backward({x});
    context->saved_data["maps"] = hold(maps);
    context->saved_data["residual"] = residual.defined();
    return out;
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    const at::Tensor x = context->get_saved_variables()[0];
    const at::Tensor g = grads[0].contiguous();
    const auto maps = held<std::vector<Affine>>(context->saved_data["maps"]);
    const at::Tensor dx = at::empty_like(x);
    float* to = dx.mutable_data_ptr<float>();
    int64_t first = 0;
    for (const Affine& map : maps) {
      const int64_t outputs = map.weight.size(0);
      const int64_t inputs = map.weight.size(1);
      network::gemm({.m = x.size(0),
                     .n = inputs,
                     .k = outputs,
                     .a = {g.const_data_ptr<float>() + first, g.size(1), 1},
                     .b = {map.weight.const_data_ptr<float>(), inputs, 1},
                     .c = to,
                     .c_stride = inputs,
                     .plus = first > 0 ? to : nullptr,
                     .plus_stride = inputs});
      add_weight_gradient(map, x, g, first);
      first += outputs;
    }
    return {dx, context->saved_data["residual"].toBool() ? g : at::Tensor(), at::Tensor()};
  }
};

}  // namespace

at::Tensor linear(const at::Tensor& x, const std::vector<Affine>& maps, const at::Tensor& residual) {
  if (x.is_cpu() && x.scalar_type() == at::kFloat) {
    return Linear::apply(x, residual.defined() ? std::optional(residual) : std::nullopt, maps);
  }
  std::vector<at::Tensor> weights;
  std::vector<at::Tensor> biases;
  for (const Affine& map : maps) {
    weights.push_back(map.weight);
    if (map.bias.defined()) biases.push_back(map.bias);
  }
  std::optional<at::Tensor> bias;
  if (!biases.empty()) bias = at::cat(biases);
  const at::Tensor out = at::linear(x, weights.size() == 1 ? weights[0] : at::cat(weights), bias);
  return residual.defined() ? residual + out : out;
}

}  // namespace deepsearch
