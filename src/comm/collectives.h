// Collectives over the learner ranks' float buffers. NCCL where every rank owns a distinct GPU, MPI otherwise; chosen
// once at start and printed. Sums are taken in rank order on the MPI path, so that they repeat bit for bit.
// All calls are collective over the group and blocking for the caller's buffer; one thread. All ranks of the group pass
// the same sizes and get the same bits. Errors name rank, host, operation and peer; a peer that is lost during an NCCL
// call aborts that rank's communicator instead of hanging it.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace deepsearch {

class World;

class Collectives {
 public:
  virtual ~Collectives() = default;
  virtual std::string description() const = 0;  // "MPI (Open MPI 4.1.4) over 2 learner ranks"
  virtual int rank() const = 0;
  virtual int size() const = 0;
  // True: buffers are device pointers of this rank's GPU; false: host pointers.
  virtual bool on_device() const = 0;
  virtual void all_reduce_sum(std::span<float> values) = 0;
  virtual void broadcast(std::span<float> values, int root) = 0;
  // `values` has size() equal parts; this rank's `part` receives the sum of its part over all ranks.
  virtual void reduce_scatter_sum(std::span<const float> values, std::span<float> part) = 0;
  virtual void all_gather(std::span<const float> part, std::span<float> values) = 0;
  virtual double all_reduce_sum(double value) = 0;
  virtual double all_reduce_max(double value) = 0;  // NaN if any is
};

enum class Transport { kAuto, kMpi, kNccl };

// "auto", "mpi", "nccl"; anything else: bad_input.
Transport parse_transport(const std::string& name);

// Over the learner ranks of `world` (roles assigned; collective over the learners, only they may call). kAuto takes
// NCCL when every learner rank sees a GPU that no other learner has; callers whose buffers lie on the host ask for
// kMpi. NCCL makes gpu_of(world) (comm/gpu.h) the current device. kNccl where it cannot be (no GPU, shared GPUs, built
// without): bad_input saying why, on all learner ranks.
std::unique_ptr<Collectives> make_learner_collectives(World& world, Transport transport);

}  // namespace deepsearch
