// Private to comm: collectives through MPI on host buffers. Every sum is taken in rank order, in float32, once, by the
// rank that owns the part, and handed to the others: the same bits on all ranks and in every run.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "comm/collectives.h"
#include "comm/world_impl.h"

namespace deepsearch {

class MpiCollectives final : public Collectives {
 public:
  explicit MpiCollectives(World& world);
  std::string description() const override;
  int rank() const override { return rank_; }
  int size() const override { return size_; }
  bool on_device() const override { return false; }
  void all_reduce_sum(std::span<float> values) override;
  void broadcast(std::span<float> values, int root) override;
  void reduce_scatter_sum(std::span<const float> values, std::span<float> part) override;
  void all_gather(std::span<const float> part, std::span<float> values) override;
  double all_reduce_sum(double value) override;
  double all_reduce_max(double value) override;

  // For NcclCollectives, which starts every call together so that its time limit measures the transport only.
  void barrier();
  std::vector<std::string> gather_texts(const std::string& text);
  void broadcast_bytes(void* bytes, int size, int root);

 private:
  std::vector<double> gather(double value);
  // to_rank(r): what this rank sends to r, `count(r)` floats; the sum of what all send here goes to `mine`.
  void exchange_and_sum(const std::vector<std::span<const float>>& to_rank, std::span<float> mine);
  void exchange(std::span<const float> mine, const std::vector<std::span<float>>& from_rank);
  void check_parts(size_t part, size_t whole, const char* operation) const;

  World::Impl& world_;
  int rank_ = 0;
  int size_ = 1;
  int first_rank_ = 0;  // world rank of learner 0
  std::vector<float> staging_;
};

}  // namespace deepsearch
