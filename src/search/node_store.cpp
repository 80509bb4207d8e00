#include "search/node_store.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.h"
#include "core/rng.h"

namespace deepsearch {

uint64_t tree_hash(uint64_t seed, RecordKind kind, const TreeKey& key) {
  return mix_all(seed, static_cast<uint64_t>(kind), key.round, key.step, key.problem_index, key.problem_key,
                 key.attempt);
}

NodeStore::NodeStore(const SearchParams& params, uint64_t hash, std::vector<Token> prompt)
    : params_(params), prompt_(std::move(prompt)), nodes_(1) {
  nodes_[0].exists = true;
  nodes_[0].path_hash = hash;
}

ExpansionRequest NodeStore::request(uint64_t tree, int32_t node, int32_t n_children) {
  ExpansionRequest request;
  request.tree = tree;
  request.node = node;
  const std::vector<int32_t> nodes = path(node);
  request.prefix = prompt_;
  request.prefix.reserve(prompt_.size() + static_cast<size_t>((*this)[node].response_tokens));
  for (const int32_t id : nodes) {
    const std::vector<Token>& tokens = id == 0 ? prompt_ : (*this)[id].step.tokens;
    request.path.push_back({id, static_cast<int32_t>(tokens.size())});
    if (id != 0) request.prefix.insert(request.prefix.end(), tokens.begin(), tokens.end());
  }
  request.n_children = n_children;
  request.first_child = size();
  request.max_tokens = static_cast<int32_t>(params_.step_tokens);
  request.temperature = static_cast<float>(params_.temperature);
  request.top_p = static_cast<float>(params_.top_p);
  request.sampling_key = mix((*this)[node].path_hash, (*this)[node].children.size());
  if (nodes_.size() + static_cast<size_t>(n_children) > static_cast<size_t>(std::numeric_limits<int32_t>::max())) {
    failure("tree {}: more nodes than 32-bit numbers", tree);
  }
  nodes_.resize(nodes_.size() + static_cast<size_t>(n_children));
  return request;
}

void NodeStore::check(const Expansion& expansion, int32_t n_asked) const {
  const auto n = static_cast<int32_t>(expansion.children.size());
  const auto broken = [&](const char* what) {
    failure("generator: expansion of node {} of tree {} {} ({} children asked, {} came)", expansion.node,
            expansion.tree, what, n_asked, n);
  };
  if (n > n_asked) broken("has too many children");
  if (n < n_asked && !params_.distinct_children) broken("has too few children");
  const auto finite = [](float value) { return std::isfinite(value); };
  for (const Step& step : expansion.children) {
    if (step.tokens.empty()) broken("has a child without tokens");
    if (static_cast<int64_t>(step.tokens.size()) > params_.step_tokens) broken("has a child longer than step_tokens");
    if (step.logprobs.size() != step.tokens.size()) broken("lacks log-probabilities");
    if (!std::all_of(step.logprobs.begin(), step.logprobs.end(), finite)) {
      broken("has a log-probability that is no number");
    }
    if (step.entropies.size() == step.tokens.size()) {
      if (!std::all_of(step.entropies.begin(), step.entropies.end(), finite))
        broken("has an entropy that is no number");
    } else if (!step.entropies.empty() || params_.entropy == EntropyKind::kExact) {
      broken("lacks entropies, which [search].entropy = \"exact\" needs");
    }
  }
}

Node& NodeStore::fill(int32_t id, int32_t parent, Step step) {
  Node& above = (*this)[parent];
  Node& node = (*this)[id];
  node.exists = true;
  node.parent = parent;
  node.depth = above.depth + 1;
  node.child_index = static_cast<int32_t>(above.children.size());
  node.path_hash = mix(above.path_hash, static_cast<uint64_t>(node.child_index) + 1);
  node.step = std::move(step);
  above.children.push_back(id);
  measure(node);
  return node;
}

int32_t NodeStore::append(int32_t parent, Step step) {
  nodes_.emplace_back();
  fill(size() - 1, parent, std::move(step));
  return size() - 1;
}

// H(s), and the sums for the trajectory's mean over tokens (algorithm.md section 1, "Entropy").
void NodeStore::measure(Node& node) const {
  const Node& above = (*this)[node.parent];
  const Step& step = node.step;
  size_t counted = step.tokens.size();
  if (!params_.count_final_eos && step.finish == Finish::kEos) --counted;
  double sum = 0;
  for (size_t i = 0; i < counted; ++i) {
    sum += params_.entropy == EntropyKind::kExact ? static_cast<double>(step.entropies[i])
                                                  : -static_cast<double>(step.logprobs[i]);
  }
  for (const float logprob : step.logprobs) node.logprob += static_cast<double>(logprob);
  node.entropy = counted > 0 ? sum / static_cast<double>(counted) : 0;
  node.path_entropy = above.path_entropy + sum;
  node.path_counted = above.path_counted + static_cast<int64_t>(counted);
  node.response_tokens = above.response_tokens + static_cast<int64_t>(step.tokens.size());
}

void NodeStore::drop_reserved_tail() {
  while (!nodes_.back().exists) nodes_.pop_back();
}

std::vector<int32_t> NodeStore::path(int32_t id) const {
  std::vector<int32_t> ids;
  for (int32_t node = id; node >= 0; node = (*this)[node].parent) ids.push_back(node);
  std::reverse(ids.begin(), ids.end());
  return ids;
}

std::vector<Token> NodeStore::response(int32_t id) const {
  std::vector<Token> tokens;
  tokens.reserve(static_cast<size_t>((*this)[id].response_tokens));
  for (const int32_t node : path(id)) {
    const std::vector<Token>& step = (*this)[node].step.tokens;
    tokens.insert(tokens.end(), step.begin(), step.end());
  }
  return tokens;
}

std::vector<int32_t> NodeStore::creation_order() const {
  std::vector<int32_t> order;
  for (int32_t id = 0; id < size(); ++id) {
    if ((*this)[id].exists) order.push_back(id);
  }
  return order;
}

std::vector<int32_t> NodeStore::write(std::span<const int32_t> order, TreeRecord& record) const {
  std::vector<int32_t> number(nodes_.size(), -1);
  bool any_version = false;
  for (const int32_t id : order) {
    const Node& node = (*this)[id];
    number[static_cast<size_t>(id)] = static_cast<int32_t>(record.nodes.size());
    NodeRecord row;
    row.parent = node.parent < 0 ? -1 : number[static_cast<size_t>(node.parent)];
    row.depth = node.depth;
    row.first_token = static_cast<int32_t>(record.tokens.size());
    row.n_tokens = static_cast<int32_t>(node.step.tokens.size());
    row.visits = node.visits;
    row.value = node.q;
    row.entropy = node.entropy;
    row.logprob = node.logprob;
    row.terminal = node.terminal;
    row.outcome = node.outcome;
    row.created = node.created;
    row.expanded = node.expanded;
    row.made_by_rank = node.made_by_rank;
    record.nodes.push_back(row);
    record.tokens.insert(record.tokens.end(), node.step.tokens.begin(), node.step.tokens.end());
    record.logprobs.insert(record.logprobs.end(), node.step.logprobs.begin(), node.step.logprobs.end());
    // A generator that returns no entropies leaves zeros: the columns stay beside each other.
    if (node.step.entropies.empty()) {
      record.entropies.resize(record.tokens.size(), 0.0F);
    } else {
      record.entropies.insert(record.entropies.end(), node.step.entropies.begin(), node.step.entropies.end());
    }
    if (node.step.token_versions.empty()) {
      record.token_versions.resize(record.tokens.size(), static_cast<int32_t>(node.step.policy_version));
    } else {
      record.token_versions.insert(record.token_versions.end(), node.step.token_versions.begin(),
                                   node.step.token_versions.end());
    }
    if (id == 0) continue;
    // The oldest version that took part: what bounds how stale the record is.
    record.policy_version =
        any_version ? std::min(record.policy_version, node.step.first_version()) : node.step.first_version();
    any_version = true;
  }
  return number;
}

}  // namespace deepsearch
