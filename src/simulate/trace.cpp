#include "simulate/trace.h"

namespace deepsearch {

int64_t trained_tokens(const TreeRecord& record) {
  std::vector<bool> seen(record.nodes.size());
  int64_t tokens = 0;
  for (const RecordedLeaf& leaf : record.recorded) {
    for (int32_t node = leaf.leaf; node >= 0 && !seen[static_cast<size_t>(node)];
         node = record.nodes[static_cast<size_t>(node)].parent) {
      seen[static_cast<size_t>(node)] = true;
      tokens += record.nodes[static_cast<size_t>(node)].n_tokens;
    }
  }
  return tokens;
}

}  // namespace deepsearch
