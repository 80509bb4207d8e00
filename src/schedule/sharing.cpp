#include "schedule/sharing.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "core/error.h"

namespace deepsearch {

SharingGenerator::SharingGenerator(StepGenerator& engine, int rank, SharePort& port)
    : engine_(engine), rank_(rank), port_(port) {}

void SharingGenerator::account(const Running& running, int sign) {
  const int64_t sequences = sign * int64_t{running.n_children};
  load_.own_requests += sign;
  load_.own_sequences += sequences;
  if (running.rank == rank_) {
    load_.here += sequences;
    own_here_ += sequences;
  } else {
    lent_[running.rank] += sequences;
  }
}

int64_t SharingGenerator::queue_of(int rank) const {
  if (rank == rank_) return load_.here;
  const auto lent = lent_.find(rank);
  const auto helper = helpers_.find(rank);
  return (lent == lent_.end() ? 0 : lent->second) + (helper == helpers_.end() ? 0 : helper->second);
}

// The shortest queue; that of the rank which has the prefix counts as shorter by the request itself, and between equals
// an idle rank comes first: two trees on two ranks are faster than on one.
int SharingGenerator::choose(const OwnTree& tree, const ExpansionRequest& request) const {
  if (helpers_.empty()) return rank_;
  const auto made_by = tree.made_by.find(request.node);
  const int home = made_by == tree.made_by.end() ? rank_ : made_by->second;
  const auto cost = [&](int rank) {
    const int64_t queue = queue_of(rank);
    return std::tuple(queue + (home == rank ? 0 : request.n_children), queue > 0, home != rank);
  };
  int best = rank_;
  auto least = cost(rank_);
  for (const auto& [helper, own] : helpers_) {
    if (const auto other = cost(helper); other < least) {
      best = helper;
      least = other;
    }
  }
  return best;
}

void SharingGenerator::submit(ExpansionRequest request) {
  const auto [place, fresh] = own_.try_emplace(request.tree);
  OwnTree& tree = place->second;
  if (fresh) tree.first_version = version_;
  const Running running{
      .rank = choose(tree, request), .n_children = request.n_children, .first_child = request.first_child};
  tree.running[request.node] = running;
  account(running, 1);
  if (running.rank == rank_) {
    engine_.submit(std::move(request));
  } else {
    send(tree, running.rank, std::move(request));
  }
}

// Known nodes are the beginning of any path: whoever knows a node knows its ancestors.
void SharingGenerator::send(OwnTree& tree, int helper, ExpansionRequest request) {
  std::unordered_map<int32_t, int32_t>& known = tree.known[helper];
  SharedRequest shared;
  bool all_known = true;
  for (const PathSegment& segment : request.path) {
    const auto found = known.find(segment.node);
    all_known = all_known && found != known.end() && found->second == segment.n_tokens;
    if (all_known) {
      shared.known_tokens += segment.n_tokens;
    } else {
      known[segment.node] = segment.n_tokens;
    }
  }
  request.prefix.erase(request.prefix.begin(), request.prefix.begin() + shared.known_tokens);
  counters_.tokens_resent += static_cast<int64_t>(request.prefix.size());
  ++counters_.expansions_lent;
  shared.min_version = tree.first_version;
  shared.request = std::move(request);
  port_.expand(helper, std::move(shared));
}

// What helpers have sent is handed out at once: a tree need not wait for a decode step of this rank's engine.
void SharingGenerator::poll(std::vector<Expansion>& finished) {
  if (!came_.empty()) {
    for (Expansion& expansion : came_) {
      if (own_.contains(expansion.tree)) finished.push_back(std::move(expansion));
    }
    came_.clear();
    return;
  }
  if (load_.here == 0) return;
  from_engine_.clear();
  engine_.poll(from_engine_);
  for (Expansion& expansion : from_engine_) {
    if (owner_of(expansion.tree) != rank_) {
      return_foreign(std::move(expansion));
      continue;
    }
    OwnTree& tree = own_.at(expansion.tree);
    const auto running = tree.running.find(expansion.node);
    account(running->second, -1);
    tree.running.erase(running);
    finished.push_back(std::move(expansion));
  }
}

void SharingGenerator::on_expanded(int helper, Expansion expansion) {
  const auto place = own_.find(expansion.tree);
  if (place == own_.end()) return;
  OwnTree& tree = place->second;
  const auto running = tree.running.find(expansion.node);
  if (running == tree.running.end() || running->second.rank != helper) {
    failure("rank {} sent an expansion of node {} that it was not asked for", helper, expansion.node);
  }
  std::unordered_map<int32_t, int32_t>& known = tree.known[helper];
  for (size_t i = 0; i < expansion.children.size(); ++i) {
    const int32_t child = running->second.first_child + static_cast<int32_t>(i);
    tree.made_by[child] = helper;
    known[child] = static_cast<int32_t>(expansion.children[i].tokens.size());
  }
  account(running->second, -1);
  tree.running.erase(running);
  came_.push_back(std::move(expansion));
}

void SharingGenerator::release(uint64_t tree) {
  engine_.release(tree);
  const auto place = own_.find(tree);
  if (place == own_.end()) return;
  for (const auto& [node, running] : place->second.running) account(running, -1);
  for (const auto& [helper, nodes] : place->second.known) port_.forget(helper, tree);
  own_.erase(place);
}

void SharingGenerator::set_version(int64_t policy_version) {
  version_ = policy_version;
  std::vector<std::pair<int, SharedRequest>> waiting = std::exchange(early_, {});
  for (auto& [owner, shared] : waiting) on_expand(owner, std::move(shared));
}

void SharingGenerator::share(int helper, bool on, int64_t helper_load) {
  if (on) {
    helpers_[helper] = helper_load;
  } else {
    helpers_.erase(helper);
  }
}

void SharingGenerator::on_expand(int owner, SharedRequest shared) {
  if (owner_of(shared.request.tree) != owner) {
    failure("rank {} asks for an expansion of a tree of rank {}", owner, owner_of(shared.request.tree));
  }
  if (shared.min_version > version_) {
    early_.emplace_back(owner, std::move(shared));
  } else {
    start_foreign(owner, std::move(shared));
  }
}

// Puts the prefix together again: the beginning from nodes that are here, the rest from the request.
void SharingGenerator::start_foreign(int owner, SharedRequest shared) {
  ForeignTree& tree = foreign_[shared.request.tree];
  tree.owner = owner;
  ExpansionRequest request = std::move(shared.request);
  const std::vector<Token> sent = std::exchange(request.prefix, {});
  int64_t known = shared.known_tokens;
  auto next = sent.begin();
  for (const PathSegment& segment : request.path) {
    std::vector<Token>& tokens = tree.nodes[segment.node];
    if (known > 0) {
      known -= segment.n_tokens;
    } else if (segment.n_tokens <= sent.end() - next) {
      tokens.assign(next, next + segment.n_tokens);
      next += segment.n_tokens;
    }
    if (static_cast<int64_t>(tokens.size()) != segment.n_tokens) {
      failure("rank {} asks to go on from node {} of a tree, of which {} tokens are known here instead of {}", owner,
              segment.node, tokens.size(), segment.n_tokens);
    }
    request.prefix.insert(request.prefix.end(), tokens.begin(), tokens.end());
  }
  if (known != 0 || next != sent.end()) failure("rank {} sent a prefix that does not fit its path", owner);
  tree.running[request.node] = {.rank = owner, .n_children = request.n_children, .first_child = request.first_child};
  load_.here += request.n_children;
  engine_.submit(std::move(request));
}

void SharingGenerator::return_foreign(Expansion expansion) {
  ForeignTree& tree = foreign_.at(expansion.tree);
  const auto running = tree.running.find(expansion.node);
  for (size_t i = 0; i < expansion.children.size(); ++i) {
    tree.nodes[running->second.first_child + static_cast<int32_t>(i)] = expansion.children[i].tokens;
    counters_.tokens_helped += static_cast<int64_t>(expansion.children[i].tokens.size());
  }
  load_.here -= running->second.n_children;
  tree.running.erase(running);
  ++counters_.expansions_helped;
  port_.expanded(tree.owner, std::move(expansion));
}

void SharingGenerator::on_forget(uint64_t tree) {
  std::erase_if(early_, [tree](const auto& early) { return early.second.request.tree == tree; });
  const auto place = foreign_.find(tree);
  if (place == foreign_.end()) return;
  for (const auto& [node, running] : place->second.running) load_.here -= running.n_children;
  engine_.release(tree);
  foreign_.erase(place);
}

void SharingGenerator::drop_foreign() {
  early_.clear();
  while (!foreign_.empty()) on_forget(foreign_.begin()->first);
}

}  // namespace deepsearch
