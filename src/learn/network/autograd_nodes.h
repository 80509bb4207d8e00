// Autograd nodes of the decoder that are not arithmetic.
#pragma once

#include <functional>

#include <ATen/core/Tensor.h>

namespace deepsearch {

// x; in backward, before its gradient goes on, calls `passed`. Whatever was made of x afterwards has its gradients by
// then, the leaves' too: LibTorch runs what is ready in the reverse order of its making, and leaves first.
at::Tensor when_gradient_passes(const at::Tensor& x, std::function<void()> passed);

// make(x) without keeping anything but x: backward makes it again. The same gradients, bit for bit, where make gives
// the same bits twice. x must require grad.
at::Tensor checkpointed(const at::Tensor& x, std::function<at::Tensor(const at::Tensor&)> make);

// Rows `tokens` of weight. Backward adds straight into weight.grad(), which is as large as the vocabulary, and then
// calls `passed`.
at::Tensor embed(const at::Tensor& weight, const at::Tensor& tokens, std::function<void()> passed);

}  // namespace deepsearch
