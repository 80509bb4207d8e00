#include "learn/policy_gradient.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include <ATen/ATen.h>

namespace deepsearch {

ChunkLoss policy_chunk_loss(const MicroBatch& batch, const at::Tensor& reference, const LearnParams& params,
                            double divisor, std::function<void(const ChunkTerms&)> report) {
  return [&batch, reference, &params, divisor, report = std::move(report)](
             int64_t first_target, int64_t last_target, int64_t first_output, const HeadValues& values) {
    const std::vector<int32_t>& targets = batch.packed.term_targets;
    const auto place = [&](int64_t target) {
      return std::lower_bound(targets.begin(), targets.end(), target) - targets.begin();
    };
    ChunkTerms chunk;
    chunk.terms = {place(first_target), place(last_target)};
    const auto of = [&](const at::Tensor& all) {
      return all.defined() ? all.narrow(0, chunk.terms.first, chunk.terms.size()) : at::Tensor();
    };
    const at::Tensor logprobs = values.logprobs.detach().requires_grad_(true);
    const at::Tensor entropies = values.entropies.detach().requires_grad_(params.entropy_coef != 0);
    LossInputs inputs;
    inputs.logprobs = logprobs.index_select(0, of(batch.term_targets) - first_target);
    inputs.entropies = entropies.index_select(0, of(batch.term_outputs) - first_output);
    inputs.engine = of(batch.behaviour);
    inputs.recomputed = of(batch.recomputed);
    inputs.reference = of(reference);
    inputs.advantages = of(batch.advantages);
    chunk.loss = term_losses(inputs, params);
    const at::Tensor total = (chunk.loss.loss * of(batch.weights)).sum() / divisor;
    total.backward();
    HeadGradients gradients{logprobs.grad(), entropies.grad()};
    if (!gradients.logprobs.defined()) gradients.logprobs = at::zeros_like(values.logprobs);
    chunk.finite = std::isfinite(total.item<double>());
    // A loss can be infinite and its gradient not.
    if (!chunk.finite) gradients.logprobs.fill_(std::numeric_limits<float>::quiet_NaN());
    chunk.logprobs = inputs.logprobs.detach();
    chunk.entropies = inputs.entropies.detach();
    report(chunk);
    return gradients;
  };
}

}  // namespace deepsearch
