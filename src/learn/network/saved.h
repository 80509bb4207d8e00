// C++ objects in an autograd node's saved data.
#pragma once

#include <utility>

#include <torch/csrc/autograd/custom_function.h>

namespace deepsearch {

template <class T>
struct Holder : torch::CustomClassHolder {
  explicit Holder(T one) : value(std::move(one)) {}
  T value;
};

template <class T>
c10::IValue hold(T value) {
  return c10::IValue::make_capsule(c10::make_intrusive<Holder<T>>(std::move(value)));
}

// What hold<T>() was given.
template <class T>
T held(const c10::IValue& value) {
  return static_cast<const Holder<T>&>(*value.toCapsule()).value;
}

}  // namespace deepsearch
