#include "learn/network/learner_network.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "learn/network/decoder.h"

namespace deepsearch {

struct LearnerNetwork::Impl {
  explicit Impl(const ModelWeights& weights) : decoder(weights.config, at::Device(at::kCPU)) { decoder.load(weights); }
  Decoder decoder;
};

LearnerNetwork::LearnerNetwork(const ModelWeights& weights) : impl_(std::make_unique<Impl>(weights)) {}
LearnerNetwork::~LearnerNetwork() = default;

std::vector<float> LearnerNetwork::logprobs(const std::vector<Token>& text) const {
  const auto n = static_cast<int64_t>(text.size()) - 1;
  if (n < 1) return {};
  const at::NoGradGuard no_grad;
  at::Tensor tokens = at::empty({1, n + 1}, at::kLong);
  std::copy(text.begin(), text.end(), tokens.data_ptr<int64_t>());
  const at::Tensor hidden = impl_->decoder.hidden(tokens.narrow(1, 0, n), at::arange(n, at::kLong).unsqueeze(0));
  const at::Tensor all = at::log_softmax(impl_->decoder.logits(hidden.squeeze(0)), -1);
  const at::Tensor picked = all.gather(1, tokens.narrow(1, 1, n).view({n, 1})).contiguous();
  const float* values = picked.const_data_ptr<float>();
  return {values, values + n};
}

}  // namespace deepsearch
