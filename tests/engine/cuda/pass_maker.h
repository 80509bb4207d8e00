// Passes over sequences that share KV blocks, as a scheduler would list them.
#pragma once

#include <vector>

#include "engine/pass.h"

namespace deepsearch::testing {

// A sequence's blocks: those of `parent` for its first `shared` whole blocks, its own from there on.
class PassMaker {
 public:
  explicit PassMaker(BlockId first_block = 0) : next_(first_block) {}

  std::vector<BlockId> table(int n_tokens, const std::vector<BlockId>& parent = {}, int shared = 0) {
    std::vector<BlockId> blocks(parent.begin(), parent.begin() + shared);
    while (static_cast<int>(blocks.size()) * kKvBlockTokens < n_tokens) blocks.push_back(next_++);
    return blocks;
  }
  // Adds positions [start, start + tokens.size()).
  void add(const std::vector<BlockId>& table, int start, const std::vector<Token>& tokens) {
    pass.spans.push_back({.first_token = static_cast<int32_t>(pass.tokens.size()),
                          .n_tokens = static_cast<int32_t>(tokens.size()),
                          .start = start,
                          .first_block = static_cast<int32_t>(pass.tables.size()),
                          .n_blocks = static_cast<int32_t>(table.size())});
    pass.tokens.insert(pass.tokens.end(), tokens.begin(), tokens.end());
    pass.tables.insert(pass.tables.end(), table.begin(), table.end());
  }
  void add(const std::vector<BlockId>& table, int start, int n_tokens) {
    add(table, start, std::vector<Token>(static_cast<size_t>(n_tokens), 0));
  }
  int n_blocks() const { return next_; }

  Pass pass;

 private:
  BlockId next_;
};

// One decode step of a tree: a prompt of `prompt` tokens, `branches` that leave it there, `leaves` of each after
// `step` more.
inline PassMaker tree_pass(int prompt, int branches, int step, int leaves) {
  PassMaker maker(3);
  const auto root = maker.table(prompt);
  for (int b = 0; b < branches; ++b) {
    const int end = prompt + step + b;
    const auto branch = maker.table(end, root, prompt / kKvBlockTokens);
    for (int leaf = 0; leaf < leaves; ++leaf) {
      const int length = end + 1 + 5 * leaf;
      maker.add(maker.table(length, branch, end / kKvBlockTokens), length - 1, 1);
    }
  }
  return maker;
}

// Prompts from nothing and from a shared prefix, beside single tokens.
inline PassMaker mixed_pass() {
  PassMaker maker;
  maker.add(maker.table(37), 0, 37);
  const auto prefix = maker.table(80);
  maker.add(maker.table(103, prefix, 5), 80, 23);
  maker.add(maker.table(97, prefix, 5), 96, 1);
  maker.add(maker.table(81, prefix, 5), 80, 1);
  maker.add(maker.table(1), 0, 1);
  maker.add(maker.table(170), 3, 167);
  return maker;
}

}  // namespace deepsearch::testing
