#include "comm/weights_channel.h"

#include <algorithm>
#include <exception>
#include <utility>

#include "comm/world_impl.h"
#include "core/error.h"
#include "core/timer.h"

namespace deepsearch {
namespace {

constexpr int kTag = 3;
constexpr size_t kPieceBytes = size_t{16} << 20;
// Handed to MPI at a time.
constexpr size_t kPiecesUnderWay = 64;
constexpr size_t kBytesUnderWay = size_t{256} << 20;
constexpr double kFarewell = 5;  // seconds for a transfer to end when the channel goes

struct Piece {
  std::byte* data = nullptr;
  int size = 0;
  MPI_Request receive = MPI_REQUEST_NULL;
  std::vector<MPI_Request> sends = {};
};

}  // namespace

struct WeightsChannel::Impl {
  explicit Impl(World& w) : world(w.impl()), coordinator(w.is_coordinator()) {
    if (world.policy == MPI_COMM_NULL) return;
    int rank = 0;
    int size = 0;
    DEEPSEARCH_MPI(world, -1, MPI_Comm_rank(world.policy, &rank));
    DEEPSEARCH_MPI(world, -1, MPI_Comm_size(world.policy, &size));
    parent = rank == 0 ? -1 : (rank - 1) / 2;
    for (int child = 2 * rank + 1; child <= 2 * rank + 2 && child < size; ++child) children.push_back(child);
    coordinator_rank = w.coordinator_rank();
  }

  // Rank 0 of the channel's communicator is the coordinator; search ranks follow in their order.
  int world_rank(int rank) const { return rank == 0 ? coordinator_rank : rank - 1; }

  void begin(std::vector<std::span<std::byte>> parts, std::shared_ptr<const void> keep);
  void post_ahead();
  void hand_on();
  void take_done();
  bool progress();
  bool done(MPI_Request& request, int peer, const char* call) {
    int flag = 0;
    check_mpi(MPI_Test(&request, &flag, MPI_STATUS_IGNORE), world, call, world_rank(peer));
    return flag != 0;
  }

  World::Impl& world;
  bool coordinator;
  int coordinator_rank = -1;
  int parent = -1;
  std::vector<int> children;
  std::vector<Piece> pieces;  // of the transfer under way; empty: none is
  // Pieces up to these have: a receive posted, arrived and been handed on, been taken by all children.
  size_t posted = 0, sent = 0, taken = 0;
  size_t bytes_under_way = 0;
  std::shared_ptr<const void> owner;
  Stopwatch watch;
  double seconds = 0;
  int64_t bytes = 0;
  int64_t bytes_of_this = 0;
};

void WeightsChannel::Impl::begin(std::vector<std::span<std::byte>> parts, std::shared_ptr<const void> keep) {
  if (!pieces.empty()) failure("{}: a transfer of weights while another is under way", world.describe_rank(world.rank));
  if (world.policy == MPI_COMM_NULL) {
    failure("{}: weights go from the coordinator to search ranks only", world.describe_rank(world.rank));
  }
  posted = sent = taken = bytes_under_way = 0;
  bytes_of_this = 0;
  for (const std::span<std::byte> part : parts) {
    for (size_t at = 0; at < part.size(); at += kPieceBytes) {
      const size_t size = std::min(kPieceBytes, part.size() - at);
      pieces.push_back({.data = part.data() + at, .size = static_cast<int>(size)});
    }
    bytes_of_this += static_cast<int64_t>(part.size());
  }
  owner = std::move(keep);
  watch.restart();
  progress();
}

void WeightsChannel::Impl::post_ahead() {
  for (; posted < pieces.size() && posted - taken < kPiecesUnderWay; ++posted) {
    Piece& piece = pieces[posted];
    if (posted > taken && bytes_under_way + static_cast<size_t>(piece.size) > kBytesUnderWay) break;
    bytes_under_way += static_cast<size_t>(piece.size);
    if (parent < 0) continue;
    DEEPSEARCH_MPI(world, world_rank(parent),
                   MPI_Irecv(piece.data, piece.size, MPI_BYTE, parent, kTag, world.policy, &piece.receive));
  }
}

// In order, so that the children's receives match.
void WeightsChannel::Impl::hand_on() {
  for (; sent < posted; ++sent) {
    Piece& piece = pieces[sent];
    if (!done(piece.receive, std::max(parent, 0), "MPI_Irecv of weights")) return;
    piece.sends.assign(children.size(), MPI_REQUEST_NULL);
    for (size_t i = 0; i < children.size(); ++i) {
      DEEPSEARCH_MPI(world, world_rank(children[i]),
                     MPI_Isend(piece.data, piece.size, MPI_BYTE, children[i], kTag, world.policy, &piece.sends[i]));
    }
  }
}

void WeightsChannel::Impl::take_done() {
  for (; taken < sent; ++taken) {
    Piece& piece = pieces[taken];
    for (size_t i = 0; i < children.size(); ++i) {
      if (!done(piece.sends[i], children[i], "MPI_Isend of weights")) return;
    }
    bytes_under_way -= static_cast<size_t>(piece.size);
  }
}

bool WeightsChannel::Impl::progress() {
  if (pieces.empty()) {
    owner = nullptr;  // a transfer of nothing
    return true;
  }
  size_t before = 0;
  do {
    before = taken;
    post_ahead();
    hand_on();
    take_done();
  } while (taken > before && taken < pieces.size());
  if (taken < pieces.size()) return false;
  pieces.clear();
  owner = nullptr;
  seconds = watch.seconds();
  bytes = bytes_of_this;
  return true;
}

WeightsChannel::WeightsChannel(World& world) : impl_(std::make_unique<Impl>(world)) {}

WeightsChannel::~WeightsChannel() {
  if (!busy()) return;
  try {
    const Stopwatch watch;
    Backoff backoff(200);
    while (std::uncaught_exceptions() == 0 && watch.seconds() < kFarewell && !progress()) backoff.pause();
  } catch (const Error&) {  // the buffers are kept below
  }
  if (busy()) static_cast<void>(impl_.release());
}

void WeightsChannel::start_send(std::vector<std::span<const std::byte>> parts, std::shared_ptr<const void> owner) {
  if (!impl_->coordinator) {
    failure("{}: only the coordinator sends weights", impl_->world.describe_rank(impl_->world.rank));
  }
  std::vector<std::span<std::byte>> same;
  same.reserve(parts.size());
  // Nothing is written to them: this rank only sends.
  for (const auto part : parts) same.emplace_back(const_cast<std::byte*>(part.data()), part.size());
  impl_->begin(std::move(same), std::move(owner));
}

void WeightsChannel::start_receive(std::vector<std::span<std::byte>> parts, std::shared_ptr<void> owner) {
  if (impl_->coordinator) {
    failure("{}: the coordinator receives no weights", impl_->world.describe_rank(impl_->world.rank));
  }
  impl_->begin(std::move(parts), std::move(owner));
}

bool WeightsChannel::progress() {
  return impl_->progress();
}
bool WeightsChannel::busy() const {
  return !impl_->pieces.empty();
}
double WeightsChannel::seconds() const {
  return impl_->seconds;
}
int64_t WeightsChannel::bytes() const {
  return impl_->bytes;
}

}  // namespace deepsearch
