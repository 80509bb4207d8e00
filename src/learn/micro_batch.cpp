#include "learn/micro_batch.h"

#include <algorithm>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "core/activity.h"

namespace deepsearch {

namespace {

template <class T>
at::Tensor to_device(const std::vector<T>& values, at::ScalarType type, const at::Device& device) {
  const at::Tensor host = at::empty({static_cast<int64_t>(values.size())}, c10::CppTypeToScalarType<T>::value);
  std::copy(values.begin(), values.end(), host.mutable_data_ptr<T>());
  return host.to(device, type);
}

}  // namespace

MicroBatch make_micro_batch(const std::vector<WeightedRow>& rows, Packing packing, Token pad,
                            const at::Device& device) {
  MicroBatch batch;
  batch.packed = packing == Packing::kTree ? pack_rows(rows) : pad_rows(rows, pad);
  const PackedRows& packed = batch.packed;
  batch.tokens = to_device(packed.tokens, at::kLong, device);
  batch.positions = to_device(packed.positions, at::kLong, device);
  if (packing == Packing::kTree) {
    batch.plan = make_attention_plan(packed.segments, device);
    batch.pairs = static_cast<double>(batch.plan->pairs());
  } else {
    batch.tokens = batch.tokens.view({static_cast<int64_t>(rows.size()), packed.width});
    batch.positions = batch.positions.unsqueeze(0);
    const auto width = static_cast<double>(packed.width);
    batch.pairs = static_cast<double>(rows.size()) * width * (width + 1) / 2;
  }
  batch.outputs = to_device(packed.outputs, at::kLong, device);
  batch.target_outputs = to_device(packed.target_outputs, at::kLong, device);
  batch.target_tokens = to_device(packed.target_tokens, at::kLong, device);
  batch.term_targets = to_device(packed.term_targets, at::kLong, device);
  batch.term_outputs = batch.target_outputs.index_select(0, batch.term_targets);
  batch.advantages = to_device(packed.advantages, at::kFloat, device);
  batch.behaviour = to_device(packed.behaviour, at::kFloat, device);
  batch.weights = to_device(packed.weights, at::kDouble, device);
  batch.counts = to_device(packed.counts, at::kFloat, device);
  return batch;
}

const at::Tensor& head_of(const Decoder& decoder) {
  return decoder.config().tie_embeddings ? decoder.parameters().front() : decoder.parameters().back();
}

at::Tensor output_states(const Decoder& decoder, const MicroBatch& batch) {
  const at::Tensor hidden = batch.plan ? decoder.hidden(batch.tokens, batch.positions, batch.plan)
                                       : decoder.hidden(batch.tokens, batch.positions.expand_as(batch.tokens));
  report_progress();
  return hidden.reshape({-1, hidden.size(-1)}).index_select(0, batch.outputs);
}

HeadInputs head_inputs(const Decoder& decoder, const MicroBatch& batch, const at::Tensor& states, double temperature) {
  return {.hidden = states,
          .weight = head_of(decoder),
          .target_outputs = batch.target_outputs,
          .target_tokens = batch.target_tokens,
          .temperature = temperature};
}

at::Tensor term_logprobs(const Decoder& decoder, const MicroBatch& batch, double temperature) {
  const at::NoGradGuard no_grad;
  const HeadValues values = head_values(head_inputs(decoder, batch, output_states(decoder, batch), temperature));
  return values.logprobs.to(at::kFloat).index_select(0, batch.term_targets);
}

}  // namespace deepsearch
