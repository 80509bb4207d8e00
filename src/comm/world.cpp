#include "comm/world.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <limits>
#include <numeric>
#include <signal.h>
#include <unistd.h>

#include "comm/launch.h"
#include "comm/world_impl.h"
#include "core/activity.h"
#include "core/error.h"
#include "core/version.h"

namespace deepsearch {
namespace {

constexpr size_t kMaxText = size_t{16} << 20;  // a start-up text (a config, an error) is never near this

bool world_was_made = false;

std::string host_name() {
  char name[256] = "";
  if (gethostname(name, sizeof name - 1) != 0) return "unknown";
  return name;
}

std::string mpi_error_text(int code) {
  char text[MPI_MAX_ERROR_STRING] = "";
  int length = 0;
  if (MPI_Error_string(code, text, &length) != MPI_SUCCESS) return fmt::format("MPI error {}", code);
  return {text, static_cast<size_t>(length)};
}

void duplicate(MPI_Comm from, MPI_Comm& to, const World::Impl& world) {
  DEEPSEARCH_MPI(world, -1, MPI_Comm_dup(from, &to));
  DEEPSEARCH_MPI(world, -1, MPI_Comm_set_errhandler(to, MPI_ERRORS_RETURN));
}

void find_neighbours(World::Impl& world) {
  MPI_Comm host = MPI_COMM_NULL;
  DEEPSEARCH_MPI(world, -1, MPI_Comm_split_type(world.world, MPI_COMM_TYPE_SHARED, world.rank, MPI_INFO_NULL, &host));
  DEEPSEARCH_MPI(world, -1, MPI_Comm_rank(host, &world.local_rank));
  DEEPSEARCH_MPI(world, -1, MPI_Comm_size(host, &world.ranks_on_host));
  DEEPSEARCH_MPI(world, -1, MPI_Comm_free(&host));
}

}  // namespace

void RanksParams::describe(ConfigVisitor& v) {
  v.field({.key = "mode",
           .unit = "",
           .meaning =
               "partitioned: some ranks search while the others learn; colocated: all search, then all learn, and the "
               "engine's KV memory is given back in between (for few GPUs)",
           .choices = {"partitioned", "colocated"}},
          mode);
  v.field({.key = "learners",
           .unit = "ranks",
           .meaning = "how many of the job's ranks (the last ones) train, and the others search; colocated: all of "
                      "them, whatever this says",
           .min = 1,
           .max = 65536},
          learners);
  v.field({.key = "transport",
           .unit = "",
           .meaning = "how learner ranks sum gradients, and with it where they train: nccl on GPUs, one of its own for "
                      "each; mpi on the CPU; auto takes nccl where it can be",
           .choices = {"auto", "mpi", "nccl"}},
          transport);
  v.field({.key = "problems_in_flight",
           .unit = "problems",
           .meaning = "problems a search rank works on at a time; it is given new ones as it returns them",
           .min = 1,
           .max = 1000000},
          problems_in_flight);
  v.field({.key = "share",
           .unit = "",
           .meaning = "a search rank with little to do makes expansions for the trees of one with much; trees are the "
                      "same with and without"},
          share);
  v.field({.key = "heartbeat_seconds",
           .unit = "seconds",
           .meaning = "time between the signs of life a rank sends to the coordinator, and the coordinator to all",
           .min = 0.01,
           .max = 3600},
          heartbeat_seconds);
  v.field({.key = "stuck_seconds",
           .unit = "seconds",
           .meaning = "a rank silent for longer is named and the job ends; must exceed heartbeat_seconds",
           .min = 0.1,
           .max = 1e6},
          stuck_seconds);
  v.field({.key = "test_delay_ms",
           .unit = "ms",
           .meaning = "a test mode: what is received is held back for a random time up to this, in order per sender; "
                      "0: not at all",
           .min = 0,
           .max = 60000},
          test_delay_ms);
  v.field({.key = "test_delay_seed", .unit = "", .meaning = "of those times", .min = 0}, test_delay_seed);
}

std::string World::Impl::name_of(int world_rank) const {
  if (!assigned || colocated) return fmt::format("rank {}", world_rank);
  const int n_search = size - n_learners;
  return world_rank < n_search ? fmt::format("search {}", world_rank)
                               : fmt::format("learner {}", world_rank - n_search);
}

std::string World::Impl::describe_rank(int world_rank) const {
  if (world_rank < 0 || world_rank >= size) return fmt::format("rank {} (of {})", world_rank, size);
  const bool host_known = static_cast<size_t>(world_rank) < hosts.size();
  return fmt::format("{} (rank {}, host {})", name_of(world_rank), world_rank,
                     host_known           ? hosts[static_cast<size_t>(world_rank)]
                     : world_rank == rank ? host
                                          : "unknown");
}

void check_mpi(int code, const World::Impl& world, const char* call, int peer) {
  if (code == MPI_SUCCESS) return;
  const std::string operation(call, std::strcspn(call, "("));
  const std::string with = peer < 0 ? "" : " with " + world.describe_rank(peer);
  failure("{}: {}{}: {}", world.describe_rank(world.rank), operation, with, mpi_error_text(code));
}

void wait_all(std::vector<MPI_Request>& requests, const World::Impl& world, const char* call, int peer) {
  const CurrentOperation operation(call, peer);
  Backoff backoff(200);
  for (;;) {
    int done = 0;
    check_mpi(MPI_Testall(static_cast<int>(requests.size()), requests.data(), &done, MPI_STATUSES_IGNORE), world, call,
              peer);
    if (done != 0) return report_progress();
    report_waiting();
    backoff.pause();
  }
}

void wait_one(MPI_Request request, const World::Impl& world, const char* call, int peer) {
  std::vector<MPI_Request> requests{request};
  wait_all(requests, world, call, peer);
}

std::vector<std::string> all_gather_text(const std::string& text, MPI_Comm comm, const World::Impl& world) {
  int ranks = 0;
  DEEPSEARCH_MPI(world, -1, MPI_Comm_size(comm, &ranks));
  const int mine = static_cast<int>(std::min(text.size(), kMaxText));
  std::vector<int> lengths(static_cast<size_t>(ranks));
  MPI_Request request = MPI_REQUEST_NULL;
  DEEPSEARCH_MPI(world, -1, MPI_Iallgather(&mine, 1, MPI_INT, lengths.data(), 1, MPI_INT, comm, &request));
  wait_one(request, world, "MPI_Iallgather", -1);

  std::vector<int> starts;
  int64_t total = 0;
  for (int length : lengths) {
    starts.push_back(static_cast<int>(total));
    total += length;
    if (total > std::numeric_limits<int>::max()) {
      failure("{}: texts of more than 2 GiB in all cannot be gathered", world.describe_rank(world.rank));
    }
  }
  std::string all(static_cast<size_t>(total), '\0');
  DEEPSEARCH_MPI(world, -1,
                 MPI_Iallgatherv(text.data(), mine, MPI_CHAR, all.data(), lengths.data(), starts.data(), MPI_CHAR, comm,
                                 &request));
  wait_one(request, world, "MPI_Iallgatherv", -1);

  std::vector<std::string> texts;
  for (size_t i = 0; i < lengths.size(); ++i) {
    texts.push_back(all.substr(static_cast<size_t>(starts[i]), static_cast<size_t>(lengths[i])));
  }
  return texts;
}

// "" when all ranks run the same build.
std::string other_build(const World::Impl& world) {
  const std::vector<std::string> builds =
      all_gather_text(fmt::format("{} ({})", version(), revision()), world.world, world);
  for (size_t rank = 1; rank < builds.size(); ++rank) {
    if (builds[rank] == builds[0]) continue;
    return fmt::format(
        "rank {} (host {}) runs deepsearch {}, rank 0 (host {}) runs {}: all ranks must run the same build", rank,
        world.hosts[rank], builds[rank], world.hosts[0], builds[0]);
  }
  return "";
}

World::World(int* argc, char*** argv) : impl_(std::make_unique<Impl>()) {
  int initialized = 0;
  MPI_Initialized(&initialized);
  if (world_was_made || initialized != 0) failure("MPI is set up once in a process, and a World exists or existed");
  impl_->host = host_name();
  impl_->exceptions_at_start = std::uncaught_exceptions();
  int level = MPI_THREAD_SINGLE;
  if (MPI_Init_thread(argc, argv, MPI_THREAD_FUNNELED, &level) != MPI_SUCCESS) {
    failure("host {}: MPI_Init_thread failed", impl_->host);
  }
  world_was_made = true;
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  std::string mixed;
  try {
    DEEPSEARCH_MPI(*impl_, -1, MPI_Comm_rank(MPI_COMM_WORLD, &impl_->rank));
    DEEPSEARCH_MPI(*impl_, -1, MPI_Comm_size(MPI_COMM_WORLD, &impl_->size));
    if (level < MPI_THREAD_FUNNELED) failure("host {}: this MPI library has no thread support", impl_->host);
    const std::string mismatch = launch_mismatch(impl_->size, [](const char* name) { return std::getenv(name); });
    if (!mismatch.empty()) bad_input("host {}: {}", impl_->host, mismatch);
    duplicate(MPI_COMM_WORLD, impl_->world, *impl_);
    duplicate(MPI_COMM_WORLD, impl_->mail, *impl_);
    find_neighbours(*impl_);
    impl_->hosts = all_gather_text(impl_->host, impl_->world, *impl_);
    mixed = other_build(*impl_);
  } catch (const Error& error) {
    if (impl_->size == 1) {
      MPI_Finalize();
      throw;
    }
    abort("start", error.what(), error.exit_code());
  }
  if (mixed.empty()) return;
  MPI_Finalize();  // all ranks know, and the first one speaks
  throw Error(impl_->rank == 0 ? mixed : "", kExitBadInput);
}

World::~World() {
  if (impl_->size > 1 && !impl_->error_agreed && std::uncaught_exceptions() > impl_->exceptions_at_start) {
    abort("end", "an error that the other ranks do not know of ended this rank", kExitFailure);
  }
  for (MPI_Comm* comm : {&impl_->policy, &impl_->learners, &impl_->mail, &impl_->world}) {
    if (*comm != MPI_COMM_NULL) MPI_Comm_free(comm);
  }
  MPI_Finalize();
}

int World::rank() const {
  return impl_->rank;
}
int World::size() const {
  return impl_->size;
}
const std::string& World::host() const {
  return impl_->host;
}
const std::string& World::host_of(int world_rank) const {
  return impl_->hosts.at(static_cast<size_t>(world_rank));
}
int World::local_rank() const {
  return impl_->local_rank;
}
int World::ranks_on_host() const {
  return impl_->ranks_on_host;
}

void World::assign_roles(const RanksParams& params) {
  if (impl_->assigned) failure("{}: roles are assigned once", who());
  // Every rank reads the same config and sees the same size, so all of them throw or none does.
  impl_->error_agreed = true;
  const int64_t learners = params.learners;
  if (learners < 1) {
    bad_input("[ranks].learners = {}: at least one learner rank is needed; 1 is the default", learners);
  }
  const bool colocated = impl_->size == 1 || params.mode == "colocated";
  if (!colocated && learners >= impl_->size) {
    bad_input(
        "[ranks].learners = {} of {} ranks leaves no rank to search: give at most {} learners, or start at least {} "
        "ranks",
        learners, impl_->size, impl_->size - 1, learners + 1);
  }
  if (!(params.stuck_seconds > params.heartbeat_seconds)) {
    bad_input(
        "[ranks].stuck_seconds = {} must exceed [ranks].heartbeat_seconds = {}, or every rank counts as silent between "
        "two "
        "signs of life",
        params.stuck_seconds, params.heartbeat_seconds);
  }
  impl_->error_agreed = false;
  impl_->colocated = colocated;
  impl_->assign(params, colocated ? impl_->size : static_cast<int>(learners));
}

void World::assign_learners(const RanksParams& params) {
  if (impl_->assigned) failure("{}: roles are assigned once", who());
  impl_->colocated = impl_->size == 1;
  impl_->assign(params, impl_->size);
}

void World::Impl::assign(const RanksParams& ranks, int learner_count) {
  n_learners = learner_count;
  params = ranks;
  assigned = true;
  const bool learns = rank >= size - n_learners;
  DEEPSEARCH_MPI(*this, -1, MPI_Comm_split(world, learns ? 0 : MPI_UNDEFINED, rank, &learners));
  if (learns) DEEPSEARCH_MPI(*this, -1, MPI_Comm_set_errhandler(learners, MPI_ERRORS_RETURN));
  if (colocated || n_learners == size) return;  // every rank has the policy that it learns
  // The coordinator first, then the search ranks: those that hold the policy's weights.
  const int coordinator = size - n_learners;
  const int place = rank == coordinator ? 0 : rank + 1;
  const int with_policy = rank <= coordinator ? 0 : MPI_UNDEFINED;
  DEEPSEARCH_MPI(*this, -1, MPI_Comm_split(world, with_policy, place, &policy));
  if (with_policy == 0) DEEPSEARCH_MPI(*this, -1, MPI_Comm_set_errhandler(policy, MPI_ERRORS_RETURN));
}

Role World::role() const {
  if (!impl_->assigned) failure("{}: asked for its role before roles were assigned", who());
  if (impl_->colocated) return Role::kBoth;
  return impl_->rank < impl_->size - impl_->n_learners ? Role::kSearch : Role::kLearner;
}

bool World::searches() const {
  return role() != Role::kLearner;
}
bool World::learns() const {
  return role() != Role::kSearch;
}
bool World::is_coordinator() const {
  return impl_->rank == coordinator_rank();
}
int World::n_search() const {
  return role() == Role::kBoth ? impl_->size : impl_->size - impl_->n_learners;
}
int World::n_learners() const {
  return impl_->n_learners;
}
int World::search_index() const {
  return searches() ? impl_->rank : -1;
}
int World::learner_index() const {
  return learns() ? impl_->rank - coordinator_rank() : -1;
}
int World::coordinator_rank() const {
  return role() == Role::kBoth ? 0 : impl_->size - impl_->n_learners;
}

std::vector<int> World::search_ranks() const {
  std::vector<int> ranks(static_cast<size_t>(n_search()));
  std::iota(ranks.begin(), ranks.end(), 0);
  return ranks;
}

std::vector<int> World::learner_ranks() const {
  std::vector<int> ranks(static_cast<size_t>(n_learners()));
  std::iota(ranks.begin(), ranks.end(), coordinator_rank());
  return ranks;
}

std::string World::who() const {
  return impl_->name_of(impl_->rank);
}
std::string World::name_of(int world_rank) const {
  return impl_->name_of(world_rank);
}
std::string World::describe_rank(int world_rank) const {
  return impl_->describe_rank(world_rank);
}
const RanksParams& World::params() const {
  return impl_->params;
}

void World::barrier(const char* phase) {
  try {
    MPI_Request request = MPI_REQUEST_NULL;
    DEEPSEARCH_MPI(*impl_, -1, MPI_Ibarrier(impl_->world, &request));
    wait_one(request, *impl_, "MPI_Ibarrier", -1);
  } catch (const Error& error) {
    throw error.within(phase);
  }
}

void World::broadcast_text(std::string& text, int root) {
  if (impl_->size == 1) return;
  uint64_t length = text.size();
  MPI_Request request = MPI_REQUEST_NULL;
  DEEPSEARCH_MPI(*impl_, root, MPI_Ibcast(&length, 1, MPI_UINT64_T, root, impl_->world, &request));
  wait_one(request, *impl_, "MPI_Ibcast", root);
  if (length > kMaxText) {
    impl_->error_agreed = true;
    failure("{}: a text of {} bytes is more than a broadcast takes ({})", describe_rank(root), length, kMaxText);
  }
  text.resize(length);
  DEEPSEARCH_MPI(*impl_, root,
                 MPI_Ibcast(text.data(), static_cast<int>(length), MPI_CHAR, root, impl_->world, &request));
  wait_one(request, *impl_, "MPI_Ibcast", root);
}

std::vector<std::string> World::gather_text(const std::string& text, int root) {
  std::vector<std::string> texts = all_gather_text(text, impl_->world, *impl_);
  if (impl_->rank != root) texts.clear();
  return texts;
}

std::string World::first_error(const std::string& text) {
  for (const std::string& one : all_gather_text(text, impl_->world, *impl_)) {
    if (one.empty()) continue;
    impl_->error_agreed = true;
    return one;
  }
  return "";
}

void World::abort(const std::string& phase, const std::string& why, int exit_code) {
  const std::string role = impl_->assigned && !impl_->colocated ? who() + ", " : "";
  const std::string line = fmt::format("rank {} ({}host {}): {}: {}\n", impl_->rank, role, impl_->host, phase, why);
  std::fflush(stdout);
  std::fputs(line.c_str(), stderr);
  std::fflush(stderr);
  if (impl_->size > 1) {
    // MPI_Abort talks to the launcher; should that be gone, the alarm ends this process all the same.
    ::signal(SIGALRM, SIG_DFL);
    ::alarm(10);
    MPI_Abort(MPI_COMM_WORLD, exit_code);
  }
  std::_Exit(exit_code);
}

}  // namespace deepsearch
