// Everything of [search]: algorithm.md sections 1–2, paper defaults, and the keys beyond the paper.
#pragma once

#include <cstdint>

#include "core/config_visitor.h"

namespace deepsearch {

enum class Order { kFrontier, kDeepest, kUct };
enum class DepthBonus { kSqrt, kLinear, kLog, kNone };
enum class Backup { kConstrained, kSimple };
enum class NegativeSelection { kMostConfident, kRandom, kLeastConfident };
enum class Classes { kOutcome, kReward };
enum class EntropyKind { kExact, kSampled };
enum class LocalTie { kFirst, kEntropyLow, kEntropyHigh, kRandom };
enum class Illegal { kRecord, kPrune };
enum class When { kAlways, kGroupFailed, kNever };

struct SearchParams {
  int64_t max_depth = 64;     // 0: the task's own; whoever grows trees resolves it first
  int64_t step_tokens = 256;  // 0: the task's own
  int64_t width = 8;
  int64_t trajectories = 8;
  int64_t token_budget = 0;    // generated tokens a tree may spend; 0: no limit
  int64_t frontier_batch = 1;  // expansions of one tree in flight; 1 is the published behaviour
  double uct_c = 2.0;
  double gamma_min = 0.1;
  double lambda1 = 0.4;   // tanh Q(parent)
  double lambda2 = 0.0;   // H(s)
  double lambda3 = 0.01;  // D(d(s))
  double lambda4 = 0.0;   // tanh Q(s), counts only when positive
  DepthBonus depth_bonus = DepthBonus::kSqrt;
  bool frontier_only = true;
  Order order =
      Order::kFrontier;  // frontier: the paper; uct: its vanilla ablation; deepest: deepest alive frontier node first
  Backup backup = Backup::kConstrained;
  NegativeSelection negative_selection = NegativeSelection::kMostConfident;
  Classes classes = Classes::kOutcome;
  LocalTie local_tie = LocalTie::kFirst;
  EntropyKind entropy = EntropyKind::kExact;
  bool count_final_eos = true;  // false: the final EOS is left out of mean entropies (the reference when pad = EOS)
  double incomplete_reward = -1.0;
  bool width_decay = false;
  int64_t min_width = 1;
  int64_t decay = 1;
  // beyond the paper (experiments.md, "What follows")
  Illegal illegal = Illegal::kRecord;  // prune: a terminal the step check calls dead is recorded only when no child of
                                       // the expansion is alive or correct
  bool distinct_children = false;
  bool stop_when_solved = false;
  When when = When::kAlways;    // group_failed: a tree only after all of a problem's direct rollouts failed
  int64_t group = 8;            // direct rollouts of a problem (when = group_failed or never)
  double hand_over_gain = 0;    // kGroupFailed: schedule/hand_over.h; 0: always a tree
  int64_t branch_rollouts = 0;  // a group, after a tree that found a solution; 0: none
  double temperature = 1.0;
  double top_p = 1.0;

  void describe(ConfigVisitor& v);
};

// Children of a node at `depth`: `width`, or with width_decay max(min_width, width − decay·floor(d / floor(max_depth /
// width))) with the inner floor at least 1 (the reference's, algorithm.md section 6 "width_step").
int64_t width_at(const SearchParams& params, int64_t depth);

// Throws bad_input when the values cannot grow a tree (a size still 0, min_width > width, …).
void check(const SearchParams& params);

}  // namespace deepsearch
