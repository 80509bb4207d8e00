// The output head with log-probs and entropies, in chunks of rows: logits of a long batch over a large vocabulary never
// lie in memory all at once. A chunk's loss is computed and its gradients taken back through the logits before the next
// chunk is begun, so nothing is computed twice. (Liger Kernel's fused linear cross-entropy, Hsu et al. 2024, does the
// same for cross-entropy.)
//
// Any device and dtype; on the CPU in fp32 the passes over the logits are the engine's SIMD kernels. Softmax and what
// follows is in fp32 at least.
#pragma once

#include <cstdint>
#include <functional>

#include <ATen/core/Tensor.h>

namespace deepsearch {

struct HeadInputs {
  at::Tensor hidden;          // [outputs, hidden], compute dtype
  at::Tensor weight;          // [vocab, hidden], compute dtype
  at::Tensor target_outputs;  // int64 [targets], ascending
  at::Tensor target_tokens;   // int64 [targets]
  double temperature = 1.0;   // logits are divided by it
  int64_t chunk_values = 0;   // logits of a chunk, at most (but a row at least); 0: by device
};

struct HeadValues {
  at::Tensor logprobs;   // [targets], fp32 (fp64 for fp64 inputs)
  at::Tensor entropies;  // [outputs], of the whole softmax, nats
};

// Without gradients.
HeadValues head_values(const HeadInputs& inputs);

struct HeadGradients {
  at::Tensor logprobs;   // [targets of the chunk]: ∂loss/∂log-prob
  at::Tensor entropies;  // [outputs of the chunk]: ∂loss/∂entropy; undefined: zero
};

// What a chunk's log-probs are worth: called once a chunk, in order, with the targets [first, last) it holds.
using ChunkLoss = std::function<HeadGradients(int64_t first_target, int64_t last_target, int64_t first_output,
                                              const HeadValues& values)>;

// Returns ∂loss/∂hidden, [outputs, hidden], and adds ∂loss/∂weight to weight.grad(), which must be there.
at::Tensor head_backward(const HeadInputs& inputs, const ChunkLoss& loss);

}  // namespace deepsearch
