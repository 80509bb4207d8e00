// Credit: from a finished tree or group of rollouts to an advantage a token. Tree-GRPO, algorithm.md section 3, with
// the deviations of section 6; and the value-based credit of experiments.md. Pure functions, all in double.
//
// With rollout_credit direct rollouts go by another credit than trees; below, `credit` is the one that a record goes
// by.
//
// Direct rollouts (records of kind kRollouts) have no node values: under credit = "node" every token gets its rollout's
// reward, group-relative, as the reference does where cached solutions take places among direct rollouts. Under
// "outcome", and for direct rollouts under "siblings", what is not correct is −1, and the deviation is the sample's.
//
// Groups with cached solutions (kReplay) are scored the same whatever `credit` and `advantage_norm` say: the rollout's
// reward with the overlong penalty, minus the group's mean.
//
// Terminals that the safeguard dropped are no part of any group.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/config_visitor.h"
#include "data/tree_record.h"
#include "search/params.h"

namespace deepsearch {

enum class Credit { kNode, kOutcome, kSubtree, kEdge, kSiblings };
// Of direct rollouts where they are not credited as trees are.
enum class RolloutCredit { kSame, kOutcome, kSubtree, kEdge };
enum class AdvantageNorm { kNone, kMean, kMeanStd };
enum class Terminals { kRecorded, kAll };
// What is trained on where direct rollouts failed and a tree was grown ([search].when = "group_failed"): the tree's own
// trajectories, or the failed rollouts and the tree's solutions as one group (search/rescue.h).
enum class Rescue { kTree, kGroup };
enum class Overlong { kNone, kPenalty, kFilter };

// Keys of [learn] that say how trees become advantages.
struct CreditParams {
  Credit credit = Credit::kNode;  // the paper's token_scores: node, outcome; beyond it: subtree, edge, siblings
  RolloutCredit rollout_credit = RolloutCredit::kSame;
  double epsilon_q = 1.0;  // 0: the plain q instead of q_max·tanh(q/epsilon_q)
  double q_max = 1.0;
  Overlong overlong = Overlong::kPenalty;
  int64_t overlong_buffer = 4096;
  double overlong_penalty = 1.0;
  int64_t response_budget = 0;  // T_max; 0: max_depth·step_tokens, filled in by resolved()
  AdvantageNorm advantage_norm = AdvantageNorm::kMean;
  Terminals terminals = Terminals::kRecorded;
  bool merge_identical = false;
  bool merge_prefixes = false;
  bool skip_dead = false;
  double value_prior = 0.0;  // pseudo-terminals of the parent's value
  bool skip_uniform = false;
  Rescue rescue = Rescue::kTree;
  // Not a key: [search].incomplete_reward, filled in by resolved().
  double incomplete_reward = -1.0;

  void describe(ConfigVisitor& v);
};

// The credit that a record goes by: `credit`, or rollout_credit for direct rollouts.
Credit credit_for(const TreeRecord& record, const CreditParams& params);

// Throws bad_input for keys that have no effect beside the others.
void check(const CreditParams& params);

// With what [search] decides filled in. Until then a response_budget of 0 means: no overlong penalty.
CreditParams resolved(CreditParams credit, const SearchParams& search);
// bad_input where resolved credit does not go with the search.
void check(const CreditParams& credit, const SearchParams& search);

// One trajectory of a group, with its share of the credit.
struct TrajectoryCredit {
  int32_t leaf = 0;
  Outcome outcome = Outcome::kNone;
  double reward = 0;
  double overlong_penalty = 0;       // ≤ 0, inside scores and advantages
  int64_t given_tokens = 0;          // of the response's beginning that is no part of the credit: NodeRecord::given
  int64_t tokens = 0;                // of the response behind them
  int64_t trained_tokens = 0;        // the first so many enter the loss: fewer by skip_dead, 0 by overlong = "filter"
  int64_t first_trained = 0;         // of these the first that does: what is before it is context, as the prompt is
  std::vector<int32_t> path;         // node ids without given ones, nearest to the root first
  std::vector<int32_t> path_tokens;  // tokens of each node of the path; with merge_prefixes of each piece of one
  std::vector<double> scores;        // of each of these, before normalisation
  std::vector<double> advantages;    // of each of these
};

// The group's trajectories: the recorded ones in order of recording, or (terminals = "all") every judged terminal by
// node number. Empty when there are none.
std::vector<TrajectoryCredit> credit_of(const TreeRecord& record, const CreditParams& params);

// The same without scores and advantages.
std::vector<TrajectoryCredit> trajectories_of(const TreeRecord& record, const CreditParams& params);

// One advantage a token of the response.
std::vector<double> per_token(const TrajectoryCredit& trajectory);

// All trajectories that the credit compares are correct, or none is: skip_uniform leaves such a record out. These are
// the group's; with credit by values all judged terminals, since the values come from them.
bool is_uniform(const TreeRecord& record, const CreditParams& params);

// Whether the record adds anything to a batch: a token that enters the loss, and with skip_uniform something to
// compare.
bool teaches(const TreeRecord& record, const CreditParams& params);

// --- The parts, for tests and for groups that are no record (cached solutions among direct rollouts).

// min(0, −(T − (T_max − B))/B)·penalty; 0 when the budget, the buffer or the penalty is 0, or overlong is not
// "penalty".
double overlong_penalty(int64_t tokens, const CreditParams& params);

// q̃ of a node before the terminal: q_max·tanh(q/epsilon_q).
double node_score(double q, const CreditParams& params);

// Over n − 1 (sample) or n (population) values.
enum class Deviation { kPopulation, kSample };

// What is subtracted and divided by. A group of one has mean 0 and deviation 1. Where all values are equal the
// advantage under "mean_std" is 0 (the reference divides by 1e-6 there and reaches 1e6).
struct Baseline {
  double mean = 0;
  double scale = 1;  // factor: 1/(deviation + 1e-6), or 0
  double advantage(double score) const { return (score - mean) * scale; }
};
Baseline baseline_of(std::span<const double> scores, AdvantageNorm norm, Deviation deviation);

}  // namespace deepsearch
