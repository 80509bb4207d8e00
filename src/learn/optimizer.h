// AdamW (Loshchilov & Hutter 2019) over the learner ranks: parameters and gradients are views of flat buffers;
// gradients are summed over the ranks bucket by bucket (learn/gradient_buckets.h) while backward goes on; with
// [learn].shard_optimizer each rank keeps fp32 master weights and moments of its part of every bucket only (ZeRO-1) and
// hands the others the updated values. Decoupled weight decay, on matrices only.
//
// A minibatch, on every rank:
//   zero_grad();
//   for each micro-batch of this rank but its last:  forward; backward; accumulate();
//   for the last one:  forward; backward, and in it gradients_ready(group), last group first;
//   step();                                         a rank without micro-batches comes here at once
//
// Collective: the constructor, step() and restore(). gradients_ready() starts transfers, which the collectives' caller
// moves on by progress() between layers. One thread.
#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

#include "comm/collectives.h"
#include "learn/gradient_buckets.h"
#include "learn/optimizer_state.h"
#include "learn/params.h"

namespace deepsearch {

struct AdamWStep;  // learn/optimizer_update.h

class AdamW {
 public:
  // Takes over the storage of `parameters` (leaf tensors, all fp32 or all bf16, on one device: the collectives' kind).
  // `groups`: see GradientBuckets. Of `params`: optimizer, shard_optimizer, bucket_mb. `planned_updates` sets the
  // cosine's length. All ranks pass the same values. `collectives` outlives it.
  AdamW(std::vector<at::Tensor> parameters, const std::vector<ParameterRange>& groups, const LearnParams& params,
        Collectives& collectives, int64_t planned_updates);

  void zero_grad();
  // After backward of a micro-batch that is not this rank's last of the minibatch: adds the gradients to the sums
  // (float64 for fp32 on the CPU, so that the result hardly depends on the cut into micro-batches; fp32 otherwise).
  void accumulate();
  // The gradients of a group are complete: starts the sum over ranks of the buckets that are now complete.
  void gradients_ready(int group);

  struct Update {
    double grad_norm = 0;  // before clipping, over all ranks
    double lr = 0;
    bool skipped = false;  // the gradient was not finite on some rank: nothing changed on any
  };
  // Sums what has not been summed, clips, updates.
  Update step();

  // A cosine schedule goes by this instead of the number of updates from now on: 0 to 1, how much of the run's budget
  // is spent. Negative: by updates again. The same on all ranks.
  void set_progress(double progress) { progress_ = progress; }

  double rate(int64_t update) const;                              // learning rate of the update after `update` others
  int64_t updates() const { return updates_; }                    // done, skipped ones aside
  int64_t skipped() const { return skipped_; }                    // since it was made
  int64_t skipped_in_a_row() const { return skipped_in_a_row_; }  // up to now
  // Inside step(), waiting for gradient sums and for updated weights, since it was made.
  double seconds_waiting() const { return seconds_waiting_; }

  // Held by this rank.
  struct Bytes {
    int64_t weights = 0;    // in the parameters' type
    int64_t gradients = 0;  // with the sums over micro-batches
    int64_t master = 0;     // 0 for fp32 parameters, which are their own
    int64_t moments = 0;
  };
  Bytes bytes() const;
  const GradientBuckets& buckets() const { return buckets_; }

  OptimizerState state() const;
  OptimizerState layout() const;  // state() without values
  // Also sets the parameters. bad_input when the state is that of other parameters, buckets or ranks.
  void restore(const OptimizerState& state);

 private:
  // A piece of this rank's part of a bucket with one weight decay.
  struct Piece {
    int64_t begin = 0;  // in the flat buffers
    int64_t own = 0;    // in the buffers that hold this rank's part only
    int64_t size = 0;
    bool decays = false;
  };

  void check_parameters(const std::vector<at::Tensor>& parameters) const;
  void take_over(std::vector<at::Tensor>& parameters);
  void plan_pieces();
  void start_reduction(size_t bucket);
  void start_complete_buckets();
  double norm_when_summed();
  void update(size_t bucket, const AdamWStep& step);
  Transfer publish(size_t bucket);
  void wait(Transfer& transfer);
  void check_state(const OptimizerState& state) const;
  const at::Tensor& summed_gradients() const;  // fp32 [total]
  int64_t own_begin(size_t bucket) const;      // this rank's part, in the flat buffers
  int64_t own_size(size_t bucket) const { return buckets_.buckets()[bucket].size / parts_; }

  OptimizerParams params_;
  Collectives& collectives_;
  int64_t planned_updates_;
  std::vector<int64_t> sizes_;  // values of each parameter
  std::vector<bool> decays_;    // each parameter
  GradientBuckets buckets_;
  int64_t parts_;                           // ranks that share the state, 1 when unsharded
  int64_t part_;                            // this rank's
  at::Tensor values_;                       // [total], parameters' type
  at::Tensor grads_;                        // [total], parameters' type; autograd adds to views of it
  at::Tensor sums_;                         // [total], over micro-batches: float64, fp32, or none where grads_ do it
  at::Tensor master_;                       // [own], fp32; none for fp32 parameters
  at::Tensor mean_, variance_;              // [own], fp32: Adam's moments
  std::vector<int64_t> own_offsets_;        // by bucket: where its part lies in [own]
  std::vector<std::vector<Piece>> pieces_;  // by bucket
  std::vector<Transfer> reductions_;        // by bucket
  std::vector<bool> ready_;                 // by group
  size_t started_ = 0;                      // buckets whose reduction was started, from the last
  bool summed_ = false;                     // sums_ holds earlier micro-batches of this minibatch
  double progress_ = -1;
  int64_t updates_ = 0;
  int64_t skipped_ = 0;
  int64_t skipped_in_a_row_ = 0;
  double seconds_waiting_ = 0;
};

}  // namespace deepsearch
