#include "comm/mpi_transfers.h"

#include <algorithm>
#include <cstring>
#include <exception>
#include <utility>

#include "core/activity.h"
#include "core/error.h"
#include "core/memory.h"
#include "core/timer.h"

namespace deepsearch {
namespace {

// Units under way at a time, and bytes of staging in all of them together.
constexpr size_t kUnitsUnderWay = 8;
constexpr size_t kStagingBytes = size_t{64} << 20;
// Bytes per message: large enough for the network's bandwidth, small enough that sums go on while the rest arrives.
constexpr size_t kLargestMessage = size_t{1} << 20;
constexpr size_t kSmallestMessage = size_t{16} << 10;
// MPI promises tags up to 32767. Two units with the same tag are never under way together.
constexpr int kFirstTag = 16;
constexpr uint64_t kTags = 16384;

// Part r of n values shared out as evenly as can be.
size_t part_begin(size_t n, int r, int size) {
  return n * static_cast<size_t>(r) / static_cast<size_t>(size);
}

template <class T>
std::span<T> piece(std::span<T> values, size_t at, size_t count) {
  const size_t begin = std::min(at, values.size());
  return values.subspan(begin, std::min(count, values.size() - begin));
}

}  // namespace

MpiTransfers::MpiTransfers(const World::Impl& world, MPI_Comm comm, int first_rank)
    : world_(world), comm_(comm), first_rank_(first_rank) {
  DEEPSEARCH_MPI(world_, -1, MPI_Comm_rank(comm_, &rank_));
  DEEPSEARCH_MPI(world_, -1, MPI_Comm_size(comm_, &size_));
  const size_t bytes = kStagingBytes / kUnitsUnderWay / static_cast<size_t>(size_);
  block_ = std::clamp(bytes, kSmallestMessage, kLargestMessage) / sizeof(float);
}

MpiTransfers::~MpiTransfers() {
  // MPI still reads and writes the staging of what is under way (an error is passing through): leave it to the end of
  // the process.
  if (!units_.empty()) static_cast<void>(new std::deque<Unit>(std::move(units_)));
}

void MpiTransfers::add(Unit unit) {
  unit.tag = kFirstTag + static_cast<int>(units_made_++ % kTags);
  ++open_[unit.transfer];
  units_.push_back(std::move(unit));
}

uint64_t MpiTransfers::reduce_scatter(std::span<const float> values, std::span<float> part) {
  const uint64_t transfer = begin();
  if (size_ == 1) {
    if (!part.empty() && part.data() != values.data()) std::copy(values.begin(), values.end(), part.begin());
    return transfer;
  }
  for (size_t at = 0; at < part.size(); at += block_) {
    Unit unit;
    unit.transfer = transfer;
    unit.sum = piece(part, at, block_);
    for (size_t r = 0; r < static_cast<size_t>(size_); ++r) {
      unit.to.push_back(piece(values.subspan(r * part.size(), part.size()), at, block_));
    }
    add(std::move(unit));
  }
  progress();
  return transfer;
}

uint64_t MpiTransfers::all_reduce(std::span<float> values) {
  const uint64_t transfer = begin();
  if (size_ == 1) return transfer;
  const size_t whole = block_ * static_cast<size_t>(size_);
  for (size_t at = 0; at < values.size(); at += whole) {
    const std::span<float> here = piece(values, at, whole);
    Unit unit;
    unit.transfer = transfer;
    for (int r = 0; r < size_; ++r) {
      const size_t begin = part_begin(here.size(), r, size_);
      const std::span<float> part = here.subspan(begin, part_begin(here.size(), r + 1, size_) - begin);
      unit.to.emplace_back(part);
      unit.from.push_back(std::as_writable_bytes(part));
    }
    const auto me = static_cast<size_t>(rank_);
    const size_t begin = part_begin(here.size(), rank_, size_);
    unit.sum = here.subspan(begin, unit.to[me].size());
    unit.mine = std::as_bytes(unit.sum);
    add(std::move(unit));
  }
  progress();
  return transfer;
}

uint64_t MpiTransfers::all_gather(std::span<const std::byte> part, std::span<std::byte> values) {
  const uint64_t transfer = begin();
  const std::span<std::byte> own = values.subspan(static_cast<size_t>(rank_) * part.size(), part.size());
  if (!part.empty() && own.data() != part.data()) std::memcpy(own.data(), part.data(), part.size());
  if (size_ == 1) return transfer;
  const size_t block = block_ * sizeof(float);
  for (size_t at = 0; at < part.size(); at += block) {
    Unit unit;
    unit.transfer = transfer;
    unit.mine = piece(part, at, block);
    for (size_t r = 0; r < static_cast<size_t>(size_); ++r) {
      unit.from.push_back(piece(values.subspan(r * part.size(), part.size()), at, block));
    }
    add(std::move(unit));
  }
  progress();
  return transfer;
}

template <class Call>
void MpiTransfers::post(Unit& unit, int rank, const char* name, Call&& call) {
  const int peer = first_rank_ + rank;
  MPI_Request request = MPI_REQUEST_NULL;
  check_mpi(call(request), world_, name, peer);
  unit.requests.push_back(request);
  unit.peers.push_back(peer);
}

void MpiTransfers::post_sum(Unit& unit) {
  const size_t count = unit.sum.size();
  unit.staging.resize(count * static_cast<size_t>(size_));
  for (int r = 0; r < size_; ++r) {
    if (r == rank_) continue;
    float* place = unit.staging.data() + static_cast<size_t>(r) * count;
    const std::span<const float> out = unit.to[static_cast<size_t>(r)];
    if (count > 0) {
      post(unit, r, "MPI_Irecv of a sum", [&](MPI_Request& request) {
        return MPI_Irecv(place, static_cast<int>(count), MPI_FLOAT, r, unit.tag, comm_, &request);
      });
    }
    if (!out.empty()) {
      post(unit, r, "MPI_Isend of a sum", [&](MPI_Request& request) {
        return MPI_Isend(out.data(), static_cast<int>(out.size()), MPI_FLOAT, r, unit.tag, comm_, &request);
      });
    }
  }
}

void MpiTransfers::post_gather(Unit& unit) {
  for (int r = 0; r < size_; ++r) {
    if (r == rank_) continue;
    const std::span<std::byte> in = unit.from[static_cast<size_t>(r)];
    if (!in.empty()) {
      post(unit, r, "MPI_Irecv of a gather", [&](MPI_Request& request) {
        return MPI_Irecv(in.data(), static_cast<int>(in.size()), MPI_BYTE, r, unit.tag, comm_, &request);
      });
    }
    if (!unit.mine.empty()) {
      post(unit, r, "MPI_Isend of a gather", [&](MPI_Request& request) {
        return MPI_Isend(unit.mine.data(), static_cast<int>(unit.mine.size()), MPI_BYTE, r, unit.tag, comm_, &request);
      });
    }
  }
}

// In rank order; `sum` may be this rank's own contribution.
void MpiTransfers::take_sum(Unit& unit) {
  constexpr size_t kStretch = 2048;  // stays in the L1 cache
  float total[kStretch];
  const auto source = [&](int r) {
    return r == rank_ ? unit.to[static_cast<size_t>(r)].data()
                      : unit.staging.data() + static_cast<size_t>(r) * unit.sum.size();
  };
  for (size_t at = 0; at < unit.sum.size(); at += kStretch) {
    const size_t count = std::min(kStretch, unit.sum.size() - at);
    std::copy_n(source(0) + at, count, total);
    for (int r = 1; r < size_; ++r) {
      const float* more = source(r) + at;
      for (size_t i = 0; i < count; ++i) total[i] += more[i];
    }
    std::copy_n(total, count, unit.sum.data() + at);
  }
  give_back(unit.staging);
}

// Whether the messages of the unit's phase are through.
bool MpiTransfers::complete(Unit& unit) {
  int done = 0;
  std::vector<MPI_Status> statuses(unit.requests.size());
  const int code = MPI_Testall(static_cast<int>(unit.requests.size()), unit.requests.data(), &done, statuses.data());
  if (code == MPI_ERR_IN_STATUS) {
    for (size_t i = 0; i < statuses.size(); ++i) {
      if (statuses[i].MPI_ERROR == MPI_ERR_PENDING) continue;
      check_mpi(statuses[i].MPI_ERROR, world_, "a message of a sum over the learner ranks", unit.peers[i]);
    }
  }
  check_mpi(code, world_, "MPI_Testall", -1);
  if (done == 0) return false;
  unit.requests.clear();
  unit.peers.clear();
  return true;
}

void MpiTransfers::advance(Unit& unit) {
  if (unit.phase == Unit::Phase::kQueued) {
    unit.phase = unit.to.empty() ? Unit::Phase::kGathering : Unit::Phase::kSumming;
    unit.to.empty() ? post_gather(unit) : post_sum(unit);
  }
  if (unit.phase == Unit::Phase::kSumming && complete(unit)) {
    take_sum(unit);
    unit.phase = unit.from.empty() ? Unit::Phase::kDone : Unit::Phase::kGathering;
    if (!unit.from.empty()) post_gather(unit);
  }
  if (unit.phase == Unit::Phase::kGathering && complete(unit)) unit.phase = Unit::Phase::kDone;
  if (unit.phase != Unit::Phase::kDone) return;
  const auto left = open_.find(unit.transfer);
  if (--left->second == 0) open_.erase(left);
}

void MpiTransfers::progress() {
  if (units_.empty()) return;
  // MPI itself can hang in here, where a peer was stopped in the middle of a message.
  const CurrentOperation operation("MPI exchange of a sum",
                                   units_.front().peers.empty() ? -1 : units_.front().peers.front());
  size_t under_way = 0;
  for (Unit& unit : units_) {
    if (under_way == kUnitsUnderWay) break;
    if (unit.phase != Unit::Phase::kDone) advance(unit);
    if (unit.phase != Unit::Phase::kDone) ++under_way;
  }
  while (!units_.empty() && units_.front().phase == Unit::Phase::kDone) units_.pop_front();
}

// The first rank whose message has not come or not been taken; −1 when there is none any more.
int MpiTransfers::awaited() const {
  for (const Unit& unit : units_) {
    for (size_t i = 0; i < unit.requests.size(); ++i) {
      int done = 0;
      if (unit.requests[i] == MPI_REQUEST_NULL) continue;
      if (MPI_Request_get_status(unit.requests[i], &done, MPI_STATUS_IGNORE) == MPI_SUCCESS && done == 0) {
        return unit.peers[i];
      }
    }
  }
  return -1;
}

void MpiTransfers::finish(uint64_t transfer) {
  if (finished(transfer)) return;
  constexpr double kLookForPeer = 0.2;  // seconds: who it is that is waited for is of interest to people only
  CurrentOperation operation("MPI exchange of a sum");
  Stopwatch since_progress;
  Backoff backoff(2000);
  for (;;) {
    const size_t before = units_.size();
    progress();
    if (finished(transfer)) return report_progress();
    if (units_.size() != before) {
      backoff = Backoff(2000);
      since_progress.restart();
      report_progress();
    } else if (since_progress.seconds() > kLookForPeer) {
      since_progress.restart();
      operation.with(awaited());
    }
    report_waiting();
    backoff.pause(1e-4);
  }
}

}  // namespace deepsearch
