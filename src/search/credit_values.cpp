#include "search/credit_values.h"

#include <algorithm>
#include <map>
#include <unordered_map>
#include <utility>

namespace deepsearch {

namespace {

// A node as values see it: a step that stands for its identical siblings, or a text that rollouts have in common.
struct ValueNode {
  int32_t parent = -1;  // always an earlier one
  double sum = 0;       // of rewards of the terminals at or below it
  int64_t count = 0;    // these terminals
  int64_t correct = 0;
  int64_t ended = 0;  // of `count`: at it
  double value = 0;
};

// A run of a response's tokens that share one value node.
struct Piece {
  int32_t node = 0;
  int32_t tokens = 0;
};

struct ValueTree {
  std::vector<ValueNode> nodes;                 // the root first
  std::map<int32_t, std::vector<Piece>> paths;  // by leaf of the record
};

TokenSpan step_tokens(const TreeRecord& record, int32_t id) {
  const NodeRecord& node = record.nodes[static_cast<size_t>(id)];
  return TokenSpan(record.tokens).subspan(static_cast<size_t>(node.first_token), static_cast<size_t>(node.n_tokens));
}

// For each node the one that stands for it: itself, or with `merge` the first of its siblings (cousins, below merged
// parents) that holds the same tokens.
std::vector<int32_t> stand_ins(const TreeRecord& record, bool merge) {
  std::vector<int32_t> stands(record.nodes.size());
  std::map<std::pair<int32_t, std::vector<Token>>, int32_t> first;
  for (size_t id = 0; id < record.nodes.size(); ++id) {
    const NodeRecord& node = record.nodes[id];
    stands[id] = static_cast<int32_t>(id);
    if (!merge || node.parent < 0) continue;
    const TokenSpan tokens = step_tokens(record, stands[id]);
    std::pair key{stands[static_cast<size_t>(node.parent)], std::vector<Token>(tokens.begin(), tokens.end())};
    stands[id] = first.try_emplace(std::move(key), stands[id]).first->second;
  }
  return stands;
}

using Paths = std::map<int32_t, std::vector<int32_t>>;  // leaf → nodes of the record

ValueTree tree_of_steps(const TreeRecord& record, const Paths& leaves, bool merge) {
  const std::vector<int32_t> stands = stand_ins(record, merge);
  ValueTree tree;
  tree.nodes.resize(std::max<size_t>(record.nodes.size(), 1));
  for (const auto& [leaf, path] : leaves) {
    std::vector<Piece>& pieces = tree.paths[leaf];
    int32_t parent = 0;
    for (const int32_t id : path) {
      const int32_t node = stands[static_cast<size_t>(id)];
      tree.nodes[static_cast<size_t>(node)].parent = parent;
      pieces.push_back({.node = node, .tokens = record.nodes[static_cast<size_t>(id)].n_tokens});
      parent = node;
    }
  }
  return tree;
}

// All texts of the record, a node a token.
class Trie {
 public:
  // Follows the path from the beginning, adding what is missing; ends of steps become cuts. Returns its last node.
  int32_t insert(const TreeRecord& record, const std::vector<int32_t>& path) {
    int32_t at = 0;
    for (const int32_t id : path) {
      for (const Token token : step_tokens(record, id)) at = child(at, token);
      cut_[static_cast<size_t>(at)] = true;
    }
    return at;
  }

  // The path to a node, in pieces that end at cuts and where texts part.
  std::vector<Piece> pieces(int32_t end) const {
    std::vector<Piece> result;
    int32_t tokens = 0;
    for (int32_t at = end; at != 0; at = parent_[static_cast<size_t>(at)]) {
      const auto i = static_cast<size_t>(at);
      if (cut_[i] || children_[i] > 1) {
        if (!result.empty()) result.back().tokens = tokens;
        result.push_back({.node = at, .tokens = 0});
        tokens = 0;
      }
      ++tokens;
    }
    if (!result.empty()) result.back().tokens = tokens;
    std::reverse(result.begin(), result.end());
    return result;
  }

  size_t size() const { return parent_.size(); }

 private:
  int32_t child(int32_t at, Token token) {
    const uint64_t key = static_cast<uint64_t>(at) << 32 | static_cast<uint32_t>(token);
    const auto [place, fresh] = index_.try_emplace(key, static_cast<int32_t>(parent_.size()));
    if (fresh) {
      ++children_[static_cast<size_t>(at)];
      parent_.push_back(at);
      children_.push_back(0);
      cut_.push_back(false);
    }
    return place->second;
  }

  std::unordered_map<uint64_t, int32_t> index_;  // (node, token) → child
  std::vector<int32_t> parent_ = {-1};
  std::vector<int32_t> children_ = {0};
  std::vector<bool> cut_ = {false};
};

ValueTree tree_of_texts(const TreeRecord& record, const Paths& leaves) {
  Trie trie;
  std::map<int32_t, int32_t> ends;
  for (const auto& [leaf, path] : leaves) ends[leaf] = trie.insert(record, path);
  ValueTree tree;
  tree.nodes.resize(trie.size());
  for (const auto& [leaf, end] : ends) {
    std::vector<Piece>& pieces = tree.paths[leaf];
    pieces = trie.pieces(end);
    int32_t parent = 0;
    for (const Piece& piece : pieces)
      tree.nodes[static_cast<size_t>(piece.node)].parent = std::exchange(parent, piece.node);
  }
  return tree;
}

void add_terminals(ValueTree& tree, const std::vector<TrajectoryCredit>& terminals) {
  for (const TrajectoryCredit& terminal : terminals) {
    const auto add = [&](int32_t id) {
      ValueNode& node = tree.nodes[static_cast<size_t>(id)];
      node.sum += terminal.reward + terminal.overlong_penalty;
      ++node.count;
      if (terminal.outcome == Outcome::kCorrect) ++node.correct;
    };
    const std::vector<Piece>& pieces = tree.paths.at(terminal.leaf);
    add(0);
    for (const Piece& piece : pieces) add(piece.node);
    if (!pieces.empty()) ++tree.nodes[static_cast<size_t>(pieces.back().node)].ended;
  }
}

void set_values(ValueTree& tree, double prior) {
  for (ValueNode& node : tree.nodes) {
    const double above = node.parent < 0 ? 0 : tree.nodes[static_cast<size_t>(node.parent)].value;
    const bool exact = node.parent < 0 || node.ended == node.count;
    const double m = exact ? 0 : prior;
    node.value = node.count == 0 ? above : (node.sum + m * above) / (static_cast<double>(node.count) + m);
  }
}

void fill(const ValueTree& tree, const CreditParams& params, double scale, TrajectoryCredit& trajectory) {
  const double root = tree.nodes[0].value;
  int64_t alive = 0;
  const ValueNode* parent = tree.nodes.data();
  trajectory.path_tokens.clear();
  for (const Piece& piece : tree.paths.at(trajectory.leaf)) {
    const ValueNode& node = tree.nodes[static_cast<size_t>(piece.node)];
    double advantage = node.value - root;
    if (params.credit == Credit::kEdge) advantage += node.value - parent->value;
    // What is dead stays dead below: the tokens that count are the first ones.
    if (parent->correct == 0) advantage = 0;
    if (parent->correct > 0) alive += piece.tokens;
    trajectory.path_tokens.push_back(piece.tokens);
    trajectory.scores.push_back(node.value);
    trajectory.advantages.push_back(advantage * scale);
    parent = &node;
  }
  if (params.skip_dead) trajectory.trained_tokens = std::min(trajectory.trained_tokens, alive);
}

}  // namespace

void credit_by_values(const TreeRecord& record, const CreditParams& params, std::vector<TrajectoryCredit>& group) {
  CreditParams everything = params;
  everything.terminals = Terminals::kAll;
  const std::vector<TrajectoryCredit> terminals = trajectories_of(record, everything);
  Paths leaves;
  for (const TrajectoryCredit& terminal : terminals) leaves[terminal.leaf] = terminal.path;
  for (const TrajectoryCredit& trajectory : group) leaves[trajectory.leaf] = trajectory.path;
  const bool texts = params.merge_prefixes && record.kind == RecordKind::kRollouts;
  ValueTree tree = texts ? tree_of_texts(record, leaves) : tree_of_steps(record, leaves, params.merge_identical);
  add_terminals(tree, terminals);
  set_values(tree, params.value_prior);

  std::vector<double> rewards;
  for (const TrajectoryCredit& terminal : terminals) rewards.push_back(terminal.reward + terminal.overlong_penalty);
  const bool divide = params.advantage_norm == AdvantageNorm::kMeanStd;
  const Baseline baseline =
      baseline_of(rewards, divide ? AdvantageNorm::kMeanStd : AdvantageNorm::kMean, Deviation::kPopulation);
  for (TrajectoryCredit& trajectory : group) fill(tree, params, baseline.scale, trajectory);
}

}  // namespace deepsearch
