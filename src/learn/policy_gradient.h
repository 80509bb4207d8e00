// The policy-gradient loss of a micro-batch as the chunked head wants it.
#pragma once

#include <cstdint>
#include <functional>

#include <ATen/core/Tensor.h>

#include "learn/head.h"
#include "learn/loss.h"
#include "learn/micro_batch.h"
#include "learn/params.h"

namespace deepsearch {

// Terms [first, last) of a batch.
struct TermRange {
  int64_t first = 0, last = 0;
  int64_t size() const { return last - first; }
};

// What came out of a chunk. Tensors are [terms of the chunk] and detached, but for loss.loss.
struct ChunkTerms {
  TermRange terms;
  TermLoss loss;
  at::Tensor logprobs, entropies;
  bool finite = true;  // the chunk's loss; if not, its gradient is made NaN throughout, so that the update is skipped
};

// Σ weight · term loss / divisor, by term_losses(), with its slopes at each log-prob and entropy by autograd over these
// few numbers. `reference`: log-probs of the batch's terms under the reference policy, or undefined. `report` is called
// for every chunk. The batch outlives the result.
ChunkLoss policy_chunk_loss(const MicroBatch& batch, const at::Tensor& reference, const LearnParams& params,
                            double divisor, std::function<void(const ChunkTerms&)> report);

}  // namespace deepsearch
