// Which node's KV is where: segments by (tree, node). A segment found under a name is used only when its tokens and its
// parent are those of the path asked for, so a reused or mistaken name costs a prefill and never a wrong result.
// One thread, the engine's.
#pragma once

#include <cstdint>
#include <memory>
#include <unordered_map>

#include "engine/backend.h"
#include "search/step_generator.h"

namespace deepsearch {

class KvCache {
 public:
  // The segment of the path's last node, with all its ancestors; segments not there yet are made, empty of KV.
  std::shared_ptr<KvSegment> find_or_make(const ExpansionRequest& request);
  // Keeps a finished child under its node's name.
  void keep(uint64_t tree, int32_t node, std::shared_ptr<KvSegment> segment);
  void release(uint64_t tree);
  // Frees the KV of all segments; tokens and names stay, so that a path is prefilled again when it is next needed.
  void forget_values();
  int64_t trees() const { return static_cast<int64_t>(trees_.size()); }

 private:
  using Nodes = std::unordered_map<int32_t, std::shared_ptr<KvSegment>>;
  std::unordered_map<uint64_t, Nodes> trees_;
};

// Frees a segment's KV.
void forget_values(KvSegment& segment);

}  // namespace deepsearch
