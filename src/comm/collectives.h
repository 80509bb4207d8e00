// Collectives over the learner ranks' float buffers. NCCL where every rank owns a distinct GPU, MPI otherwise; chosen
// once at start and printed. Sums are taken in rank order on the MPI path, so that they repeat bit for bit.
// All calls are collective over the group; one thread. All ranks of the group pass the same sizes and get the same
// bits. Errors name rank, host, operation and peer; a peer that is lost during an NCCL call aborts that rank's
// communicator instead of hanging it.
//
// The start_ calls return at once; data moves while the caller computes (NCCL), or whenever it calls progress() or
// waits (MPI). Any number may be in flight; all ranks start the same ones in the same order, blocking calls included.
// Buffers belong to the transfer until its wait() has returned. On a GPU they follow what was put on the compute stream
// before (use_stream), without stopping it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace deepsearch {

class World;
class Collectives;

// A handle of a transfer under way; a default one is done. Dropping it does not stop the transfer.
class Transfer {
 public:
  Transfer() = default;
  Transfer(Collectives& group, uint64_t id) : group_(&group), id_(id) {}
  bool done();  // moves data, never waits
  void wait();  // until the result is there and the buffers are the caller's again

 private:
  Collectives* group_ = nullptr;
  uint64_t id_ = 0;
};

class Collectives {
 public:
  virtual ~Collectives() = default;
  virtual std::string description() const = 0;  // "MPI (Open MPI 4.1.4) over 2 learner ranks"
  virtual int rank() const = 0;
  virtual int size() const = 0;
  // True: buffers are device pointers of this rank's GPU; false: host pointers.
  virtual bool on_device() const = 0;
  virtual double all_reduce_sum(double value) = 0;  // blocks
  virtual double all_reduce_max(double value) = 0;  // blocks; NaN if any is

  // `values` has size() equal parts; this rank's `part` receives the sum of its part over all ranks. `part` may be this
  // rank's part of `values` itself.
  virtual Transfer start_reduce_scatter_sum(std::span<const float> values, std::span<float> part) = 0;
  virtual Transfer start_all_reduce_sum(std::span<float> values) = 0;
  virtual Transfer start_all_gather(std::span<const std::byte> part, std::span<std::byte> values) = 0;
  // Lets started transfers go on: to be called now and then by a caller that computes.
  virtual void progress() = 0;
  // The cudaStream_t whose work fills and reads the buffers; at first the default stream. Without a GPU: nothing.
  virtual void use_stream(void* /*cuda_stream*/) {}

 private:
  friend class Transfer;
  virtual bool finished(uint64_t transfer) const = 0;
  virtual void finish(uint64_t transfer) = 0;
};

inline bool Transfer::done() {
  if (group_ == nullptr) return true;
  group_->progress();
  return group_->finished(id_);
}

inline void Transfer::wait() {
  if (group_ != nullptr) group_->finish(id_);
  group_ = nullptr;
}

enum class Transport { kAuto, kMpi, kNccl };

// Over the learner ranks of `world` (roles assigned; collective over the learners, only they may call). kAuto takes
// NCCL when every learner rank sees a GPU that no other learner has; callers whose buffers lie on the host ask for
// kMpi. NCCL makes gpu_of(world) (comm/gpu.h) the current device. kNccl where it cannot be (no GPU, shared GPUs, built
// without): bad_input saying why, on all learner ranks.
std::unique_ptr<Collectives> make_learner_collectives(World& world, Transport transport);

}  // namespace deepsearch
