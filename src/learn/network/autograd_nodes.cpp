// GCC 12 reports null pointers inside LibTorch's inlined autograd templates, which it instantiates here.
#pragma GCC diagnostic ignored "-Wnull-dereference"

#include "learn/network/autograd_nodes.h"

#include <utility>

#include <ATen/ops/embedding.h>
#include <ATen/ops/embedding_dense_backward.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

namespace deepsearch {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// A C++ object in a node's saved data.
template <class T>
struct Holder : torch::CustomClassHolder {
  explicit Holder(T one) : value(std::move(one)) {}
  T value;
};
template <class T>
c10::IValue hold(T value) {
  return c10::IValue::make_capsule(c10::make_intrusive<Holder<T>>(std::move(value)));
}
template <class T>
T held(const c10::IValue& value) {
  return static_cast<const Holder<T>&>(*value.toCapsule()).value;
}

using Notice = std::function<void()>;
using Make = std::function<at::Tensor(const at::Tensor&)>;

class Mark : public torch::autograd::Function<Mark> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, Notice passed) {
    context->saved_data["passed"] = hold(std::move(passed));
    return x.view_as(x);
  }
  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    held<Notice>(context->saved_data["passed"])();
    return {grads[0], at::Tensor()};
  }
};

class Checkpoint : public torch::autograd::Function<Checkpoint> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const Make& make) {
    context->save_for_backward({x});
    context->saved_data["make"] = hold(make);
    return make(x.detach());
  }
  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    const at::Tensor x = context->get_saved_variables()[0].detach().requires_grad_(true);
    at::Tensor again;
    {
      const c10::AutoGradMode with_grad(true);
      again = held<Make>(context->saved_data["make"])(x);
    }
    torch::autograd::backward({again}, {grads[0]});
    return {x.grad(), at::Tensor()};
  }
};

class Embed : public torch::autograd::Function<Embed> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& weight, const at::Tensor& tokens,
                            Notice passed) {
    context->save_for_backward({weight, tokens});
    context->saved_data["passed"] = hold(std::move(passed));
    return at::embedding(weight, tokens);
  }
  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor& weight = saved[0];
    at::Tensor& sum = weight.mutable_grad();
    if (weight.is_cpu()) {
      if (!sum.defined()) sum = at::zeros_like(weight);
      sum.index_add_(0, saved[1], grads[0]);
    } else {  // index_add_'s order of summation is not fixed there
      const at::Tensor one = at::embedding_dense_backward(grads[0], saved[1], weight.size(0), -1, false);
      if (sum.defined()) {
        sum.add_(one);
      } else {
        sum = one;
      }
    }
    held<Notice>(context->saved_data["passed"])();
    return {at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

}  // namespace

at::Tensor when_gradient_passes(const at::Tensor& x, std::function<void()> passed) {
  return Mark::apply(x, std::move(passed));
}

at::Tensor checkpointed(const at::Tensor& x, std::function<at::Tensor(const at::Tensor&)> make) {
  return Checkpoint::apply(x, std::move(make));
}

at::Tensor embed(const at::Tensor& weight, const at::Tensor& tokens, std::function<void()> passed) {
  return Embed::apply(weight, tokens, std::move(passed));
}

}  // namespace deepsearch
