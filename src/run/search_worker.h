// SearchWorker: what a search rank does, without its loop: takes assignments, grows their trees on one engine, writes
// each to its part and sends it to the coordinator. A world of one rank calls the same object from the coordinator's
// loop. One thread.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>

#include "comm/mailbox.h"
#include "comm/weights_channel.h"
#include "comm/world.h"
#include "core/timer.h"
#include "engine/engine.h"
#include "run/config.h"
#include "run/flat_weights.h"
#include "search/forest.h"
#include "store/part_writer.h"
#include "verify/verifier.h"

namespace deepsearch {

class SearchWorker {
 public:
  // `part` may be null: trees are then not written. All references outlive the worker.
  SearchWorker(World& world, Mailbox& mailbox, const Config& config, const Verifier& verifier, const ModelConfig& model,
               PartWriter* part);

  // Work that is for weights which are still on their way waits for them.
  void handle(const AssignMessage& message);
  // Reports to the coordinator, then takes the values as they come (receive_weights).
  void handle(const WeightsMessage& message);
  // Moves announced weights on, and swaps in what has come whole. To be called between decode steps.
  void receive_weights();
  bool receiving() const { return !announced_.empty(); }
  // Without a channel, in a world of one: reports, and swaps them in.
  void set_weights(const WeightSource& weights, int64_t policy_version);

  // One decode step, or nothing but a flush that is due when there is no work. False: idle.
  bool pump();
  bool idle() const;
  // What was written of finished trees can be read, and outlives a kill.
  void flush();
  const char* phase() const;  // for heartbeats
  int64_t trees_done() const { return trees_done_; }
  const Engine& engine() const { return *engine_; }

  // Where the time went since the last call; `step` labels the row.
  ReportMessage take_report(int64_t step);
  // Time the owner's loop spent waiting for messages.
  void add_waiting(double seconds) { phases_.add(receiving() ? "weights" : "waiting", seconds); }
  // Drops all unfinished trees, and takes what is still announced, since other ranks wait for this one to hand it on.
  void cancel(double patience_seconds);

 private:
  void assign(const AssignMessage& message);
  void report_step(int64_t next_version);
  void start(const AssignMessage::Item& item, AssignMessage::Work work);
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
  PartWriter* part_;
  std::unique_ptr<Engine> engine_;
  Forest forest_;
  std::map<TreeKey, AssignMessage::Item> running_;
  PhaseTimes phases_;
  EngineCounters reported_;
  bool evaluating_ = false;  // evaluations are no part of a step's report
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
