// One tree: algorithm.md section 2 as a state machine. See search/episode.h for the call order.
//
// A tree is a pure function of (generator, verifier, params, seed, key, problem): its requests name their random
// numbers by seed, key and the child indices from the root, never by time, rank or handle.
//
// With frontier_batch > 1 a tree works in waves: up to that many expansions are in flight, and when all have come they
// are taken in the order they were chosen, so that the tree does not depend on which came first. A wave of one is the
// published rule.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "data/problem.h"
#include "data/tree_record.h"
#include "search/episode.h"
#include "search/node_store.h"
#include "search/params.h"
#include "search/selection.h"
#include "search/terminal_choice.h"
#include "search/tree_observer.h"
#include "verify/verifier.h"

namespace deepsearch {

class Tree : public Episode {
 public:
  // `verifier` and `observer` must outlive the tree. Throws bad_input when params cannot grow a tree.
  Tree(Problem problem, const TreeKey& key, const SearchParams& params, const Verifier& verifier, uint64_t seed,
       uint64_t handle, TreeObserver* observer = nullptr);
  Tree(const Tree&) = delete;
  Tree& operator=(const Tree&) = delete;

  uint64_t handle() const override { return handle_; }
  std::optional<ExpansionRequest> next_request() override;
  void apply(Expansion expansion) override;
  bool done() const override { return stop_ != StopReason::kRunning; }
  void cancel() override { stop(StopReason::kCancelled); }
  TreeRecord finish() override;

  std::span<const Node> nodes() const { return nodes_.all(); }
  StopReason stop_reason() const { return stop_; }

 private:
  // A node of the wave: chosen, and on its way to being expanded.
  struct Chosen {
    int32_t node = 0;
    int32_t n_children = 0;  // asked for; 0: a revisit
    int32_t first_child = 0;
    bool issued = false;
    std::optional<Expansion> expansion;
    bool ready() const { return n_children == 0 || expansion.has_value(); }
  };

  // tree.cpp: the loop
  bool wave_ready() const;
  void take_waves();
  void iterate(Chosen& chosen);
  std::vector<int32_t> absorb(Chosen& chosen);
  void mark_pruned(std::span<const int32_t> children);
  std::vector<TerminalCandidate> unrecorded_terminals(std::span<const int32_t> children) const;
  void visit(std::span<const int32_t> children);
  void back_up_and_record(const TerminalCandidate& terminal, bool leftover);
  void check_limits();
  void exhaust();
  void stop(StopReason reason);

  // tree_select.cpp: the next wave
  void select_wave();
  int32_t select_local(int32_t node);
  int32_t select_global(bool frontier_only);
  int32_t select_by_walk();
  int32_t tie_broken(std::span<const Scored> candidates, int32_t at) const;
  void choose(int32_t node, EventKind kind, double score);
  void set_frontier(int32_t id, bool on);

  void log_event(EventKind kind, int32_t node, double score);

  Problem problem_;
  const TreeKey key_;
  const SearchParams params_;
  const Verifier& verifier_;
  const uint64_t seed_;
  const uint64_t handle_;
  TreeObserver* const observer_;

  NodeStore nodes_;
  std::vector<Chosen> wave_;
  std::vector<int32_t> without_terminal_;  // of the last wave: where the local rule applies
  std::vector<Scored> candidates_;         // scratch of the selection
  std::vector<RecordedLeaf> recorded_;
  std::vector<SearchEvent> events_;
  StopReason stop_ = StopReason::kRunning;
  int32_t iterations_ = 0;
  int64_t tokens_generated_ = 0;
  int64_t tokens_prefilled_ = 0;
};

}  // namespace deepsearch
