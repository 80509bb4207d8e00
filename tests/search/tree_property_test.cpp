// What must hold of every tree, over many seeds and parameters.
#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include <gtest/gtest.h>

#include "search/grow.h"

namespace deepsearch::testing {

namespace {

// Watches a tree from outside: repeats values and selections by brute force.
class Auditor : public TreeObserver {
 public:
  explicit Auditor(const SearchParams& params) : params_(params) {}
  void watch(const Tree& tree) { tree_ = &tree; }

  void on_expand(int32_t node, int32_t depth, int64_t width, std::span<const int32_t> children) override {
    EXPECT_EQ(width, width_at(params_, depth));
    EXPECT_EQ(width, static_cast<int64_t>(children.size()));
    for (const int32_t child : children) depth_[child] = depth + 1;
    for (const int32_t child : children) parent_[child] = node;
  }
  void on_revisit(int32_t) override { EXPECT_FALSE(params_.frontier_only); }
  void on_terminals(std::span<const TerminalCandidate> candidates, int32_t picked) override {
    const auto best = std::min_element(candidates.begin(), candidates.end(),
                                       [](const auto& a, const auto& b) { return a.cls < b.cls; });
    for (const auto& candidate : candidates) {
      if (candidate.node == picked) {
        EXPECT_EQ(best->cls, candidate.cls);
      }
      if (candidate.cls != best->cls || candidate.node == picked) continue;
      const double picked_entropy = at(picked).trajectory_entropy();
      const bool negative = best->cls != TerminalClass::kCorrect;
      if (!negative || params_.negative_selection == NegativeSelection::kMostConfident) {
        EXPECT_LE(picked_entropy, candidate.entropy);
      } else if (params_.negative_selection == NegativeSelection::kLeastConfident) {
        EXPECT_GE(picked_entropy, candidate.entropy);
      }
    }
  }
  void on_no_terminal() override {}
  void on_visit(int32_t node, int32_t, double) override { ++visits_[node]; }
  void on_backup_row(int32_t terminal, double reward, int32_t node, double, int32_t visits, double q,
                     BackupCase) override {
    if (node == 0) ++backups;
    ++visits_[node];
    EXPECT_EQ(visits_[node], visits);
    q_[node] = expected_value(q_[node], reward, node, terminal);
    EXPECT_EQ(q_[node], q);
    if (reward > 0) on_correct_path.insert(node);
  }
  void on_select(SelectRule rule, int32_t parent, std::span<const Scored> candidates, int32_t chosen) override {
    ++selections[rule];
    double best = -1e300;
    for (const Scored& candidate : candidates) best = std::max(best, candidate.score);
    if (rule == SelectRule::kFrontier) {
      check_frontier(candidates, chosen, best);
    } else if (rule == SelectRule::kLocal) {
      for (const Scored& candidate : candidates) EXPECT_EQ(parent, at(candidate.node).parent);
      for (const Scored& candidate : candidates) {
        if (candidate.node == chosen) {
          EXPECT_EQ(best, candidate.score);
        }
      }
    }
    EXPECT_EQ(chosen < 0, candidates.empty());
  }
  void on_leftover(int32_t) override { ++leftovers; }

  int64_t backups = 0;
  int64_t leftovers = 0;
  std::set<int32_t> on_correct_path;
  std::map<SelectRule, int64_t> selections;

 private:
  const Node& at(int32_t id) const { return tree_->nodes()[static_cast<size_t>(id)]; }

  // Section 2, step 5, as its table reads.
  double expected_value(double q, double r, int32_t node, int32_t terminal) const {
    const double w = std::max((depth_of(node) + 1.0) / (depth_of(terminal) + 1.0), params_.gamma_min);
    if (params_.backup == Backup::kSimple) return r == 0 ? q : q + w * r;
    if (r > 0) return q < 0 ? w * r : q + w * r;
    if (r < 0) return q > 0 ? q : q + w * r;
    return q;
  }
  int32_t depth_of(int32_t node) const { return node == 0 ? 0 : depth_.at(node); }

  // Lists the frontier by its definition, depth first.
  void list(int32_t id, std::vector<int32_t>& out) const {
    const Node& node = at(id);
    const auto children = static_cast<int64_t>(node.children.size());
    if (id != 0 && !node.terminal && (children < width_at(params_, node.depth) || listing_inner_)) out.push_back(id);
    for (const int32_t child : node.children) list(child, out);
  }
  void check_frontier(std::span<const Scored> candidates, int32_t chosen, double best) {
    std::vector<int32_t> expected;
    std::vector<int32_t> given;
    for (const Scored& candidate : candidates) given.push_back(candidate.node);
    // After a dead end below an inner node the strict frontier is used even when inner nodes may be chosen.
    listing_inner_ = false;
    list(0, expected);
    if (!params_.frontier_only && given != expected) {
      listing_inner_ = true;
      expected.clear();
      list(0, expected);
    }
    EXPECT_EQ(expected, given);
    for (const Scored& candidate : candidates) {
      const Node& node = at(candidate.node);
      double bonus = 0;
      if (params_.depth_bonus == DepthBonus::kSqrt) bonus = std::sqrt(1.0 * node.depth / params_.max_depth);
      if (params_.depth_bonus == DepthBonus::kLinear) bonus = node.depth;
      if (params_.depth_bonus == DepthBonus::kLog) bonus = std::log(node.depth + 1.0);
      const double score = params_.lambda1 * std::tanh(at(node.parent).mean()) + params_.lambda2 * node.entropy +
                           params_.lambda3 * bonus + std::max(0.0, params_.lambda4) * std::tanh(node.mean());
      EXPECT_NEAR(score, candidate.score, 1e-12);
      if (candidate.score == best) {
        EXPECT_EQ(candidate.node, chosen);  // the first of the best
        break;
      }
    }
  }

  const SearchParams params_;
  const Tree* tree_ = nullptr;
  bool listing_inner_ = false;
  std::map<int32_t, int32_t> depth_;
  std::map<int32_t, int32_t> parent_;
  std::map<int32_t, int32_t> visits_;
  std::map<int32_t, double> q_;
};

struct Audited {
  TreeRecord record;
  Auditor auditor;
};

Audited audited(const SearchParams& params, uint64_t seed, const RandomGeneratorOptions& options = {}) {
  const RuleVerifier verifier = hashed_verifier();
  RandomGenerator generator(options);
  Audited result{{}, Auditor(params)};
  Tree tree(test_problem(), {}, params, verifier, seed, 3, &result.auditor);
  result.auditor.watch(tree);
  drive(tree, generator);
  result.record = tree.finish();
  return result;
}

// Invariants of a record, whatever grew it.
void check_record(const TreeRecord& record, const SearchParams& params) {
  ASSERT_FALSE(record.nodes.empty());
  int32_t token = 0;
  for (size_t id = 0; id < record.nodes.size(); ++id) {
    const NodeRecord& node = record.nodes[id];
    EXPECT_EQ(token, node.first_token);
    token += node.n_tokens;
    if (id == 0) continue;
    ASSERT_GE(node.parent, 0);
    ASSERT_LT(node.parent, static_cast<int32_t>(id));
    const NodeRecord& parent = record.nodes[static_cast<size_t>(node.parent)];
    EXPECT_EQ(parent.depth + 1, node.depth);
    EXPECT_FALSE(parent.terminal);
    EXPECT_LE(node.depth, params.max_depth);
    EXPECT_GE(node.n_tokens, 1);
    EXPECT_LE(node.n_tokens, params.step_tokens);
    const bool eos = record.tokens[static_cast<size_t>(node.first_token + node.n_tokens - 1)] == kEosToken;
    EXPECT_EQ(node.terminal, eos || node.depth == params.max_depth);
    EXPECT_EQ(node.terminal, node.outcome != Outcome::kNone);
    EXPECT_EQ(node.terminal ? -1 : node.expanded, node.expanded);
    EXPECT_GE(node.created, parent.expanded);
  }
  EXPECT_EQ(static_cast<size_t>(token), record.tokens.size());
  EXPECT_EQ(record.tokens.size(), record.logprobs.size());
  EXPECT_EQ(record.tokens.size(), record.entropies.size());
  EXPECT_EQ(static_cast<int64_t>(record.tokens.size()), record.tokens_generated);
  EXPECT_LE(static_cast<int64_t>(record.recorded.size()), params.trajectories);
  std::set<int32_t> leaves;
  for (const RecordedLeaf& leaf : record.recorded) {
    EXPECT_TRUE(leaves.insert(leaf.leaf).second);
    const NodeRecord& node = record.nodes[static_cast<size_t>(leaf.leaf)];
    EXPECT_TRUE(node.terminal);
    EXPECT_EQ(1, node.visits);
    EXPECT_EQ(leaf.reward, node.value);
    EXPECT_EQ(leaf.outcome, node.outcome);
  }
  EXPECT_EQ(static_cast<int32_t>(record.recorded.size()), record.nodes[0].visits);
}

TEST(TreeProperties, HoldOverSeedsAndParameters) {
  std::map<StopReason, int64_t> stops;
  std::map<SelectRule, int64_t> selections;
  int64_t leftovers = 0;
  for (uint64_t seed = 0; seed < 400; ++seed) {
    SCOPED_TRACE(seed);
    SearchParams params = random_params(seed);
    if (seed % 4 == 0) params.backup = Backup::kSimple;
    const Audited tree = audited(params, seed);
    check_record(tree.record, params);
    EXPECT_EQ(tree.auditor.backups, tree.record.nodes[0].visits);
    ++stops[tree.record.stop_reason];
    leftovers += tree.auditor.leftovers;
    for (const auto& [rule, count] : tree.auditor.selections) selections[rule] += count;
    if (tree.record.stop_reason == StopReason::kEnough) {
      EXPECT_EQ(params.trajectories, static_cast<int64_t>(tree.record.recorded.size()));
    }
    if (params.backup == Backup::kSimple) continue;
    for (const int32_t node : tree.auditor.on_correct_path) {
      EXPECT_GT(tree.record.nodes[static_cast<size_t>(node)].value, 0) << "node " << node << " is on a correct path";
    }
  }
  // The seeds do reach every ending and rule.
  EXPECT_GT(stops[StopReason::kEnough], 50);
  EXPECT_GT(stops[StopReason::kExhausted], 50);
  EXPECT_GT(selections[SelectRule::kLocal], 100);
  EXPECT_GT(selections[SelectRule::kFrontier], 100);
  EXPECT_GT(leftovers, 20);
}

TEST(TreeProperties, SimpleBackupCanDragACorrectPathBelowZero) {
  int64_t below = 0;
  for (uint64_t seed = 0; seed < 100; ++seed) {
    SearchParams params = small_params();
    params.backup = Backup::kSimple;
    const Audited tree = audited(params, seed);
    for (const int32_t node : tree.auditor.on_correct_path) {
      below += tree.record.nodes[static_cast<size_t>(node)].value < 0 ? 1 : 0;
    }
  }
  EXPECT_GT(below, 0);
}

// Under the published rules a child's visits are at most its parent's, but for the first visit each inner node gets.
TEST(TreeProperties, VisitsAddUp) {
  for (uint64_t seed = 0; seed < 100; ++seed) {
    const TreeRecord record = audited(small_params(), seed).record;
    std::vector<int32_t> from_children(record.nodes.size(), 0);
    for (size_t id = 1; id < record.nodes.size(); ++id) {
      const NodeRecord& node = record.nodes[id];
      from_children[static_cast<size_t>(node.parent)] += node.terminal ? node.visits : node.visits - 1;
    }
    for (size_t id = 0; id < record.nodes.size(); ++id) {
      const NodeRecord& node = record.nodes[id];
      if (!node.terminal) {
        EXPECT_EQ(from_children[id] + (id == 0 ? 0 : 1), node.visits) << "node " << id;
      }
    }
  }
}

TEST(TreeProperties, SameSeedSameBytes) {
  const RuleVerifier verifier = hashed_verifier();
  std::set<std::string> different;
  for (uint64_t seed = 0; seed < 40; ++seed) {
    const SearchParams params = random_params(seed);
    const std::string first = bytes_of(grow(params, seed, verifier));
    EXPECT_EQ(first, bytes_of(grow(params, seed, verifier, {}, nullptr, 12345))) << "the handle must not matter";
    different.insert(first);
  }
  EXPECT_EQ(40U, different.size());
}

TEST(TreeProperties, OrderOfCompletionDoesNotMatter) {
  const RuleVerifier verifier = hashed_verifier();
  for (uint64_t seed = 0; seed < 60; ++seed) {
    SearchParams params = random_params(seed);
    params.frontier_batch = 1 + static_cast<int64_t>(seed % 5);
    params.order = static_cast<Order>(seed % 3);
    params.trajectories = 12;
    const std::string first = bytes_of(grow(params, seed, verifier, {.order_seed = 1}));
    EXPECT_EQ(first, bytes_of(grow(params, seed, verifier, {.order_seed = 2})));
    EXPECT_EQ(first, bytes_of(grow(params, seed, verifier, {.order_seed = 3, .per_poll = 3})));
  }
}

TEST(TreeProperties, WavesKeepTheInvariants) {
  const RuleVerifier verifier = hashed_verifier();
  for (uint64_t seed = 0; seed < 100; ++seed) {
    SCOPED_TRACE(seed);
    SearchParams params = random_params(seed);
    params.frontier_batch = 2 + static_cast<int64_t>(seed % 6);
    params.order = static_cast<Order>(seed % 3);
    check_record(grow(params, seed, verifier), params);
  }
}

TEST(TreeProperties, ExhaustionFillsBestClassFirstLowestEntropyFirst) {
  int64_t seen = 0;
  for (uint64_t seed = 0; seed < 200; ++seed) {
    SearchParams params = small_params();
    params.max_depth = 3;
    params.width = 2;
    const TreeRecord record = audited(params, seed, {.eos_probability = 0.15}).record;
    if (record.stop_reason != StopReason::kExhausted) continue;
    const RecordedLeaf* before = nullptr;
    for (const RecordedLeaf& leaf : record.recorded) {
      if (!leaf.leftover) {
        EXPECT_EQ(nullptr, before) << "a leftover stands before a picked one";
        continue;
      }
      if (before != nullptr) {
        EXPECT_LE(before->outcome, leaf.outcome);
        if (before->outcome == leaf.outcome) {
          EXPECT_LE(before->entropy, leaf.entropy);
        }
        ++seen;
      }
      before = &leaf;
    }
    // Places stay empty only when no terminal is left.
    int64_t terminals = 0;
    for (const NodeRecord& node : record.nodes) terminals += node.terminal ? 1 : 0;
    EXPECT_EQ(static_cast<int64_t>(record.recorded.size()), std::min(terminals, params.trajectories));
  }
  EXPECT_GT(seen, 20);
}

TEST(TreeProperties, UctWalksToAFrontierNode) {
  for (uint64_t seed = 0; seed < 60; ++seed) {
    SearchParams params = random_params(seed);
    params.order = Order::kUct;
    const Audited tree = audited(params, seed);
    EXPECT_EQ(0, tree.auditor.selections.count(SelectRule::kLocal));
    EXPECT_EQ(0, tree.auditor.selections.count(SelectRule::kFrontier));
    for (const SearchEvent& event : tree.record.events) {
      if (event.kind != EventKind::kSelectUct) continue;
      const NodeRecord& node = tree.record.nodes[static_cast<size_t>(event.node)];
      EXPECT_FALSE(node.terminal);
      EXPECT_TRUE(node.expanded < 0 || node.expanded > event.iteration - 1);
    }
  }
}

TEST(TreeProperties, TenThousandNodesAreGrown) {
  SearchParams params;
  params.max_depth = 30;
  params.step_tokens = 1;
  params.width = 8;
  params.trajectories = 100000;
  params.token_budget = 10000;
  const RuleVerifier verifier([](TokenSpan, bool) { return Outcome::kWrong; });
  const TreeRecord record = grow(params, 1, verifier, {.eos_probability = 0.3});
  EXPECT_EQ(StopReason::kBudget, record.stop_reason);
  EXPECT_GE(record.nodes.size(), 10000U);
}

}  // namespace

}  // namespace deepsearch::testing
