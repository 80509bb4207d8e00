// The messages between ranks: plain structs, serialised by cereal, each behind a small checked header (comm/mailbox.h).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/problem.h"
#include "data/tree_record.h"
#include "schedule/load.h"
#include "schedule/sharing.h"

namespace deepsearch {

enum class MessageKind : int32_t {
  kAssign = 1,
  kTree = 2,
  kWeights = 3,
  kHeartbeat = 4,
  kControl = 5,
  kReport = 6,
  kLoad = 7,
  kShare = 8,
  kExpand = 9,
  kExpanded = 10,
  kForget = 11,
  kCancel = 12
};

// coordinator → search: what to grow, for which step, under which policy.
struct AssignMessage {
  static constexpr MessageKind kKind = MessageKind::kAssign;
  // kTree: a tree. kGroup: direct rollouts. kHandOver: direct rollouts, then a tree when all of them failed.
  // kEvaluate: direct rollouts that are counted, not trained on and not stored. kReplay: a group of direct rollouts,
  // the first of which are the item's cached solutions.
  enum class Work : uint8_t { kTree = 0, kGroup = 1, kEvaluate = 2, kHandOver = 3, kReplay = 4 };
  struct Item {
    TreeKey key;
    Problem problem;
    Work work = Work::kTree;
    int64_t samples = 0;  // kGroup, kEvaluate, kHandOver: rollouts; kReplay: with the cached ones
    double temperature = 1.0;
    double top_p = 1.0;
    std::vector<std::vector<Token>> cached = {};  // kReplay: 1 to `samples` solutions, end-of-sequence token included
    template <class Archive>
    void serialize(Archive& archive) {
      archive(key, problem, work, samples, temperature, top_p, cached);
    }
  };
  int64_t policy_version = 0;
  std::vector<Item> items;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(policy_version, items);
  }
};

// search → coordinator, when it has changed much: what this rank has to do.
struct LoadMessage {
  static constexpr MessageKind kKind = MessageKind::kLoad;
  Load load;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(load);
  }
};

// coordinator → a donor: a helper for it, or one no more (schedule/dispatcher.h).
struct ShareMessage {
  static constexpr MessageKind kKind = MessageKind::kShare;
  int32_t helper = 0;  // world rank
  bool on = true;
  int64_t helper_load = 0;  // sequences it has of its own
  template <class Archive>
  void serialize(Archive& archive) {
    archive(helper, on, helper_load);
  }
};

// owner of a tree → helper: a frontier node to expand.
struct ExpandMessage {
  static constexpr MessageKind kKind = MessageKind::kExpand;
  SharedRequest shared;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(shared);
  }
};

// … and back.
struct ExpandedMessage {
  static constexpr MessageKind kKind = MessageKind::kExpanded;
  Expansion expansion;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(expansion);
  }
};

// owner → helpers: the tree is done.
struct ForgetMessage {
  static constexpr MessageKind kKind = MessageKind::kForget;
  uint64_t tree = 0;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(tree);
  }
};

// coordinator → search: end these trees as they are; each comes back with StopReason::kCancelled.
struct CancelMessage {
  static constexpr MessageKind kKind = MessageKind::kCancel;
  std::vector<TreeKey> keys;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(keys);
  }
};

// search → learner: a finished tree, once.
struct TreeMessage {
  static constexpr MessageKind kKind = MessageKind::kTree;
  AssignMessage::Work work = AssignMessage::Work::kTree;
  bool last = true;  // false: another record of the same item follows (kHandOver)
  TreeRecord tree;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(work, last, tree);
  }
};

// coordinator → search: announces a policy version, whose values follow through the WeightsChannel.
struct WeightsMessage {
  static constexpr MessageKind kKind = MessageKind::kWeights;
  enum class Precision : uint8_t { kFp32 = 0, kBf16 = 1 };
  int64_t policy_version = 0;
  Precision precision = Precision::kFp32;
  int64_t bytes = 0;  // of all values, in flatten() order
  template <class Archive>
  void serialize(Archive& archive) {
    archive(policy_version, precision, bytes);
  }
};

// every rank → coordinator, and coordinator → every rank.
struct HeartbeatMessage {
  static constexpr MessageKind kKind = MessageKind::kHeartbeat;
  std::string host;
  std::string phase;         // "searching", "waiting for work", "learning", …
  double phase_seconds = 0;  // since when
  int64_t trees_done = 0;
  int64_t tokens_generated = 0;
  double busy_seconds = 0;
  int32_t stopping = 0;  // the signal this rank was asked to stop by, 0: none
  // What it was in the middle of ("MPI_Ibcast with learner 0 (rank 2, host n1)") and for how long; "": nothing named.
  std::string operation;
  double operation_seconds = 0;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(host, phase, phase_seconds, trees_done, tokens_generated, busy_seconds, stopping, operation,
            operation_seconds);
  }
};

// coordinator → all; kSaved, kHalted: back.
struct ControlMessage {
  static constexpr MessageKind kKind = MessageKind::kControl;
  // kLearn: the TreeMessages sent so far are the batch of `step`; train on it. kStop: write everything and end.
  // kSave: write your part of the checkpoint after `step` into the folder `why` (search: flush); kSaved: it is there,
  // or `why` not. kHalt: drop all unfinished trees, no more will follow; kHalted: what was finished has been sent.
  enum class Command : uint8_t { kLearn = 0, kStop = 1, kSave = 2, kSaved = 3, kHalt = 4, kHalted = 5 };
  Command command = Command::kStop;
  int64_t step = 0;
  std::string why;
  double progress = -1;  // kLearn: how much of the run's budget is spent, 0 to 1; −1: the schedule goes by updates
  template <class Archive>
  void serialize(Archive& archive) {
    archive(command, step, why, progress);
  }
};

// search → coordinator after each step: where its time went since the last report.
struct ReportMessage {
  static constexpr MessageKind kKind = MessageKind::kReport;
  int64_t step = 0;
  int64_t search_index = 0;
  bool last = false;  // the rank's last message: what it had to send has been sent
  int64_t trees = 0;
  int64_t groups = 0;
  int64_t tokens_generated = 0;
  int64_t tokens_prefilled = 0;
  int64_t tokens_recomputed = 0;
  int64_t prefix_tokens = 0;
  int64_t nodes_evicted = 0;
  int64_t kv_bytes_peak = 0;      // since the start
  int64_t expansions_lent = 0;    // to helpers
  int64_t expansions_helped = 0;  // made for others
  std::vector<std::string> phases;
  std::vector<double> phase_seconds;
  std::string error;  // not empty: the rank failed
  template <class Archive>
  void serialize(Archive& archive) {
    archive(step, search_index, last, trees, groups, tokens_generated, tokens_prefilled, tokens_recomputed,
            prefix_tokens, nodes_evicted, kv_bytes_peak, expansions_lent, expansions_helped, phases, phase_seconds,
            error);
  }
};

}  // namespace deepsearch
