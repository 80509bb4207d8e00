#include "comm/mpi_collectives.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/activity.h"
#include "core/error.h"

namespace deepsearch {
namespace {

// Floats of a broadcast in one piece (4 MiB).
constexpr size_t kBlock = size_t{1} << 20;

std::string mpi_version() {
  char text[MPI_MAX_LIBRARY_VERSION_STRING] = "";
  int length = 0;
  if (MPI_Get_library_version(text, &length) != MPI_SUCCESS) return "unknown library";
  const std::string whole(text, static_cast<size_t>(length));
  std::string name = whole.substr(0, whole.find_first_of(",\n"));  // "Open MPI v4.1.4, package: …"
  if (const size_t v = name.find(" v"); v != std::string::npos) name.erase(v + 1, 1);
  return name;
}

}  // namespace

MpiCollectives::MpiCollectives(World& world) : world_(world.impl()) {
  if (!world.learns()) failure("{}: the learners' collectives belong to learner ranks", world.who());
  DEEPSEARCH_MPI(world_, -1, MPI_Comm_rank(world_.learners, &rank_));
  DEEPSEARCH_MPI(world_, -1, MPI_Comm_size(world_.learners, &size_));
  first_rank_ = world.coordinator_rank();
  transfers_ = std::make_unique<MpiTransfers>(world_, world_.learners, first_rank_);
}

std::string MpiCollectives::description() const {
  return fmt::format("MPI ({}) over {} learner rank{}", mpi_version(), size_, size_ == 1 ? "" : "s");
}

void MpiCollectives::check_parts(size_t part, size_t whole, const char* operation) const {
  if (part * static_cast<size_t>(size_) != whole) {
    failure("{}: {}: {} ranks with parts of {} do not make {}", world_.describe_rank(world_.rank), operation, size_,
            part, whole);
  }
}

Transfer MpiCollectives::start_reduce_scatter_sum(std::span<const float> values, std::span<float> part) {
  check_parts(part.size(), values.size(), "reduce_scatter_sum");
  return {*this, transfers_->reduce_scatter(values, part)};
}

Transfer MpiCollectives::start_all_reduce_sum(std::span<float> values) {
  return {*this, transfers_->all_reduce(values)};
}

Transfer MpiCollectives::start_all_gather(std::span<const std::byte> part, std::span<std::byte> values) {
  check_parts(part.size(), values.size(), "all_gather");
  return {*this, transfers_->all_gather(part, values)};
}

// Also moves the transfers under way: another rank may wait for one of them before it comes to this call.
void MpiCollectives::wait_moving(MPI_Request request, const char* call, int peer) {
  const CurrentOperation operation(call, peer);
  Backoff backoff(200);
  for (;;) {
    int done = 0;
    check_mpi(MPI_Test(&request, &done, MPI_STATUS_IGNORE), world_, call, peer);
    if (done != 0) return report_progress();
    transfers_->progress();
    if (while_waiting_) while_waiting_();
    report_waiting();
    backoff.pause();
  }
}

std::vector<double> MpiCollectives::gather(double value) {
  std::vector<double> all(static_cast<size_t>(size_), value);
  if (size_ == 1) return all;
  MPI_Request request = MPI_REQUEST_NULL;
  DEEPSEARCH_MPI(world_, -1,
                 MPI_Iallgather(&value, 1, MPI_DOUBLE, all.data(), 1, MPI_DOUBLE, world_.learners, &request));
  wait_moving(request, "MPI_Iallgather", -1);
  return all;
}

double MpiCollectives::all_reduce_sum(double value) {
  const std::vector<double> all = gather(value);
  double sum = all[0];
  for (size_t r = 1; r < all.size(); ++r) sum += all[r];
  return sum;
}

double MpiCollectives::all_reduce_max(double value) {
  double largest = -std::numeric_limits<double>::infinity();
  for (double one : gather(value)) {
    if (std::isnan(one)) return one;
    largest = std::max(largest, one);
  }
  return largest;
}

void MpiCollectives::start_barrier(MPI_Request& request) {
  DEEPSEARCH_MPI(world_, -1, MPI_Ibarrier(world_.learners, &request));
}

bool MpiCollectives::barrier_passed(MPI_Request& request) {
  int done = 0;
  DEEPSEARCH_MPI(world_, -1, MPI_Test(&request, &done, MPI_STATUS_IGNORE));
  return done != 0;
}

std::vector<std::string> MpiCollectives::gather_texts(const std::string& text) {
  return all_gather_text(text, world_.learners, world_);
}

void MpiCollectives::broadcast_bytes(void* bytes, int size, int root) {
  if (size_ == 1) return;
  MPI_Request request = MPI_REQUEST_NULL;
  DEEPSEARCH_MPI(world_, first_rank_ + root, MPI_Ibcast(bytes, size, MPI_BYTE, root, world_.learners, &request));
  wait_moving(request, "MPI_Ibcast", first_rank_ + root);
}

}  // namespace deepsearch
