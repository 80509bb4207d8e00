// A search rank of ClusterSimulation: what run/search_worker.h does, between decode steps.
#pragma once

#include <functional>
#include <unordered_map>

#include "simulate/cluster_simulation.h"
#include "simulate/timed_engine.h"

namespace deepsearch {

class ClusterSimulation::Rank : public SharePort {
 public:
  Rank(ClusterSimulation& cluster, int rank);

  void arrived(Message&& message, double now);
  // Its decode steps are over, or it was asleep and hears something.
  void wake(uint64_t turn, double now);
  void set_version(int64_t version);
  RankTrace trace() const;

  void expand(int helper, SharedRequest request) override;
  void expanded(int owner, Expansion expansion) override;
  void forget(int helper, uint64_t tree) override;

 private:
  void turn(double now);
  void handle(Message&& message);
  void start(int64_t problem, bool tree);
  void pump();
  void finish(TreeRecord&& record);
  void go_on();

  ClusterSimulation& cluster_;
  const int rank_;
  TimedEngine engine_;
  SharingGenerator sharing_;
  Forest forest_;
  LoadReporter reporter_;
  bool tell_ = false;  // its load, whether it has changed or not
  std::deque<Message> inbox_;
  int64_t started_ = 0;  // decode steps the engine is in, 0: asleep
  int64_t steps_ = 0;    // … after which it wakes
  uint64_t turn_ = 0;
};

}  // namespace deepsearch
