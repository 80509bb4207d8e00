// comm/nccl_collectives.cpp on CPUs, over the stand-in of NCCL and CUDA. Run under mpirun:
//   nccl_mpi checks LEARNERS     collectives, the optimiser and the trainer; exit code 0: everything held
//   nccl_mpi silent LEARNERS     the last learner never does its part of the third call
//   nccl_mpi broken LEARNERS     the last learner's communicator breaks at the third call
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <string>
#include <vector>

#include "comm/mpi_collectives.h"
#include "comm/nccl_collectives.h"
#include "comm/world.h"
#include "core/error.h"
#include "mpi/nccl_stand_in.h"
#include "mpi/optimizer_checks.h"
#include "mpi/trainer_checks.h"

namespace deepsearch {
namespace {

int failures = 0;

void check(bool fine, const char* what, int line, const World& world) {
  if (fine) return;
  ++failures;
  std::fprintf(stderr, "%s: line %d: %s\n", world.describe_rank(world.rank()).c_str(), line, what);
}
#define CHECK(condition) check((condition), #condition, __LINE__, world)

std::unique_ptr<Collectives> make_group(World& world) {
  stand_in::use(world.impl().learners);
  return make_nccl_collectives(world, std::make_unique<MpiCollectives>(world), world.learner_index(),
                               /*on_device=*/false);
}

std::vector<float> numbers(size_t n, int rank) {
  std::vector<float> values(n);
  for (size_t i = 0; i < n; ++i) values[i] = static_cast<float>((i * 7 + static_cast<size_t>(rank) * 13) % 101) / 8;
  return values;
}

std::vector<float> sum_of_numbers(size_t n, int ranks) {
  std::vector<float> sum = numbers(n, 0);
  for (int r = 1; r < ranks; ++r) {
    const std::vector<float> more = numbers(n, r);
    for (size_t i = 0; i < n; ++i) sum[i] += more[i];
  }
  return sum;
}

void check_blocking(World& world, Collectives& group) {
  const auto ranks = static_cast<size_t>(group.size());
  const size_t n = 1000 * ranks;
  const std::vector<float> sum = sum_of_numbers(n, group.size());
  std::vector<float> values = numbers(n, group.rank());
  group.start_all_reduce_sum(values).wait();
  CHECK(values == sum);
  std::vector<float> part(1000);
  group.start_reduce_scatter_sum(numbers(n, group.rank()), part).wait();
  CHECK(std::equal(part.begin(), part.end(), sum.begin() + 1000 * group.rank()));
  std::vector<float> all(n);
  group.start_all_gather(std::as_bytes(std::span(part)), std::as_writable_bytes(std::span(all))).wait();
  CHECK(all == sum);
  CHECK(group.all_reduce_sum(1.5) == 1.5 * group.size());
}

// Several transfers on their way while a kernel is still to fill the first one's buffer; ended out of order, with a
// blocking call between them, and no stop of the whole GPU.
void check_asynchronous(World& world, Collectives& group) {
  const size_t part = 500;
  const size_t n = part * static_cast<size_t>(group.size());
  const std::vector<float> sum = sum_of_numbers(n, group.size());
  std::vector<float> first(n, -1.0F);
  std::vector<float> second = numbers(n, group.rank());
  std::vector<std::byte> bytes(3 * static_cast<size_t>(group.size()));
  const std::vector<std::byte> own(3, static_cast<std::byte>(group.rank() + 1));
  const int stops = stand_in::device_synchronisations();
  bool filled = false;
  stand_in::launch(nullptr, 200, [&] {
    const std::vector<float> late = numbers(n, group.rank());
    std::copy(late.begin(), late.end(), first.begin());
    filled = true;
  });
  const std::span<float> whole(second);
  Transfer a = group.start_all_reduce_sum(first);
  Transfer b = group.start_reduce_scatter_sum(whole, whole.subspan(part * static_cast<size_t>(group.rank()), part));
  Transfer c = group.start_all_gather(own, bytes);
  CHECK(!filled);
  CHECK(!a.done());
  CHECK(group.all_reduce_max(group.rank()) == group.size() - 1);
  c.wait();
  CHECK(filled && a.done() && b.done());
  b.wait();
  a.wait();
  for (size_t i = 0; i < bytes.size(); ++i) CHECK(bytes[i] == static_cast<std::byte>(i / 3 + 1));
  CHECK(first == sum);
  for (size_t i = 0; i < part; ++i) {
    const size_t at = part * static_cast<size_t>(group.rank()) + i;
    CHECK(second[at] == sum[at]);
  }
  CHECK(stand_in::device_synchronisations() == stops);
}

int run_checks(World& world) {
  if (world.learns()) {
    const auto group = make_group(world);
    check_blocking(world, *group);
    check_asynchronous(world, *group);
    failures += check_optimizer(*group);
    failures += check_trainer(*group);
  }
  CHECK(stand_in::communicators_aborted() == 0);
  return world.first_error(failures > 0 ? "checks failed" : "").empty() ? 0 : 1;
}

// Every learner says how its third call ended; they all end by themselves.
int run_fault(World& world, const std::string& mode) {
  if (!world.learns()) return world.first_error("").empty() ? 0 : 1;
  const bool faulty = world.learner_index() == world.n_learners() - 1;
  if (faulty && mode == "silent") stand_in::never_answer_from(2);
  if (faulty && mode == "broken") stand_in::fail_from(2, ncclRemoteError);
  std::string error;
  {
    const auto group = make_group(world);
    std::vector<float> values(1000 * static_cast<size_t>(group->size()), 1.0F);
    try {
      for (int i = 0; i < 2; ++i) group->start_all_reduce_sum(values).wait();
      std::vector<float> part(1000);
      Transfer transfer = group->start_reduce_scatter_sum(values, part);
      transfer.wait();
    } catch (const Error& caught) {
      error = caught.what();
    }
    CHECK(stand_in::communicators_aborted() == 1);
    try {
      group->start_all_reduce_sum(values);
      CHECK(false && "a group whose communicator was aborted took a call");
    } catch (const Error& caught) {
      CHECK(std::string(caught.what()).find("was aborted before") != std::string::npos);
    }
  }
  std::printf("%s\n", failures == 0 ? error.c_str() : "checks failed");
  return world.first_error(error.empty() || failures > 0 ? "checks failed" : "").empty() ? 0 : 1;
}

}  // namespace
}  // namespace deepsearch

int main(int argc, char** argv) {
  using namespace deepsearch;  // NOLINT(google-build-using-namespace)
  const std::string mode = argc > 1 ? argv[1] : "checks";
  World world(&argc, &argv);
  RanksParams ranks;
  ranks.learners = argc > 2 ? std::atoi(argv[2]) : 1;
  if (mode != "checks") {
    ranks.heartbeat_seconds = 0.1;
    ranks.stuck_seconds = 0.5;
  }
  world.assign_roles(ranks);
  try {
    return mode == "checks" ? run_checks(world) : run_fault(world, mode);
  } catch (const Error& error) {
    world.abort("checking", error.what(), error.exit_code());
  }
}
