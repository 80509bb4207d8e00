// SearchWorker: what a search rank does, without its loop: takes assignments, grows their trees on one engine, writes
// each to its part and sends it to the coordinator. A world of one rank calls the same object from the coordinator's
// loop. One thread.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "comm/mailbox.h"
#include "comm/world.h"
#include "core/timer.h"
#include "engine/engine.h"
#include "run/config.h"
#include "search/forest.h"
#include "store/part_writer.h"
#include "verify/verifier.h"

namespace deepsearch {

class SearchWorker {
 public:
  // `part` may be null: trees are then not written. All references outlive the worker.
  SearchWorker(World& world, Mailbox& mailbox, const Config& config, const Verifier& verifier, const ModelConfig& model,
               PartWriter* part);

  void handle(const AssignMessage& message);
  void handle(const WeightsMessage& message);

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
  void add_waiting(double seconds) { phases_.add("waiting", seconds); }
  // Drops all unfinished trees.
  void cancel();

 private:
  void start(const AssignMessage::Item& item, AssignMessage::Work work);
  void finish(TreeRecord&& record);
  void deliver(AssignMessage::Work work, bool last, TreeRecord&& record);

  World& world_;
  Mailbox& mailbox_;
  const Config& config_;
  ModelWeights weights_;
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
