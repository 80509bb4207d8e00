// Private to comm: collectives through MPI on host buffers. Every sum is taken in rank order, in float32, once, by the
// rank that owns the part, and handed to the others: the same bits on all ranks and in every run.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "comm/collectives.h"
#include "comm/mpi_transfers.h"
#include "comm/world_impl.h"

namespace deepsearch {

class MpiCollectives final : public Collectives {
 public:
  explicit MpiCollectives(World& world);
  std::string description() const override;
  int rank() const override { return rank_; }
  int size() const override { return size_; }
  bool on_device() const override { return false; }
  double all_reduce_sum(double value) override;
  double all_reduce_max(double value) override;
  Transfer start_reduce_scatter_sum(std::span<const float> values, std::span<float> part) override;
  Transfer start_all_reduce_sum(std::span<float> values) override;
  Transfer start_all_gather(std::span<const std::byte> part, std::span<std::byte> values) override;
  void progress() override { transfers_->progress(); }

  // For NcclCollectives, whose time limit counts from when all ranks have come to a call.
  void start_barrier(MPI_Request& request);
  bool barrier_passed(MPI_Request& request);
  // Called again and again while this group waits for the others.
  void while_waiting(std::function<void()> action) { while_waiting_ = std::move(action); }
  std::vector<std::string> gather_texts(const std::string& text);
  void broadcast_bytes(void* bytes, int size, int root);

 private:
  bool finished(uint64_t transfer) const override { return transfers_->finished(transfer); }
  void finish(uint64_t transfer) override { transfers_->finish(transfer); }
  std::vector<double> gather(double value);
  void wait_moving(MPI_Request request, const char* call, int peer);
  void check_parts(size_t part, size_t whole, const char* operation) const;

  World::Impl& world_;
  int rank_ = 0;
  int size_ = 1;
  int first_rank_ = 0;  // world rank of learner 0
  std::unique_ptr<MpiTransfers> transfers_;
  std::function<void()> while_waiting_;
};

}  // namespace deepsearch
