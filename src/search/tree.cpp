// The tree's loop: expand, verify, pick, visit, back up, record, select (algorithm.md section 2, steps 1–7). The
// selection itself is in tree_select.cpp.
#include "search/tree.h"

#include <algorithm>

#include "core/error.h"
#include "core/rng.h"
#include "search/backup.h"
#include "search/judge.h"

namespace deepsearch {

Tree::Tree(Problem problem, const TreeKey& key, const SearchParams& params, const Verifier& verifier, uint64_t seed,
           uint64_t handle, TreeObserver* observer)
    : problem_(std::move(problem)),
      key_(key),
      params_(params),
      verifier_(verifier),
      seed_(seed),
      handle_(handle),
      observer_(observer),
      nodes_(params_, tree_hash(seed, RecordKind::kTree, key), problem_.prompt_tokens) {
  check(params_);
  wave_.push_back({.node = 0, .n_children = static_cast<int32_t>(width_at(params_, 0)), .expansion = {}});
  nodes_[0].chosen = true;
}

std::optional<ExpansionRequest> Tree::next_request() {
  if (done()) return std::nullopt;
  for (Chosen& chosen : wave_) {
    if (chosen.issued || chosen.n_children == 0) continue;
    chosen.issued = true;
    ExpansionRequest request = nodes_.request(handle_, chosen.node, chosen.n_children);
    request.distinct = params_.distinct_children;
    chosen.first_child = request.first_child;
    return request;
  }
  return std::nullopt;
}

void Tree::apply(Expansion expansion) {
  if (done()) return;
  const auto place = std::find_if(wave_.begin(), wave_.end(), [&](const Chosen& chosen) {
    return chosen.node == expansion.node && chosen.issued && !chosen.expansion;
  });
  if (expansion.tree != handle_ || place == wave_.end()) {
    failure("tree {}: an expansion of node {} of tree {} came that was not asked for", handle_, expansion.node,
            expansion.tree);
  }
  nodes_.check(expansion, place->n_children);
  tokens_generated_ += expansion.tokens_generated;
  tokens_prefilled_ += expansion.tokens_prefilled;
  place->expansion = std::move(expansion);
  if (wave_ready()) take_waves();
}

bool Tree::wave_ready() const {
  return std::all_of(wave_.begin(), wave_.end(), [](const Chosen& chosen) { return chosen.ready(); });
}

// Takes the wave that has come and chooses the next; revisits need no expansion, so more than one may pass.
void Tree::take_waves() {
  while (!done() && wave_ready()) {
    without_terminal_.clear();
    for (Chosen& chosen : wave_) iterate(chosen);
    wave_.clear();
    nodes_.drop_reserved_tail();
    if (done()) return;
    select_wave();
    if (wave_.empty()) exhaust();
  }
}

// Steps 1–6 for one chosen node.
void Tree::iterate(Chosen& chosen) {
  const std::vector<int32_t> children = absorb(chosen);
  nodes_[chosen.node].chosen = false;
  if (done())
    return;  // an earlier node of the wave ended the tree: keep what was sampled, judge it, learn nothing more
  const std::vector<TerminalCandidate> terminals = unrecorded_terminals(children);
  if (terminals.empty()) {
    if (observer_ != nullptr) observer_->on_no_terminal();
    without_terminal_.push_back(chosen.node);
    visit(children);
  } else {
    const double uniform =
        uniform_at(seed_, RngPurpose::kSelection, nodes_[chosen.node].path_hash, static_cast<uint64_t>(iterations_));
    const TerminalCandidate& pick = terminals[pick_terminal(terminals, params_.negative_selection, uniform)];
    if (observer_ != nullptr) observer_->on_terminals(terminals, pick.node);
    log_event(EventKind::kPick, pick.node, pick.reward);
    visit(children);
    back_up_and_record(pick, false);
  }
  check_limits();
  ++iterations_;
}

// Steps 1 and 2: the new children in place and judged; at a revisit the ones that are there.
std::vector<int32_t> Tree::absorb(Chosen& chosen) {
  if (chosen.n_children == 0) {
    if (observer_ != nullptr) observer_->on_revisit(chosen.node);
    return nodes_[chosen.node].children;
  }
  std::vector<int32_t> children;
  Expansion& expansion = chosen.expansion.value();
  for (Step& step : expansion.children) {
    const int32_t id = chosen.first_child + static_cast<int32_t>(children.size());
    Node& node = nodes_.fill(id, chosen.node, std::move(step));
    node.created = iterations_;
    node.made_by_rank = expansion.made_by_rank;
    judge_node(nodes_, id, verifier_, problem_, params_);
    children.push_back(id);
  }
  Node& parent = nodes_[chosen.node];
  if (parent.expanded < 0) parent.expanded = iterations_;
  parent.closed = true;
  mark_pruned(children);
  for (const int32_t id : children) {
    if (!nodes_[id].terminal) set_frontier(id, true);
  }
  if (observer_ != nullptr) {
    observer_->on_expand(chosen.node, parent.depth, width_at(params_, parent.depth), children);
  }
  log_event(EventKind::kExpand, chosen.node, static_cast<double>(children.size()));
  return children;
}

// illegal = "prune": dead children count for nothing beside one that is alive or correct.
void Tree::mark_pruned(std::span<const int32_t> children) {
  if (params_.illegal != Illegal::kPrune) return;
  const bool any_good = std::any_of(children.begin(), children.end(), [&](int32_t id) {
    return !nodes_[id].terminal || nodes_[id].outcome == Outcome::kCorrect;
  });
  if (!any_good) return;
  for (const int32_t id : children) nodes_[id].pruned = nodes_[id].dead;
}

std::vector<TerminalCandidate> Tree::unrecorded_terminals(std::span<const int32_t> children) const {
  std::vector<TerminalCandidate> terminals;
  for (const int32_t id : children) {
    const Node& node = nodes_[id];
    if (!node.exists || !node.terminal || node.pruned || node.recorded >= 0) continue;
    terminals.push_back(
        {id, node.reward, class_of(node.outcome, node.reward, params_.classes), node.trajectory_entropy()});
  }
  return terminals;
}

// Step 4.
void Tree::visit(std::span<const int32_t> children) {
  for (const int32_t id : children) {
    Node& node = nodes_[id];
    if (node.terminal) continue;
    ++node.visits;
    if (observer_ != nullptr) observer_->on_visit(id, node.visits, node.q);
  }
}

// Steps 5 and 6.
void Tree::back_up_and_record(const TerminalCandidate& terminal, bool leftover) {
  const int32_t terminal_depth = nodes_[terminal.node].depth;
  for (const int32_t id : nodes_.path(terminal.node)) {
    Node& node = nodes_[id];
    const double weight = backup_weight(node.depth, terminal_depth, params_.gamma_min);
    const BackedUp after = back_up(node.q, terminal.reward, weight, params_.backup);
    ++node.visits;
    node.q = after.q;
    if (observer_ != nullptr) {
      observer_->on_backup_row(terminal.node, terminal.reward, id, weight, node.visits, node.q, after.what);
    }
  }
  log_event(EventKind::kBackup, terminal.node, terminal.reward);
  Node& node = nodes_[terminal.node];
  node.recorded = static_cast<int32_t>(recorded_.size());
  recorded_.push_back({.leaf = terminal.node,
                       .reward = terminal.reward,
                       .entropy = terminal.entropy,
                       .outcome = node.outcome,
                       .leftover = leftover});
}

void Tree::check_limits() {
  const bool solved = !recorded_.empty() && recorded_.back().outcome == Outcome::kCorrect;
  if (params_.stop_when_solved && solved) {
    stop(StopReason::kSolved);
  } else if (static_cast<int64_t>(recorded_.size()) >= params_.trajectories) {
    stop(StopReason::kEnough);
  } else if (params_.token_budget > 0 && tokens_generated_ >= params_.token_budget) {
    stop(StopReason::kBudget);
  }
}

// The frontier ran dry: what was generated and not picked fills the missing places (algorithm.md section 2, end).
void Tree::exhaust() {
  const std::vector<int32_t> all = nodes_.creation_order();
  std::vector<TerminalCandidate> leftovers = unrecorded_terminals(all);
  sort_leftovers(leftovers);
  for (const TerminalCandidate& leftover : leftovers) {
    if (static_cast<int64_t>(recorded_.size()) >= params_.trajectories) break;
    if (observer_ != nullptr) observer_->on_leftover(leftover.node);
    log_event(EventKind::kLeftover, leftover.node, leftover.reward);
    back_up_and_record(leftover, true);
  }
  stop(StopReason::kExhausted);
}

void Tree::stop(StopReason reason) {
  if (done()) return;
  stop_ = reason;
  log_event(EventKind::kStop, -1, static_cast<double>(reason));
}

void Tree::log_event(EventKind kind, int32_t node, double score) {
  events_.push_back({iterations_, kind, node, score});
}

TreeRecord Tree::finish() {
  if (!done()) failure("tree {}: finished before it was done", handle_);
  TreeRecord record;
  record.kind = RecordKind::kTree;
  record.key = key_;
  record.problem = std::move(problem_);
  record.stop_reason = stop_;
  record.iterations = iterations_;
  record.tokens_generated = tokens_generated_;
  record.tokens_prefilled = tokens_prefilled_;
  const std::vector<int32_t> number = nodes_.write(nodes_.creation_order(), record);
  record.recorded = std::move(recorded_);
  record.events = std::move(events_);
  for (RecordedLeaf& leaf : record.recorded) leaf.leaf = number[static_cast<size_t>(leaf.leaf)];
  for (SearchEvent& event : record.events) {
    if (event.node >= 0) event.node = number[static_cast<size_t>(event.node)];
  }
  return record;
}

}  // namespace deepsearch
