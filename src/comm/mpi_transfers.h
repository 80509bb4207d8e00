// Private to comm: sums and gathers over the learner ranks by non-blocking point-to-point messages. A transfer is cut
// into units of bounded size, the same on all ranks; a few units are under way at a time, in order, so that staging
// memory stays small. Sums are taken in rank order, in float32, by the rank that owns the part.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <span>
#include <vector>

#include "comm/world_impl.h"

namespace deepsearch {

class MpiTransfers {
 public:
  // `first_rank`: world rank of rank 0 of `comm`, whose ranks follow each other in the world.
  MpiTransfers(const World::Impl& world, MPI_Comm comm, int first_rank);
  ~MpiTransfers();
  MpiTransfers(const MpiTransfers&) = delete;
  MpiTransfers& operator=(const MpiTransfers&) = delete;

  // Each returns the transfer's number. Sizes must fit (collectives.h).
  uint64_t reduce_scatter(std::span<const float> values, std::span<float> part);
  uint64_t all_reduce(std::span<float> values);
  uint64_t all_gather(std::span<const std::byte> part, std::span<std::byte> values);

  void progress();
  bool finished(uint64_t transfer) const { return !open_.contains(transfer); }
  void finish(uint64_t transfer);

 private:
  // Sends to[r] to rank r and sums what all send here into `sum`; then sends `mine` to all and takes their from[r].
  // Either half may be empty.
  struct Unit {
    uint64_t transfer = 0;
    int tag = 0;
    std::vector<std::span<const float>> to;
    std::span<float> sum;
    std::span<const std::byte> mine;
    std::vector<std::span<std::byte>> from;
    std::vector<float> staging;  // the others' parts of the sum, by rank
    std::vector<MPI_Request> requests;
    std::vector<int> peers;  // world rank of each request
    enum class Phase : uint8_t { kQueued, kSumming, kGathering, kDone } phase = Phase::kQueued;
  };

  uint64_t begin() { return ++last_transfer_; }
  void add(Unit unit);
  void advance(Unit& unit);
  void post_sum(Unit& unit);
  void post_gather(Unit& unit);
  void take_sum(Unit& unit);
  bool complete(Unit& unit);
  int awaited() const;
  template <class Call>
  void post(Unit& unit, int rank, const char* name, Call&& call);

  const World::Impl& world_;
  MPI_Comm comm_;
  int first_rank_;
  int rank_ = 0;
  int size_ = 1;
  size_t block_ = 0;  // values per peer and unit
  std::deque<Unit> units_;
  std::map<uint64_t, int64_t> open_;  // units left, by transfer
  uint64_t last_transfer_ = 0;
  uint64_t units_made_ = 0;
};

}  // namespace deepsearch
