// Pair of symbols → its merge, in one flat table with open addressing. Filled once; then immutable: any thread.
#pragma once

#include <bit>
#include <cstdint>
#include <vector>

#include "data/tokens.h"

namespace deepsearch {

struct Merge {
  int32_t rank;  // lower goes first
  Token merged;
};

class MergeTable {
 public:
  explicit MergeTable(size_t n_merges) : slots_(std::bit_ceil(n_merges * 2 + 1)) {}

  // A pair that comes again keeps its last merge.
  void insert(Token left, Token right, Merge merge) {
    const uint64_t key = key_of(left, right);
    size_t at = start_of(key);
    while (slots_[at].key != kEmpty && slots_[at].key != key) at = (at + 1) & (slots_.size() - 1);
    slots_[at] = {key, merge};
  }

  const Merge* find(Token left, Token right) const {
    const uint64_t key = key_of(left, right);
    for (size_t at = start_of(key); slots_[at].key != kEmpty; at = (at + 1) & (slots_.size() - 1)) {
      if (slots_[at].key == key) return &slots_[at].merge;
    }
    return nullptr;
  }

 private:
  static constexpr uint64_t kEmpty = ~uint64_t{0};  // ids are below 2^24
  struct Slot {
    uint64_t key = kEmpty;
    Merge merge{};
  };

  static uint64_t key_of(Token left, Token right) {
    return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
  }
  size_t start_of(uint64_t key) const {
    key *= 0x9E3779B97F4A7C15;  // 2^64 / golden ratio
    return (key ^ key >> 32) & (slots_.size() - 1);
  }

  std::vector<Slot> slots_;
};

}  // namespace deepsearch
