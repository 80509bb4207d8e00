#include "engine/kv_cache.h"

#include <algorithm>
#include <utility>

namespace deepsearch {

void forget_values(KvSegment& segment) {
  segment.filled = 0;
  if (segment.store) segment.store->resize(0);
}

std::shared_ptr<KvSegment> KvCache::find_or_make(const ExpansionRequest& request) {
  Nodes& nodes = trees_[request.tree];
  std::shared_ptr<KvSegment> parent;
  size_t start = 0;
  for (const PathSegment& part : request.path) {
    const TokenSpan tokens = TokenSpan(request.prefix).subspan(start, static_cast<size_t>(part.n_tokens));
    std::shared_ptr<KvSegment>& entry = nodes[part.node];
    const bool usable = entry && entry->parent == parent &&
                        std::equal(tokens.begin(), tokens.end(), entry->tokens.begin(), entry->tokens.end());
    if (!usable) {
      entry = std::make_shared<KvSegment>();
      entry->parent = parent;
      entry->start = static_cast<int32_t>(start);
      entry->tokens.assign(tokens.begin(), tokens.end());
    }
    parent = entry;
    start += static_cast<size_t>(part.n_tokens);
  }
  return parent;
}

void KvCache::keep(uint64_t tree, int32_t node, std::shared_ptr<KvSegment> segment) {
  trees_[tree][node] = std::move(segment);
}

void KvCache::release(uint64_t tree) {
  trees_.erase(tree);
}

void KvCache::forget_values() {
  for (auto& [tree, nodes] : trees_) {
    for (auto& [node, segment] : nodes) deepsearch::forget_values(*segment);
  }
}

}  // namespace deepsearch
