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
  int64_t max_depth = 64;
  int64_t step_tokens = 256;
  int64_t width = 8;
  int64_t trajectories = 8;
  int64_t token_budget = 0;      // generated tokens a tree may spend; 0: no limit
  double uct_c = 2.0;
  double gamma_min = 0.1;
  double lambda1 = 0.4;          // tanh Q(parent)
  double lambda2 = 0.0;          // H(s)
  double lambda3 = 0.01;         // D(d(s))
  double lambda4 = 0.0;          // tanh Q(s), counts only when positive
  DepthBonus depth_bonus = DepthBonus::kSqrt;
  bool frontier_only = true;
  Order order = Order::kFrontier;  // frontier: the paper; uct: its vanilla ablation; deepest: deepest alive frontier node first
  Backup backup = Backup::kConstrained;
  NegativeSelection negative_selection = NegativeSelection::kMostConfident;
  Classes classes = Classes::kOutcome;
  LocalTie local_tie = LocalTie::kFirst;
  EntropyKind entropy = EntropyKind::kExact;
  bool count_final_eos = true;   // false: the final EOS is left out of a trajectory's mean entropy (the reference when pad = EOS)
  double incomplete_reward = -1.0;
  bool width_decay = false;
  int64_t min_width = 1;
  int64_t decay = 1;
  // beyond the paper (experiments.md, "What follows")
  Illegal illegal = Illegal::kRecord;  // prune: a terminal made by the step check (dead) is recorded only when no child of the expansion is alive
  bool distinct_children = false;
  bool stop_when_solved = false;
  When when = When::kAlways;     // group_failed: a tree only after all of a problem's direct rollouts failed
  int64_t group = 8;             // direct rollouts of a problem (when = group_failed or never)
  double temperature = 1.0;
  double top_p = 1.0;

  void describe(ConfigVisitor& v);
};

}  // namespace deepsearch
