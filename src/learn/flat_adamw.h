// AdamW on one flat fp32 buffer: what learn/trainer.cpp used before learn/optimizer.h. Goes with its last user.
#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

#include "comm/collectives.h"
#include "learn/params.h"

namespace deepsearch {

class FlatAdamW {
 public:
  // Takes over the storage of `parameters` (leaf tensors, fp32, one device): afterwards each is a view of one buffer,
  // and so is its gradient. `planned_updates` sets the cosine's length.
  FlatAdamW(std::vector<at::Tensor> parameters, const OptimizerParams& params, int64_t planned_updates);

  void zero_grad();
  // Moves the gradients autograd has accumulated since the last call into a float64 sum, so that the result hardly
  // depends on how the work was cut into micro-batches.
  void accumulate();

  struct Update {
    double grad_norm = 0;  // before clipping, over all ranks
    double lr = 0;
    bool skipped = false;  // the gradient was not finite: nothing changed
  };
  // Sums the accumulated gradients over ranks, clips, updates. Collective.
  Update step(Collectives& collectives);

  int64_t updates() const { return updates_; }

 private:
  double rate(int64_t update) const;
  OptimizerParams params_;
  int64_t planned_updates_;
  int64_t updates_ = 0;
  std::vector<at::Tensor> parameters_;
  at::Tensor values_, grads_;   // float32 [n]
  at::Tensor sum_;              // float64 [n]
  at::Tensor mean_, variance_;  // float32 [n], Adam's moments
  at::Tensor decays_;           // float32 [n], 1 where weight decay applies
};

// In-place sum over learner ranks, staged through the host where the transport wants that.
void sum_over_ranks(at::Tensor& flat, Collectives& collectives);

}  // namespace deepsearch
