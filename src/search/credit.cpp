#include "search/credit.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "search/credit_siblings.h"
#include "search/credit_values.h"

namespace deepsearch {

namespace {

constexpr double kDeviationEpsilon = 1e-6;

double reward_of_leaf(const NodeRecord& node, const CreditParams& params) {
  if (node.outcome == Outcome::kCorrect) return 1.0;
  return node.outcome == Outcome::kIncomplete ? params.incomplete_reward : -1.0;
}

bool by_values(Credit credit) {
  return credit == Credit::kSubtree || credit == Credit::kEdge;
}

Credit of_rollouts(const CreditParams& params) {
  switch (params.rollout_credit) {
    case RolloutCredit::kOutcome:
      return Credit::kOutcome;
    case RolloutCredit::kSubtree:
      return Credit::kSubtree;
    case RolloutCredit::kEdge:
      return Credit::kEdge;
    case RolloutCredit::kSame:
      break;
  }
  return params.credit;
}

// Section 3: q̃ per node, the terminal's plain reward last (for a recorded one that is its q).
void score_nodes(const TreeRecord& record, const CreditParams& params, TrajectoryCredit& trajectory) {
  for (const int32_t id : trajectory.path) {
    const double q = record.nodes[static_cast<size_t>(id)].value;
    const double score = id == trajectory.leaf ? trajectory.reward : node_score(q, params);
    trajectory.scores.push_back(score + trajectory.overlong_penalty);
  }
}

// Outcome scores never use incomplete_reward: what is not correct is −1 (the reference).
void score_outcome(TrajectoryCredit& trajectory) {
  const double reward = trajectory.outcome == Outcome::kCorrect ? 1.0 : -1.0;
  trajectory.scores.assign(trajectory.path.size(), reward + trajectory.overlong_penalty);
}

}  // namespace

void CreditParams::describe(ConfigVisitor& v) {
  v.choice<Credit>(
      {.key = "credit",
       .unit = "",
       .meaning =
           "score of a token: node = its node's value, outcome = its trajectory's reward (the "
           "paper's token_scores), subtree and edge = mean reward over all terminals below its "
           "node, against the root's, edge also against the parent's; "
           "siblings = whether search got from a step to a solution, against the steps sampled at the same place "
           "(trees; direct rollouts as outcome)"},
      credit,
      {{"node", Credit::kNode},
       {"outcome", Credit::kOutcome},
       {"subtree", Credit::kSubtree},
       {"edge", Credit::kEdge},
       {"siblings", Credit::kSiblings}});
  v.choice<RolloutCredit>({.key = "rollout_credit",
                           .unit = "",
                           .meaning = "score of a direct rollout's token: as credit says, or outcome, subtree or edge "
                                      "where trees have another credit"},
                          rollout_credit,
                          {{"same", RolloutCredit::kSame},
                           {"outcome", RolloutCredit::kOutcome},
                           {"subtree", RolloutCredit::kSubtree},
                           {"edge", RolloutCredit::kEdge}});
  v.field({.key = "epsilon_q",
           .unit = "",
           .meaning = "scale in q_max*tanh(q/epsilon_q), the node score (0: the plain q)",
           .min = 0,
           .max = 1e6},
          epsilon_q);
  v.field({.key = "q_max", .unit = "", .meaning = "bound of a node score", .min = 0, .max = 1e6}, q_max);
  v.choice<Overlong>(
      {.key = "overlong",
       .unit = "",
       .meaning = "responses near or at the end of their budget: penalty = overlong_penalty over the last "
                  "overlong_buffer tokens, filter = what was cut off before an answer is not trained on (DAPO's two), "
                  "none"},
      overlong, {{"none", Overlong::kNone}, {"penalty", Overlong::kPenalty}, {"filter", Overlong::kFilter}});
  v.field({.key = "overlong_buffer",
           .unit = "tokens",
           .meaning = "B: the last tokens of the response budget, over which the overlong penalty grows (0: none)",
           .min = 0},
          overlong_buffer);
  v.field({.key = "overlong_penalty",
           .unit = "",
           .meaning = "penalty of a response that uses the whole budget (0: none)",
           .min = 0,
           .max = 1e6},
          overlong_penalty);
  v.field({.key = "response_budget",
           .unit = "tokens",
           .meaning = "T_max of the overlong penalty, and what seq_mean_token_sum_norm divides by (0: "
                      "search.max_depth * search.step_tokens)",
           .min = 0},
          response_budget);
  v.choice<AdvantageNorm>(
      {.key = "advantage_norm",
       .unit = "",
       .meaning = "subtract the mean of the group's terminal scores (mean), divide by their "
                  "deviation too (mean_std), or neither (none)"},
      advantage_norm,
      {{"none", AdvantageNorm::kNone}, {"mean", AdvantageNorm::kMean}, {"mean_std", AdvantageNorm::kMeanStd}});
  v.choice<Terminals>({.key = "terminals",
                       .unit = "",
                       .meaning = "which trajectories of a tree are its group: the recorded ones, or all terminals"},
                      terminals, {{"recorded", Terminals::kRecorded}, {"all", Terminals::kAll}});
  v.field({.key = "merge_identical",
           .unit = "",
           .meaning = "subtree and edge: siblings with the same tokens share one value"},
          merge_identical);
  v.field({.key = "merge_prefixes",
           .unit = "",
           .meaning = "subtree and edge: direct rollouts become a tree by what their tokens have in common"},
          merge_prefixes);
  v.field({.key = "skip_dead",
           .unit = "",
           .meaning = "subtree and edge: steps below a node without any correct terminal are left out of the "
                      "loss and its count of tokens (false: trained with advantage 0)"},
          skip_dead);
  v.field({.key = "value_prior",
           .unit = "terminals",
           .meaning = "subtree and edge: the parent's value enters a node's as so many terminals would "
                      "(m-estimate, Cestnik 1990)",
           .min = 0,
           .max = 1e6},
          value_prior);
  v.field({.key = "skip_uniform", .unit = "", .meaning = "leave out trees and groups that are all correct or all not"},
          skip_uniform);
  v.choice<Rescue>({.key = "rescue",
                    .unit = "",
                    .meaning = "search.when = group_failed: where rollouts failed and a tree found solutions, train on "
                               "the tree, or on the failed rollouts with these solutions among them, as one group"},
                   rescue, {{"tree", Rescue::kTree}, {"group", Rescue::kGroup}});
}

void check(const CreditParams& params) {
  const auto needs_values = [&](bool set, const char* key) {
    if (set && !by_values(params.credit) && !by_values(of_rollouts(params))) {
      bad_input(
          "[learn].{} belongs to credit by values: set credit or rollout_credit to \"subtree\" or \"edge\", or leave "
          "it out",
          key);
    }
  };
  needs_values(params.merge_identical, "merge_identical");
  needs_values(params.merge_prefixes, "merge_prefixes");
  needs_values(params.skip_dead, "skip_dead");
  needs_values(params.value_prior != 0, "value_prior");
}

Credit credit_for(const TreeRecord& record, const CreditParams& params) {
  return record.kind == RecordKind::kRollouts ? of_rollouts(params) : params.credit;
}

CreditParams resolved(CreditParams credit, const SearchParams& search) {
  if (credit.response_budget == 0) credit.response_budget = search.max_depth * search.step_tokens;
  credit.incomplete_reward = search.incomplete_reward;
  return credit;
}

void check(const CreditParams& credit, const SearchParams& search) {
  if (credit.rescue == Rescue::kGroup && search.when != When::kGroupFailed) {
    bad_input("[learn].rescue = \"group\" needs [search].when = \"group_failed\", which has rollouts and a tree");
  }
  if (credit.overlong == Overlong::kPenalty && credit.overlong_penalty > 0 &&
      credit.overlong_buffer > credit.response_budget) {
    bad_input(
        "[learn].overlong_buffer is {}, more than the response budget of {} tokens: every response would be overlong; "
        "make it smaller or set overlong = \"none\"",
        credit.overlong_buffer, credit.response_budget);
  }
}

double overlong_penalty(int64_t tokens, const CreditParams& params) {
  if (params.overlong != Overlong::kPenalty) return 0;
  if (params.response_budget == 0 || params.overlong_buffer == 0) return 0;
  const auto buffer = static_cast<double>(params.overlong_buffer);
  const auto over = static_cast<double>(tokens - (params.response_budget - params.overlong_buffer));
  return over <= 0 ? 0 : -over / buffer * params.overlong_penalty;
}

double node_score(double q, const CreditParams& params) {
  return params.epsilon_q == 0 ? q : params.q_max * std::tanh(q / params.epsilon_q);
}

Baseline baseline_of(std::span<const double> scores, AdvantageNorm norm, Deviation deviation) {
  if (norm == AdvantageNorm::kNone || scores.empty()) return {};
  if (scores.size() == 1) {
    return {.mean = 0, .scale = norm == AdvantageNorm::kMean ? 1.0 : 1.0 / (1.0 + kDeviationEpsilon)};
  }
  const auto n = static_cast<double>(scores.size());
  double sum = 0;
  for (const double score : scores) sum += score;
  const double mean = sum / n;
  if (norm == AdvantageNorm::kMean) return {.mean = mean, .scale = 1};
  // Compared exactly: rounding of the mean must not pass for a deviation of 1e-17.
  const auto [low, high] = std::minmax_element(scores.begin(), scores.end());
  if (*low == *high) return {.mean = mean, .scale = 0};
  double squares = 0;
  for (const double score : scores) squares += (score - mean) * (score - mean);
  const double variance = squares / (deviation == Deviation::kSample ? n - 1 : n);
  return {.mean = mean, .scale = 1.0 / (std::sqrt(variance) + kDeviationEpsilon)};
}

std::vector<TrajectoryCredit> trajectories_of(const TreeRecord& record, const CreditParams& params) {
  std::vector<TrajectoryCredit> group;
  const auto add = [&](int32_t leaf, Outcome outcome, double reward) {
    TrajectoryCredit trajectory;
    trajectory.leaf = leaf;
    trajectory.outcome = outcome;
    trajectory.reward = reward;
    trajectory.path = path_to(record, leaf);
    const auto given = [&](int32_t id) { return record.nodes[static_cast<size_t>(id)].given; };
    for (const int32_t id : trajectory.path) {
      const int32_t n_tokens = record.nodes[static_cast<size_t>(id)].n_tokens;
      if (given(id)) {
        trajectory.given_tokens += n_tokens;
        continue;
      }
      trajectory.path_tokens.push_back(n_tokens);
      trajectory.tokens += n_tokens;
    }
    std::erase_if(trajectory.path, given);
    trajectory.overlong_penalty = overlong_penalty(trajectory.given_tokens + trajectory.tokens, params);
    const bool filtered = params.overlong == Overlong::kFilter && outcome == Outcome::kIncomplete;
    trajectory.trained_tokens = filtered ? 0 : trajectory.tokens;
    group.push_back(std::move(trajectory));
  };
  if (params.terminals == Terminals::kRecorded) {
    for (const RecordedLeaf& leaf : record.recorded) {
      if (leaf.dropped == Dropped::kNo) add(leaf.leaf, leaf.outcome, leaf.reward);
    }
    return group;
  }
  for (size_t id = 0; id < record.nodes.size(); ++id) {
    const NodeRecord& node = record.nodes[id];
    if (node.terminal && node.outcome != Outcome::kNone && !node.dropped) {
      add(static_cast<int32_t>(id), node.outcome, reward_of_leaf(node, params));
    }
  }
  return group;
}

std::vector<TrajectoryCredit> credit_of(const TreeRecord& record, const CreditParams& params) {
  std::vector<TrajectoryCredit> group = trajectories_of(record, params);
  const bool replay = record.kind == RecordKind::kReplay;
  const Credit credit = credit_for(record, params);
  if (by_values(credit) && !replay) {
    CreditParams values = params;
    values.credit = credit;
    credit_by_values(record, values, group);
    return group;
  }
  const bool siblings = credit == Credit::kSiblings;
  if (siblings && record.kind == RecordKind::kTree) {
    credit_by_siblings(record, params, group);
    return group;
  }
  const bool outcome = (credit == Credit::kOutcome || siblings) && !replay;
  std::vector<double> last_scores;
  for (TrajectoryCredit& trajectory : group) {
    if (outcome) {
      score_outcome(trajectory);
    } else if (record.kind != RecordKind::kTree) {
      trajectory.scores.assign(trajectory.path.size(), trajectory.reward + trajectory.overlong_penalty);
    } else {
      score_nodes(record, params, trajectory);
    }
    last_scores.push_back(trajectory.scores.back());
  }
  const Deviation deviation = outcome ? Deviation::kSample : Deviation::kPopulation;
  const AdvantageNorm norm = replay ? AdvantageNorm::kMean : params.advantage_norm;
  const Baseline baseline = baseline_of(last_scores, norm, deviation);
  for (TrajectoryCredit& trajectory : group) {
    for (const double score : trajectory.scores) trajectory.advantages.push_back(baseline.advantage(score));
  }
  return group;
}

std::vector<double> per_token(const TrajectoryCredit& trajectory) {
  std::vector<double> advantages;
  advantages.reserve(static_cast<size_t>(trajectory.tokens));
  for (size_t i = 0; i < trajectory.path_tokens.size(); ++i) {
    advantages.insert(advantages.end(), static_cast<size_t>(trajectory.path_tokens[i]), trajectory.advantages[i]);
  }
  return advantages;
}

bool is_uniform(const TreeRecord& record, const CreditParams& params) {
  int64_t total = 0;
  int64_t correct = 0;
  const auto count = [&](Outcome outcome) {
    ++total;
    if (outcome == Outcome::kCorrect) ++correct;
  };
  const Credit credit = credit_for(record, params);
  const bool siblings = credit == Credit::kSiblings && record.kind == RecordKind::kTree;
  if (params.terminals == Terminals::kRecorded && !by_values(credit) && !siblings) {
    for (const RecordedLeaf& leaf : record.recorded) {
      if (leaf.dropped == Dropped::kNo) count(leaf.outcome);
    }
  } else {
    for (const NodeRecord& node : record.nodes) {
      if (node.terminal && node.outcome != Outcome::kNone && !node.dropped) count(node.outcome);
    }
  }
  return correct == 0 || correct == total;
}

bool teaches(const TreeRecord& record, const CreditParams& params) {
  if (params.skip_uniform && is_uniform(record, params)) return false;
  const std::vector<TrajectoryCredit> group = credit_of(record, params);
  return std::any_of(group.begin(), group.end(),
                     [](const TrajectoryCredit& trajectory) { return trajectory.trained_tokens > 0; });
}

}  // namespace deepsearch
