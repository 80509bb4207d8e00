// Decoder: the Llama network and its relatives in LibTorch with gradients, used for training (learn/) and as the
// reference that the engines' own kernels are compared with. Numerically transformers' LlamaForCausalLM,
// Qwen2ForCausalLM and Qwen3ForCausalLM (tests/oracle/model_oracle.py).
//
//   x = embed(tokens)                                                        [B, T, hidden]
//   per layer:  x += o_proj(attention(rotate(q, k), v)),  q, k, v of rms_norm(x)
//               with biases where the family has them; Qwen3 normalises each head of q and k before it is rotated
//               x += down_proj(silu(gate_proj(n)) · up_proj(n)),  n = rms_norm(x)
//   logits = head(rms_norm(x))                                               [B, T, vocab]
//
// The parameters are separate leaf tensors, as named in the weight file; q/k/v and gate/up are joined for one
// matrix product each per call. One thread per object; LibTorch's own threads are set by the program, not here.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include <ATen/core/Tensor.h>

#include "learn/network/attention_plan.h"
#include "learn/network/parameter_range.h"
#include "model/weights.h"

namespace deepsearch {

class Decoder {
 public:
  // Parameters are zero until load(). `dtype` is kFloat, kBFloat16, or kDouble for checks by finite differences.
  Decoder(const ModelConfig& config, at::Device device, at::ScalarType dtype = at::kFloat);
  ~Decoder();
  Decoder(Decoder&&) noexcept;
  Decoder& operator=(Decoder&&) noexcept;

  const ModelConfig& config() const;

  // Copies the values in place: the parameter tensors stay the same objects, so an optimiser's state stays theirs.
  // failure() when the shapes are not this model's. Tensor by tensor: of a folder's files no more than a few MB are in
  // memory at a time.
  void load(const WeightSource& weights);
  ModelWeights store() const;  // host, fp32

  // expected_tensors() order; leaves that require grad, on the device.
  const std::vector<at::Tensor>& parameters() const;

  // The final normed hidden states, [B, T, hidden].
  //   tokens     [B, T] int64, in 0 … vocab−1
  //   positions  [B, T] or [1, T] int64, in 0 … max_positions−1 (rotary angle of each token; need not ascend, as in a
  //              packed tree). LibTorch reports an id or position out of range (on CUDA by a device assertion).
  //   mask       [B or 1, 1, T, T] bool, true where row i may see column j, at least one per row; undefined: causal
  // Rows that are padded at their end are right under the causal mask without a mask of their own.
  at::Tensor hidden(const at::Tensor& tokens, const at::Tensor& positions, const at::Tensor& mask = {}) const;

  // The same of a packed batch, [T, hidden]: each token computed once, seeing its path (attention_plan.h).
  //   tokens, positions  [T] int64; the plan's tokens
  // Backward adds the embedding's gradient, and on the CPU in fp32 all others', straight into .grad().
  at::Tensor hidden(const at::Tensor& tokens, const at::Tensor& positions,
                    const std::shared_ptr<const AttentionPlan>& plan) const;

  // Parameters whose gradients become complete together, as ranges of parameters(): the embedding; each layer; final
  // norm and head (the head is not there when it is the embedding).
  const std::vector<ParameterRange>& parameter_groups() const;

  // Called in backward of the packed hidden(), in its thread: all that it adds to .grad() of a group's parameters has
  // been added. Last group first, group 0 last, each once a backward. The head's own gradient is its caller's. An empty
  // function: no calls. The decoder must outlive the backward.
  void on_gradients(std::function<void(size_t group)> complete);

  // Layers of the packed hidden() keep their input only; backward computes them again. For memory; costs a third more
  // arithmetic. In fp32 on the CPU the gradients are the same bits.
  void set_checkpointing(bool on);

  // [..., hidden] → [..., vocab]. Pick the rows that are needed first: for short models this is the dearest product.
  at::Tensor logits(const at::Tensor& hidden) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace deepsearch
