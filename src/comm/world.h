// World: MPI set up once, ranks split by role. The only place that calls MPI_Init; MPI errors are exceptions that name
// role, rank, host, operation and peer. Thread level: funneled (the main thread speaks).
//
// Roles: the last `learners` ranks are learners, the rest search; learner 0 hosts the coordinator. In mode "colocated",
// and in a world of one rank, all ranks play both roles in turn, and rank 0 hosts the coordinator.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/config_visitor.h"

namespace deepsearch {

// Set-up (a GPU, large files) may take this many times [ranks].stuck_seconds.
constexpr double kSetUpFactor = 5;

enum class Role { kSearch, kLearner, kBoth };

struct RanksParams {
  std::string mode = "partitioned";  // or "colocated": all ranks search, then all learn
  int64_t learners = 1;
  std::string transport = "auto";   // auto, mpi, nccl: how learner ranks sum gradients
  int64_t problems_in_flight = 64;  // problems a search rank works on at a time
  bool share = true;                // search ranks help each other (schedule/dispatcher.h)
  double heartbeat_seconds = 2.0;
  double stuck_seconds = 60.0;  // a rank that has been silent for longer is named and the job ends
  double test_delay_ms = 0;     // a test mode: Mailbox holds messages back (comm/delayed_mail.h)
  int64_t test_delay_seed = 1;

  void describe(ConfigVisitor& v);
};

class World {
 public:
  // MPI_Init_thread. Errors: made twice in a process; bad_input where a launcher started several processes and each
  // finds itself alone (comm/launch.h), and where ranks are of different builds (the first rank has the text).
  World(int* argc, char*** argv);
  // MPI_Finalize. While an exception that the other ranks do not know of is passing through a world of several ranks it
  // ends the job (MPI_Abort) instead of waiting for them.
  ~World();
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  int rank() const;
  int size() const;
  const std::string& host() const;
  const std::string& host_of(int world_rank) const;
  int local_rank() const;  // place among the ranks of this host
  int ranks_on_host() const;

  // Splits into roles. Impossible layouts (learners < 1, learners ≥ ranks when ranks > 1) are bad_input on all ranks.
  void assign_roles(const RanksParams& params);
  // Every rank learns and none searches, whatever params.learners says: supervised training.
  void assign_learners(const RanksParams& params);
  Role role() const;
  bool searches() const;  // kSearch or kBoth
  bool learns() const;
  bool is_coordinator() const;
  int n_search() const;
  int n_learners() const;
  int search_index() const;  // place among search ranks, −1 if none
  int learner_index() const;
  int coordinator_rank() const;  // world ranks
  std::vector<int> search_ranks() const;
  std::vector<int> learner_ranks() const;
  std::string who() const;                          // "search 3", "learner 0", "rank 2" before roles are assigned
  std::string name_of(int world_rank) const;        // the same of another rank
  std::string describe_rank(int world_rank) const;  // "search 3 (rank 3, host n07)"
  const RanksParams& params() const;                // as given to assign_roles

  // Collective over all ranks, and asleep while they wait.
  void barrier(const char* phase);
  // From root to all; the string is replaced elsewhere.
  void broadcast_text(std::string& text, int root);
  std::vector<std::string> gather_text(const std::string& text, int root);  // empty except at root
  // All ranks get the first (lowest rank) non-empty text, or "" when all are empty: how start-up errors agree. After a
  // non-empty answer every rank may throw and leave: the destructor then finalizes.
  std::string first_error(const std::string& text);

  // Prints "rank R (role, host): phase: why" once and takes the whole job down within seconds (MPI_Abort).
  [[noreturn]] void abort(const std::string& phase, const std::string& why, int exit_code);

  struct Impl;  // comm/world_impl.h; for comm only
  Impl& impl() const { return *impl_; }

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace deepsearch
