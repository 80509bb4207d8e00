// TreeStream: batches of trees for a learner that search runs ahead of ([learn].max_staleness > 0). Trees of several
// policy versions grow at once, while the learner learns too; a batch is the oldest of those that are finished. The
// rule is schedule/run_ahead.h. One thread, the coordinator's.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <vector>

#include "data/tree_record.h"
#include "run/batch.h"
#include "run/checkpoint_state.h"
#include "run/config.h"
#include "run/coordinator.h"
#include "run/finished_trees.h"
#include "schedule/run_ahead.h"

namespace deepsearch {

class TreeStream {
 public:
  // `make_item`: the work for a problem of that number under a key whose problem_key is not set yet. `earlier`: trees
  // that an earlier attempt had finished; they are not grown again. References outlive the stream.
  using MakeItem = std::function<AssignMessage::Item(int64_t problem, TreeKey key)>;
  TreeStream(const Config& config, Coordinator& coordinator, FinishedTrees& earlier, MakeItem make_item);

  // Begins again, under policy `version`, what an earlier attempt had begun.
  void restore(const std::vector<PendingTree>& pending, int64_t version);

  // Begins what may be begun under policy `version`, with the problems from `next_problem` on, which is moved.
  void begin(int64_t version, int64_t& next_problem);
  // A new version: more may be begun.
  void published() { ahead_.published(); }

  // To be called while the learner learns: problems that came to nothing make room for others at once.
  void tend(int64_t version, int64_t& next_problem);

  // The batch for `step`: waits for it, beginning more problems in place of such that teach nothing. `between` is
  // called now and then. False: a stop was asked for. `used`: records of all problems that leave the stream.
  bool gather(int64_t step, int64_t version, int64_t& next_problem, const std::function<void()>& between,
              StepBatch& batch, std::vector<TreeRecord>& used);

  // Begun and not used, by key.
  std::vector<PendingTree> pending() const;
  // Finished and not used in a batch.
  std::vector<TreeRecord> finished();
  // Tokens generated in this attempt or an earlier one for what is held, and in an earlier one for what is not grown
  // again, since the start.
  int64_t held_tokens() const;
  int64_t earlier_tokens() const { return earlier_tokens_; }

 private:
  struct Entry {
    int64_t problem = 0;
    int64_t begun = 0;  // policy version
    bool finished = false;
    bool teaches = false;  // of a finished one: something of it can be in a batch
    std::vector<TreeRecord> records;
  };
  void start(std::vector<AssignMessage::Item> items);
  void take_in();
  void finish(Entry& entry) const;
  std::vector<RunAhead::Age> ages(int64_t step) const;
  void drop_useless();
  void drop_old(int64_t step);
  void use();
  void count(const Entry& entry);
  void leave(std::map<TreeKey, Entry>::iterator entry);

  const Config& config_;
  Coordinator& coordinator_;
  FinishedTrees& earlier_;
  MakeItem make_item_;
  RunAhead ahead_;
  std::map<TreeKey, Entry> entries_;  // keys begin with the step they were begun for, so the oldest come first
  StepBatch next_;                    // what is known of the next batch: what was left out of it
  std::vector<TreeRecord> used_;      // records of problems that left the stream since the last batch
  int64_t earlier_tokens_ = 0;
  int64_t place_version_ = -1;
  int64_t place_ = 0;  // of the next problem begun under that version
};

}  // namespace deepsearch
