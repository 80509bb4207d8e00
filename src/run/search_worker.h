// SearchWorker: what a search rank does, without its loop: takes assignments, grows their trees on its engine and those
// of its helpers (schedule/sharing.h), makes expansions for ranks that it helps itself, writes each finished tree to
// its part and sends it to the coordinator. Cached solutions of replay groups are scored whenever its engine has
// nothing in flight. Where the coordinator's rank searches too, its loop calls the same object. One thread.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "comm/mailbox.h"
#include "comm/weights_channel.h"
#include "comm/world.h"
#include "core/timer.h"
#include "engine/engine.h"
#include "rounds/replay_group.h"
#include "rounds/safeguard.h"
#include "run/config.h"
#include "run/flat_weights.h"
#include "schedule/sharing.h"
#include "search/forest.h"
#include "store/part_writer.h"
#include "verify/verifier.h"

namespace deepsearch {

class SearchWorker : private SharePort {
 public:
  // `part` may be null: trees are then not written. `engine`: null for the one that [engine] says. All references
  // outlive the worker.
  SearchWorker(World& world, Mailbox& mailbox, const Config& config, const Verifier& verifier, const ModelConfig& model,
               PartWriter* part, std::unique_ptr<Engine> engine = nullptr);

  // From now on incorrect trajectories are judged before they are written and sent.
  void set_safeguard(Safeguard safeguard) { safeguard_.emplace(std::move(safeguard)); }
  // What [engine].stop is looked for in: the bytes of each token id. Before the first assignment.
  void set_token_bytes(std::vector<std::string> bytes) { engine_->set_token_bytes(std::move(bytes)); }

  // Takes what is for a search rank: assignments, weights, orders to share, and what other search ranks send. False:
  // the message is of another kind.
  bool handle(Envelope& envelope);
  // Moves announced weights on, and swaps in what has come whole. To be called between decode steps.
  void receive_weights();
  bool receiving() const { return !announced_.empty(); }
  // Without a channel, where the weights are this rank's own: reports, and swaps them in.
  void set_weights(const WeightSource& weights, int64_t policy_version);

  // One decode step, or nothing but a flush that is due when there is nothing to compute, which is what false says.
  bool pump();
  // Something is to be computed here; trees whose steps are all being made by helpers are not.
  bool computes() const { return sharing_.engine_busy() || !unscored_.empty(); }
  // What was written of finished trees can be read, and outlives a kill.
  void flush();
  const char* phase() const;  // for heartbeats
  int64_t trees_done() const { return trees_done_; }
  const Engine& engine() const { return *engine_; }
  const SharingCounters& sharing() const { return sharing_.counters(); }

  // Where the time went since the last call; `step` labels the row.
  ReportMessage take_report(int64_t step);
  // Time the owner's loop spent waiting for messages.
  void add_waiting(double seconds) { phases_.add(receiving() ? "weights" : "waiting", seconds); }
  // Before this rank learns: the engine's KV memory is given back until set_weights(). All trees are done.
  void suspend() { engine_->suspend(); }
  // Drops all work, and takes what is still announced, since other ranks wait for this one to hand it on.
  void drop_all(double patience_seconds);
  void drop_trees();  // only; finished ones are flushed

 private:
  struct Running {
    AssignMessage::Item item;
    uint64_t handle = 0;                  // of its tree or rollouts
    std::optional<TreeRecord> tree = {};  // that found a solution, while rollouts branch from it
  };

  SearchParams params_of(const AssignMessage::Item& item) const;
  bool works_for_training() const;
  bool branches(const Running& running, const TreeRecord& record) const;

  // A replay group on its way: its sampled rollouts and its scored solutions, whichever comes first.
  struct Replay {
    std::optional<TreeRecord> rollouts;
    std::optional<std::vector<ScoredSolution>> cached;
  };

  // Work that is for weights which are still on their way waits for them.
  void on_assign(const AssignMessage& message);
  // Reports to the coordinator, then takes the values as they come (receive_weights).
  void on_weights(const WeightsMessage& message);
  void assign(const AssignMessage& message);
  void swap_in(const WeightSource& weights, int64_t policy_version);
  void tell_load(bool always);
  // SharePort
  void expand(int helper, SharedRequest request) override;
  void expanded(int owner, Expansion expansion) override;
  void forget(int helper, uint64_t tree) override;
  void report_step(int64_t next_version);
  void start(Running& running, AssignMessage::Work work);
  void cancel(const std::vector<TreeKey>& keys);
  void start_replay(Running& running, const SearchParams& params);
  bool score_cached();
  // Delivers the group when both parts of it are there.
  void join_replay(TreeKey key);
  void finish(TreeRecord&& record);
  void deliver(AssignMessage::Work work, bool last, TreeRecord&& record);

  World& world_;
  Mailbox& mailbox_;
  const Config& config_;
  ModelConfig model_;
  WeightsChannel channel_;
  std::deque<WeightsMessage> announced_;   // policy versions that are on their way, in order
  std::deque<AssignMessage> deferred_;     // for those
  std::shared_ptr<FlatWeights> incoming_;  // the first one's values
  bool taking_ = false;                    // the first one's transfer has begun
  int64_t version_ = -1;                   // of the policy that the engine has; −1: none yet
  PartWriter* part_;
  std::unique_ptr<Engine> engine_;
  SharingGenerator sharing_;
  Forest forest_;
  LoadReporter load_;
  SharingCounters shared_reported_;
  std::vector<Expansion> nothing_;  // scratch of pump
  std::map<TreeKey, Running> running_;
  std::map<TreeKey, Replay> replays_;
  std::deque<TreeKey> unscored_;  // of these, in the order they came
  std::optional<Safeguard> safeguard_;
  PhaseTimes phases_;
  EngineCounters reported_;
  bool evaluating_ = false;        // the last work assigned is an evaluation's, which is no part of a step's report
  int64_t tokens_evaluating_ = 0;  // generated for evaluations, still to be left out of a report
  bool unflushed_ = false;
  Stopwatch appended_;
  int64_t trees_done_ = 0;
  int64_t trees_reported_ = 0;
  int64_t groups_done_ = 0;
  int64_t groups_reported_ = 0;
  double generating_reported_ = 0;
  double bookkeeping_reported_ = 0;
};

}  // namespace deepsearch
