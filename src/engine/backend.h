// Backend: the arithmetic below the scheduler. It holds the weights and the KV blocks, runs passes and draws tokens. It
// knows nothing of requests or trees; the scheduler knows nothing of tensors.
//
// One thread owns a backend; it may use threads of its own inside run().
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/pass.h"
#include "model/weights.h"

namespace deepsearch {

class Backend {
 public:
  virtual ~Backend() = default;

  // Weights of the shape the backend was made for (failure() otherwise), read tensor by tensor, each released once it
  // was taken over. Nothing else is rebuilt: KV blocks keep their contents (whether they still mean something is the
  // caller's decision), later calls write into the memory of the first.
  virtual void set_weights(const WeightSource& weights) = 0;

  // Bytes of one KV block over all layers.
  virtual int64_t block_bytes() const = 0;
  // Bytes that KV blocks may take at most by the device's free memory now, weights (set or not) left room for.
  virtual int64_t memory_for_blocks() const = 0;
  // Makes blocks 0 … n−1 usable, before the first run(). Memory is touched only as blocks are written (CPU).
  virtual void reserve_blocks(int64_t n) = 0;
  // Gives their memory back, with their contents; they can be reserved again.
  virtual void release_blocks() = 0;

  // Runs a pass: copies, then the decoder over all tokens (KV of all of a layer's tokens is written before its
  // attention, so spans may attend to each other's tokens of this pass), then the draws. `drawn` is resized to the
  // draws, in their order. failure() for logits that are not finite, a token or position out of range.
  virtual void run(const Pass& pass, std::vector<SampledToken>& drawn) = 0;

  // All logits of one row of the last pass's draws, [vocab_size], for tests and comparisons: slow.
  virtual std::vector<float> logits_of_draw(size_t draw) const = 0;

  virtual std::string description() const = 0;  // "native CPU, 2 threads, AVX-512, fp32 weights"
};

}  // namespace deepsearch
