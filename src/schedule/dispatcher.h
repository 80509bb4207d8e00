// Dispatcher: who gets the next problem, and who helps whom. The coordinator's decisions without messages, clocks or
// problems, so that `deepsearch simulate` runs this very code. One thread.
//
// Problems wait in one queue and go to the ranks with the most room, so a fast rank gets more of them. When the queue
// is empty, a rank with little to do becomes the *helper* of the *donor* with the most work a head, if that has at
// least twice as much: from then on the donor sends each new expansion to the shortest queue among its own and its
// helpers' (schedule/sharing.h). A helper has one donor, a donor any number of helpers, and no helper is a donor. Loads
// are what ranks tell when theirs has changed much (schedule/load.h), and after each assignment: nobody is polled.
//
// Every operation takes time logarithmic in the number of ranks.
#pragma once

#include <cstdint>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "schedule/load.h"

namespace deepsearch {

struct DispatchParams {
  int64_t problems_in_flight = 64;  // a rank works on at most
  bool share = true;                // helpers and donors; false: whole problems only
};

// What is to be told to whom.
struct Assignment {
  int rank = 0;
  int64_t count = 0;  // of the problems at the front of the queue
};
struct ShareOrder {
  int donor = 0;
  int helper = 0;
  bool on = true;           // false: no more expansions for this helper; true again: its load has changed
  int64_t helper_load = 0;  // sequences it has of its own
};
struct Decisions {
  std::vector<Assignment> assignments;
  std::vector<ShareOrder> shares;
};

class Dispatcher {
 public:
  // `ranks`: world ranks of those that search, ascending.
  Dispatcher(std::vector<int> ranks, const DispatchParams& params);

  // What happened. Unknown ranks are an internal error.
  void queued(int64_t problems);     // more of them at the end of the queue
  void withdrawn(int64_t problems);  // fewer in the queue
  void finished(int rank);           // it has finished one problem
  void told(int rank, const Load& load);
  // Nothing is queued or under way any more, whatever was: after a step that was broken off.
  void clear();

  // What follows from it; to be carried out, and not returned again.
  Decisions decide();

  int64_t waiting() const { return waiting_; }  // problems in the queue
  int64_t outstanding(int rank) const { return at(rank).problems; }
  int64_t leases() const { return leases_; }  // helpers that have a donor now
  int64_t leases_made() const { return leases_made_; }

 private:
  struct Rank {
    int64_t problems = 0;  // assigned and not finished
    Load load;
    bool told = true;          // its load is known: it has told it since it was last given problems
    int donor = -1;            // index of whom it helps
    int64_t helper_load = 0;   // what its donor was told it has of its own
    std::vector<int> helpers;  // indices of who helps it
    int64_t heads() const { return 1 + static_cast<int64_t>(helpers.size()); }
    double work_a_head() const { return static_cast<double>(load.own_sequences) / static_cast<double>(heads()); }
  };

  int index_of(int rank) const;
  const Rank& at(int rank) const { return states_[static_cast<size_t>(index_of(rank))]; }
  Rank& state(int index) { return states_[static_cast<size_t>(index)]; }
  // Takes a rank out of the orders below, and puts it back where it now belongs.
  void lift(int index);
  void settle(int index);
  bool can_give(const Rank& rank) const;
  void assign(Decisions& decisions);
  void end_leases(Decisions& decisions);
  void refresh_leases(Decisions& decisions);
  void make_leases(Decisions& decisions);
  void end_lease(int helper, Decisions& decisions);

  const std::vector<int> ranks_;
  const DispatchParams params_;
  std::vector<Rank> states_;
  int64_t waiting_ = 0;
  int64_t in_flight_ = 1;  // problems a rank is given at a time
  int64_t leases_ = 0;
  int64_t leases_made_ = 0;
  std::set<std::pair<int64_t, int>> by_problems_;            // all ranks, those with the fewest first
  std::set<std::pair<int64_t, int>> free_;                   // neither helper nor donor, by sequences here
  std::set<std::pair<double, int>, std::greater<>> donors_;  // who could give work away, by work a head
  std::vector<int> changed_;                                 // donors whose leases must be looked at again
  std::vector<int> refreshed_;                               // helpers that have less of their own than before
};

}  // namespace deepsearch
