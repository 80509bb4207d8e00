// A discrete-event simulation of a cluster that searches and learns: the coordinator's Dispatcher, and on every search
// rank a SharingGenerator and a Forest of real trees. These are the program's own; simulated are the clock, the engine
// (simulate/timed_engine.h), the network, the policy (simulate/workload.h), the coordinator's service time and the
// learner. Deterministic: same parameters, same trace. One thread.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <queue>
#include <utility>
#include <variant>
#include <vector>

#include "data/tree_record.h"
#include "schedule/dispatcher.h"
#include "schedule/load.h"
#include "search/forest.h"
#include "simulate/network.h"
#include "simulate/params.h"
#include "simulate/trace.h"
#include "simulate/workload.h"

namespace deepsearch {

class ClusterSimulation {
 public:
  // `share`: DispatchParams::share.
  ClusterSimulation(const ClusterParams& params, bool share);
  ~ClusterSimulation();
  ClusterSimulation(const ClusterSimulation&) = delete;
  ClusterSimulation& operator=(const ClusterSimulation&) = delete;

  // Once. `seen` gets every finished record as the coordinator takes it.
  using Seen = std::function<void(const TreeRecord& record)>;
  ClusterTrace run(const Seen& seen = {});

 private:
  class Rank;
  // Messages.
  struct Assign {
    std::vector<int64_t> problems;
  };
  struct Share {
    int helper = 0;
    bool on = true;
    int64_t helper_load = 0;
  };
  struct Forget {
    uint64_t tree = 0;
  };
  struct Finished {
    std::unique_ptr<TreeRecord> record;
    bool last = true;  // of its problem
  };
  using Payload = std::variant<Assign, Share, SharedRequest, Expansion, Forget, Load, Finished>;
  struct Message {
    int from = 0;
    Payload payload;
  };
  struct Event {
    double time = 0;
    uint64_t serial = 0;  // of two at the same time the earlier made one comes first
    enum class Kind : uint8_t { kArrival, kRank, kCoordinator, kLearnt, kPublished } kind = Kind::kArrival;
    int rank = 0;
    uint64_t what = 0;  // kArrival: place in the post; kRank: turn
    bool operator>(const Event& other) const {
      return time > other.time || (time == other.time && serial > other.serial);
    }
  };

  int coordinator() const { return static_cast<int>(ranks_.size()); }
  void schedule(double time, Event::Kind kind, int rank, uint64_t what);
  void send(int from, int to, Message&& message, double when);
  int64_t bytes_of(const Payload& payload) const;
  void arrived(int to, Message&& message, double now);
  void coordinate(double now);
  void handle(Message&& message, double now);
  void begin_step(double now);
  void carry_out(const Decisions& decisions, double& now);
  void learnt(double now);
  void published(double now);

  const ClusterParams params_;
  const SearchParams search_;
  const LatencyModel engine_;
  const Workload workload_;
  Dispatcher dispatcher_;
  Network network_;
  std::vector<std::unique_ptr<Rank>> ranks_;
  std::priority_queue<Event, std::vector<Event>, std::greater<>> events_;
  uint64_t next_serial_ = 0;
  std::vector<Message> post_;  // under way
  std::vector<size_t> free_post_;

  // The coordinator.
  std::deque<Message> inbox_;
  bool coordinating_ = false;  // has an event of its own
  double free_at_ = 0;
  int64_t next_problem_ = 0;
  int64_t version_ = 0;
  Seen seen_;
  ClusterTrace trace_;
};

}  // namespace deepsearch
