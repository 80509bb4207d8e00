// Collectives over the learner ranks' float buffers. NCCL where every rank owns a distinct GPU, MPI otherwise; chosen
// once at start and printed. Sums are taken in rank order on the MPI path, so that they repeat bit for bit.
// All calls are collective over the group and blocking for the caller's buffer; one thread.
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
  virtual double all_reduce_max(double value) = 0;
};

enum class Transport { kAuto, kMpi, kNccl };

// Over the learner ranks of `world`. kNccl where it cannot be (no GPU, shared GPUs, built without): bad_input saying
// why.
std::unique_ptr<Collectives> make_learner_collectives(World& world, Transport transport);

}  // namespace deepsearch
