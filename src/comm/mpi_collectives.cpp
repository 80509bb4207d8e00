#include "comm/mpi_collectives.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "core/error.h"

namespace deepsearch {
namespace {

constexpr int kTag = 2;
// Floats per peer and message (1 MiB): bounds the staging memory and keeps every count an int.
constexpr size_t kBlock = size_t{1} << 18;

std::string mpi_version() {
  char text[MPI_MAX_LIBRARY_VERSION_STRING] = "";
  int length = 0;
  if (MPI_Get_library_version(text, &length) != MPI_SUCCESS) return "unknown library";
  const std::string whole(text, static_cast<size_t>(length));
  std::string name = whole.substr(0, whole.find_first_of(",\n"));  // "Open MPI v4.1.4, package: …"
  if (const size_t v = name.find(" v"); v != std::string::npos) name.erase(v + 1, 1);
  return name;
}

// Part r of n values shared out as evenly as can be.
size_t part_begin(size_t n, int r, int size) {
  return n * static_cast<size_t>(r) / static_cast<size_t>(size);
}

}  // namespace

MpiCollectives::MpiCollectives(World& world) : world_(world.impl()) {
  if (!world.learns()) failure("{}: the learners' collectives belong to learner ranks", world.who());
  DEEPSEARCH_MPI(world_, -1, MPI_Comm_rank(world_.learners, &rank_));
  DEEPSEARCH_MPI(world_, -1, MPI_Comm_size(world_.learners, &size_));
  first_rank_ = world.coordinator_rank();
}

std::string MpiCollectives::description() const {
  return fmt::format("MPI ({}) over {} learner rank{}", mpi_version(), size_, size_ == 1 ? "" : "s");
}

void MpiCollectives::check_parts(size_t part, size_t whole, const char* operation) const {
  if (part * static_cast<size_t>(size_) != whole) {
    failure("{}: {}: {} ranks with parts of {} values do not make {} values", world_.describe_rank(world_.rank),
            operation, size_, part, whole);
  }
}

void MpiCollectives::exchange_and_sum(const std::vector<std::span<const float>>& to_rank, std::span<float> mine) {
  const auto ranks = static_cast<size_t>(size_);
  size_t longest = mine.size();
  for (const auto& values : to_rank) longest = std::max(longest, values.size());
  staging_.resize(std::min(kBlock, mine.size()) * ranks);
  for (size_t at = 0; at < longest; at += kBlock) {
    const size_t here = at < mine.size() ? std::min(kBlock, mine.size() - at) : 0;
    std::vector<MPI_Request> requests;
    for (int r = 0; r < size_; ++r) {
      float* place = staging_.data() + static_cast<size_t>(r) * here;
      const std::span<const float>& values = to_rank[static_cast<size_t>(r)];
      if (r == rank_) {
        std::copy_n(values.data() + std::min(at, values.size()), here, place);
        continue;
      }
      const int peer = first_rank_ + r;
      if (here > 0) {
        requests.push_back(MPI_REQUEST_NULL);
        DEEPSEARCH_MPI(world_, peer,
                       MPI_Irecv(place, static_cast<int>(here), MPI_FLOAT, r, kTag, world_.learners, &requests.back()));
      }
      if (at < values.size()) {
        const size_t there = std::min(kBlock, values.size() - at);
        requests.push_back(MPI_REQUEST_NULL);
        DEEPSEARCH_MPI(world_, peer,
                       MPI_Isend(values.data() + at, static_cast<int>(there), MPI_FLOAT, r, kTag, world_.learners,
                                 &requests.back()));
      }
    }
    wait_all(requests, world_, "sum over the learner ranks", -1);
    float* out = mine.data() + std::min(at, mine.size());
    std::copy_n(staging_.data(), here, out);
    for (size_t r = 1; r < ranks; ++r) {
      const float* in = staging_.data() + r * here;
      for (size_t i = 0; i < here; ++i) out[i] += in[i];
    }
  }
}

void MpiCollectives::exchange(std::span<const float> mine, const std::vector<std::span<float>>& from_rank) {
  size_t longest = mine.size();
  for (const auto& values : from_rank) longest = std::max(longest, values.size());
  for (size_t at = 0; at < longest; at += kBlock) {
    std::vector<MPI_Request> requests;
    for (int r = 0; r < size_; ++r) {
      if (r == rank_) continue;
      const int peer = first_rank_ + r;
      const std::span<float>& values = from_rank[static_cast<size_t>(r)];
      if (at < values.size()) {
        requests.push_back(MPI_REQUEST_NULL);
        DEEPSEARCH_MPI(world_, peer,
                       MPI_Irecv(values.data() + at, static_cast<int>(std::min(kBlock, values.size() - at)), MPI_FLOAT,
                                 r, kTag, world_.learners, &requests.back()));
      }
      if (at < mine.size()) {
        requests.push_back(MPI_REQUEST_NULL);
        DEEPSEARCH_MPI(world_, peer,
                       MPI_Isend(mine.data() + at, static_cast<int>(std::min(kBlock, mine.size() - at)), MPI_FLOAT, r,
                                 kTag, world_.learners, &requests.back()));
      }
    }
    wait_all(requests, world_, "gather over the learner ranks", -1);
  }
  const std::span<float>& own = from_rank[static_cast<size_t>(rank_)];
  if (!mine.empty() && own.data() != mine.data()) std::copy(mine.begin(), mine.end(), own.begin());
}

void MpiCollectives::all_reduce_sum(std::span<float> values) {
  if (size_ == 1 || values.empty()) return;
  std::vector<std::span<const float>> to_rank;
  std::vector<std::span<float>> parts;
  for (int r = 0; r < size_; ++r) {
    const size_t begin = part_begin(values.size(), r, size_);
    const size_t end = part_begin(values.size(), r + 1, size_);
    parts.push_back(values.subspan(begin, end - begin));
    to_rank.emplace_back(parts.back());
  }
  // The sum goes over this rank's own part in place: every block of it is copied to the staging before it is written.
  const std::span<float> mine = parts[static_cast<size_t>(rank_)];
  exchange_and_sum(to_rank, mine);
  exchange(mine, parts);
}

void MpiCollectives::broadcast(std::span<float> values, int root) {
  if (root < 0 || root >= size_) failure("broadcast from learner {}: there are {}", root, size_);
  if (size_ == 1) return;
  for (size_t at = 0; at < values.size(); at += kBlock * 4) {
    MPI_Request request = MPI_REQUEST_NULL;
    const auto count = static_cast<int>(std::min(kBlock * 4, values.size() - at));
    DEEPSEARCH_MPI(world_, first_rank_ + root,
                   MPI_Ibcast(values.data() + at, count, MPI_FLOAT, root, world_.learners, &request));
    wait_one(request, world_, "MPI_Ibcast", first_rank_ + root);
  }
}

void MpiCollectives::reduce_scatter_sum(std::span<const float> values, std::span<float> part) {
  check_parts(part.size(), values.size(), "reduce_scatter_sum");
  std::vector<std::span<const float>> to_rank;
  for (size_t r = 0; r < static_cast<size_t>(size_); ++r)
    to_rank.push_back(values.subspan(r * part.size(), part.size()));
  exchange_and_sum(to_rank, part);
}

void MpiCollectives::all_gather(std::span<const float> part, std::span<float> values) {
  check_parts(part.size(), values.size(), "all_gather");
  std::vector<std::span<float>> from_rank;
  for (size_t r = 0; r < static_cast<size_t>(size_); ++r)
    from_rank.push_back(values.subspan(r * part.size(), part.size()));
  exchange(part, from_rank);
}

std::vector<double> MpiCollectives::gather(double value) {
  std::vector<double> all(static_cast<size_t>(size_), value);
  if (size_ == 1) return all;
  MPI_Request request = MPI_REQUEST_NULL;
  DEEPSEARCH_MPI(world_, -1,
                 MPI_Iallgather(&value, 1, MPI_DOUBLE, all.data(), 1, MPI_DOUBLE, world_.learners, &request));
  wait_one(request, world_, "MPI_Iallgather", -1);
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

void MpiCollectives::barrier() {
  if (size_ == 1) return;
  MPI_Request request = MPI_REQUEST_NULL;
  DEEPSEARCH_MPI(world_, -1, MPI_Ibarrier(world_.learners, &request));
  wait_one(request, world_, "MPI_Ibarrier", -1);
}

std::vector<std::string> MpiCollectives::gather_texts(const std::string& text) {
  return all_gather_text(text, world_.learners, world_);
}

void MpiCollectives::broadcast_bytes(void* bytes, int size, int root) {
  if (size_ == 1) return;
  MPI_Request request = MPI_REQUEST_NULL;
  DEEPSEARCH_MPI(world_, first_rank_ + root, MPI_Ibcast(bytes, size, MPI_BYTE, root, world_.learners, &request));
  wait_one(request, world_, "MPI_Ibcast", first_rank_ + root);
}

}  // namespace deepsearch
