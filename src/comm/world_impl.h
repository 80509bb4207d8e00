// Private to comm: what World owns, checked MPI calls, and waiting without burning a core.
#pragma once

#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include <mpi.h>

#include "comm/world.h"

namespace deepsearch {

struct World::Impl {
  int rank = 0;
  int size = 1;
  std::string host;
  std::vector<std::string> hosts;  // by world rank
  int local_rank = 0;
  int ranks_on_host = 1;
  bool assigned = false;
  bool colocated = false;  // all ranks have both roles
  int n_learners = 0;
  RanksParams params;
  MPI_Comm world = MPI_COMM_NULL;     // start-up collectives
  MPI_Comm mail = MPI_COMM_NULL;      // Mailbox only
  MPI_Comm learners = MPI_COMM_NULL;  // learner ranks only, by world rank
  MPI_Comm policy = MPI_COMM_NULL;  // the coordinator, then the search ranks in order; null where no rank only searches
  bool error_agreed = false;        // all ranks know of the same error, so all of them come to MPI_Finalize
  int exceptions_at_start = 0;

  void assign(const RanksParams& ranks, int learner_count);  // the last ranks learn
  std::string name_of(int world_rank) const;                 // "search 3"
  std::string describe_rank(int world_rank) const;           // "search 3 (rank 3, host n07)"
};

// Throws Error "search 3 (rank 3, host n07): MPI_Isend to learner 0 (rank 4, host n08): MPI_ERR_…". peer −1: none.
void check_mpi(int code, const World::Impl& world, const char* call, int peer);

// The text of the call names the operation.
#define DEEPSEARCH_MPI(world_impl, peer, call) ::deepsearch::check_mpi((call), (world_impl), #call, (peer))

// Looks often at first, then sleeps longer and longer: an idle rank leaves its core to the others.
class Backoff {
 public:
  explicit Backoff(int looks_before_sleep) : looks_left_(looks_before_sleep) {}
  void pause(double at_most_seconds = 1.0) {
    if (looks_left_ > 0) {
      --looks_left_;
      std::this_thread::yield();
      return;
    }
    std::this_thread::sleep_for(std::chrono::duration<double>(std::min(seconds_, at_most_seconds)));
    seconds_ = std::min(2 * seconds_, 1e-3);
  }

 private:
  int looks_left_;
  double seconds_ = 20e-6;
};

// Completes the requests; MPI's own waits spin. `call` and `peer` are for the error's text.
void wait_all(std::vector<MPI_Request>& requests, const World::Impl& world, const char* call, int peer);
void wait_one(MPI_Request request, const World::Impl& world, const char* call, int peer);

// gather_text + broadcast over any communicator of `world`: every rank gets all texts, by rank of `comm`.
std::vector<std::string> all_gather_text(const std::string& text, MPI_Comm comm, const World::Impl& world);

}  // namespace deepsearch
