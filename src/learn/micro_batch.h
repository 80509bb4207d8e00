// A micro-batch on the device the network runs on, and the network's passes over it.
#pragma once

#include <memory>
#include <vector>

#include <ATen/core/Tensor.h>

#include "learn/head.h"
#include "learn/network/attention_plan.h"
#include "learn/network/decoder.h"
#include "learn/packing.h"

namespace deepsearch {

struct MicroBatch {
  PackedRows packed;  // on the host: what the tensors were made from
  at::Tensor tokens;  // int64: [tokens], or [rows, width] where rows are padded
  at::Tensor positions;
  std::shared_ptr<const AttentionPlan> plan;  // null where rows are padded
  at::Tensor outputs;                         // int64 [outputs]: places in the flat batch
  at::Tensor target_outputs, target_tokens;   // int64 [targets]
  at::Tensor term_targets, term_outputs;      // int64 [terms]
  at::Tensor advantages, behaviour, counts;   // fp32 [terms]
  at::Tensor weights;                         // fp64 [terms]
  at::Tensor recomputed;                      // fp32 [terms]; undefined until somebody computes them
  double pairs = 0;                           // query-key pairs

  int64_t computed_tokens() const { return tokens.numel(); }
};

MicroBatch make_micro_batch(const std::vector<WeightedRow>& rows, Packing packing, Token pad, const at::Device& device);

// The output head's matrix, [vocab, hidden]: one of the decoder's parameters.
const at::Tensor& head_of(const Decoder& decoder);

// Normed hidden states at the batch's outputs, [outputs, hidden], with their graph.
at::Tensor output_states(const Decoder& decoder, const MicroBatch& batch);

HeadInputs head_inputs(const Decoder& decoder, const MicroBatch& batch, const at::Tensor& states, double temperature);

// Log-probs of the batch's terms, fp32 [terms], without gradients.
at::Tensor term_logprobs(const Decoder& decoder, const MicroBatch& batch, double temperature);

}  // namespace deepsearch
