#include "engine/kv_cache.h"

#include <algorithm>
#include <utility>

#include "core/error.h"

namespace deepsearch {
namespace {

int32_t blocks_for(int32_t positions) {
  return (positions + kKvBlockTokens - 1) / kKvBlockTokens;
}

bool holds(const KvNode& node, const KvNode* parent, TokenSpan tokens) {
  return node.parent.get() == parent &&
         std::equal(node.tokens.begin(), node.tokens.end(), tokens.begin(), tokens.end());
}

}  // namespace

// --- BlockPool -------------------------------------------------------------------------------------------------------

void BlockPool::reset(int64_t capacity) {
  if (used() > 0) failure("engine: KV blocks set up anew while {} are in use", used());
  capacity_ = capacity;
  fresh_ = 0;
  returned_.clear();
}

BlockId BlockPool::take() {
  if (!returned_.empty()) {
    const BlockId block = returned_.back();
    returned_.pop_back();
    return block;
  }
  if (fresh_ >= capacity_) failure("engine: no KV block is free, of {}", capacity_);
  return static_cast<BlockId>(fresh_++);
}

// --- KvNode ----------------------------------------------------------------------------------------------------------

KvNode::~KvNode() {
  cache.forget(*this);
}

// --- KvCache ---------------------------------------------------------------------------------------------------------

KvCache::~KvCache() = default;

std::shared_ptr<KvNode> KvCache::find_or_make(const ExpansionRequest& request) {
  Nodes& nodes = trees_[request.tree];
  std::shared_ptr<KvNode> parent;
  int32_t start = 0;
  for (const PathSegment& part : request.path) {
    if (part.n_tokens == 0) continue;
    const TokenSpan tokens(request.prefix.data() + start, static_cast<size_t>(part.n_tokens));
    std::shared_ptr<KvNode>& node = nodes[part.node];
    if (!node || !holds(*node, parent.get(), tokens)) {
      node = std::make_shared<KvNode>(*this);
      node->parent = parent;
      node->start = node->filled = node->ever_filled = start;
      node->tokens.assign(tokens.begin(), tokens.end());
    }
    parent = node;
    start += part.n_tokens;
  }
  if (!parent) failure("engine: a path without tokens");
  return parent;
}

std::shared_ptr<KvNode> KvCache::make_root(const std::vector<Token>& tokens) {
  auto root = std::make_shared<KvNode>(*this);
  root->tokens = tokens;
  return root;
}

std::shared_ptr<KvNode> KvCache::make_child(const std::shared_ptr<KvNode>& parent) {
  auto child = std::make_shared<KvNode>(*this);
  child->parent = parent;
  child->start = child->filled = child->ever_filled = parent->end();
  return child;
}

void KvCache::set_idle(KvNode& child, int64_t pass) {
  child.wanted = pass;
  update_evictable(child);
}

void KvCache::keep(uint64_t tree, int32_t node, std::shared_ptr<KvNode> child) {
  trees_[tree][node] = std::move(child);
}

void KvCache::release(uint64_t tree) {
  trees_.erase(tree);
}

void KvCache::pin(KvNode& node, int64_t pass) {
  for (KvNode* n = &node; n != nullptr; n = n->parent.get()) {
    ++n->pins;
    update_evictable(*n);  // out of the list, which is sorted by `wanted`, before that changes
    n->wanted = pass;
  }
}

void KvCache::unpin(KvNode& node) {
  for (KvNode* n = &node; n != nullptr; n = n->parent.get()) {
    --n->pins;
    update_evictable(*n);
  }
}

void KvCache::update_evictable(KvNode& node) {
  const bool now = node.pins == 0 && node.children == 0 && node.holds_blocks();
  if (now == node.evictable) return;
  node.evictable = now;
  if (now) {
    evictable_.insert(&node);
    blocks_evictable_ += static_cast<int64_t>(node.blocks.size());
  } else {
    evictable_.erase(&node);
    blocks_evictable_ -= static_cast<int64_t>(node.blocks.size());
  }
}

bool KvCache::make_room(int64_t n) {
  while (pool_.free() < n) {
    if (evictable_.empty()) return false;
    KvNode& node = **evictable_.begin();
    ++counters_.evicted_nodes;
    counters_.evicted_tokens += node.filled - node.start;
    forget(node);
  }
  return true;
}

int64_t KvCache::blocks_missing(const KvNode& node, int32_t end) const {
  int32_t first = node.first_block();
  if (node.blocks.empty() && node.filled == node.start) {
    // Not begun: it will borrow the parent's last block when that is not lent yet.
    const bool can_borrow = node.parent && node.start % kKvBlockTokens != 0 && !node.parent->lent;
    first = can_borrow ? blocks_for(node.start) : node.start / kKvBlockTokens;
  }
  return std::max<int64_t>(0, blocks_for(end) - first - static_cast<int64_t>(node.blocks.size()));
}

void KvCache::grow(KvNode& node, int32_t end, std::vector<BlockCopy>& copies) {
  const bool begins = node.blocks.empty() && !node.borrows;
  KvNode* parent = node.parent.get();
  const int32_t inside = node.start % kKvBlockTokens;
  if (begins && parent != nullptr) {
    if (inside != 0 && !parent->lent) {
      node.borrows = true;
      parent->lent = true;
    }
    ++parent->children;
    update_evictable(*parent);
  }
  while (node.first_block() + static_cast<int32_t>(node.blocks.size()) < blocks_for(end)) {
    node.blocks.push_back(pool_.take());
  }
  if (begins && parent != nullptr && inside != 0 && !node.borrows) {
    BlockId from = -1;
    for (const KvNode* n = parent; n != nullptr && from < 0; n = n->parent.get()) {
      if (!n->blocks.empty()) from = n->blocks.back();
    }
    copies.push_back({.from = from, .to = node.blocks.front(), .n_slots = inside});
  }
}

void KvCache::forget(KvNode& node) {
  const bool held = node.holds_blocks();
  if (node.evictable) {
    node.evictable = false;
    evictable_.erase(&node);
    blocks_evictable_ -= static_cast<int64_t>(node.blocks.size());
  }
  for (const BlockId block : node.blocks) pool_.give_back(block);
  node.blocks.clear();
  node.filled = node.start;
  node.completed = -1;
  if (held && node.parent) {
    if (node.borrows) node.parent->lent = false;
    --node.parent->children;
    update_evictable(*node.parent);
  }
  node.borrows = false;
}

void KvCache::forget_all() {
  for (auto& [tree, nodes] : trees_) {
    for (auto& [name, node] : nodes) forget(*node);
  }
}

void KvCache::append_table(const KvNode& node, std::vector<BlockId>& table) {
  const size_t begin = table.size();
  size_t n = static_cast<size_t>(node.first_block()) + node.blocks.size();
  table.resize(begin + n);
  for (const KvNode* part = &node; part != nullptr; part = part->parent.get()) {
    // What the descendants did not fill: a node's copy of a partial block hides its parent's.
    const auto first = static_cast<size_t>(part->first_block());
    for (; n > first; --n) table[begin + n - 1] = part->blocks[n - 1 - first];
  }
}

}  // namespace deepsearch
