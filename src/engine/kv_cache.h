// Whose KV is where. Every node of every live tree has a KvNode; its tokens' KV lies in blocks of kKvBlockTokens
// (engine/pass.h). A node's blocks follow its parent's: blocks that the prefix fills are the parent's (and its
// ancestors'), shared by all children, and of the last, partly filled one
//
//   the first child that needs it goes on writing where the parent ended (it *borrows* the block: nobody else reads
//   those slots), so a chain of only children, as in a rollout, wastes nothing;
//   every other child gets a copy to write on.
//
// Reference counts: a node lives as long as the tree, a running child or a descendant holds it, and gives its blocks
// back when it dies. Under memory pressure the blocks of the node that was wanted longest ago go first, leaves before
// their ancestors; its tokens stay, so that it is prefilled again when it is next wanted.
//
// A node found under a name is used only when its tokens and its parent are those of the path asked for, so a reused or
// mistaken name costs a prefill and never a wrong result. One thread, the engine's.
#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <unordered_map>
#include <vector>

#include "engine/pass.h"
#include "search/step_generator.h"

namespace deepsearch {

// Free blocks by number. Blocks given back are used before fresh ones, so memory that was never touched stays so.
class BlockPool {
 public:
  void reset(int64_t capacity);
  int64_t capacity() const { return capacity_; }
  int64_t free() const { return capacity_ - used(); }
  int64_t used() const { return fresh_ - static_cast<int64_t>(returned_.size()); }
  BlockId take();  // failure() when none is free
  void give_back(BlockId block) { returned_.push_back(block); }

 private:
  int64_t capacity_ = 0;
  int64_t fresh_ = 0;  // blocks from here on were never taken
  std::vector<BlockId> returned_;
};

class KvCache;

struct KvNode {
  explicit KvNode(KvCache& owner) : cache(owner) {}
  ~KvNode();
  KvNode(const KvNode&) = delete;
  KvNode& operator=(const KvNode&) = delete;

  int32_t end() const { return start + static_cast<int32_t>(tokens.size()); }
  bool complete() const { return filled == end(); }
  bool holds_blocks() const { return borrows || !blocks.empty(); }
  // Index in the sequence's table of blocks.front().
  int32_t first_block() const {
    return borrows ? (start + kKvBlockTokens - 1) / kKvBlockTokens : start / kKvBlockTokens;
  }

  KvCache& cache;
  std::shared_ptr<KvNode> parent;  // none for the root
  int32_t start = 0;               // position of tokens[0] in the sequence
  std::vector<Token> tokens;
  int32_t filled = 0;       // positions [start, filled) have KV, or get it in the pass being built
  int32_t ever_filled = 0;  // the furthest `filled` was: below it, tokens are computed again
  int64_t completed = -1;   // the pass in which `filled` reached the end: its KV can be copied in a later one only
  bool tail_unfed = false;  // sampled here and its last token was never fed
  std::vector<BlockId> blocks;
  bool borrows = false;    // its first tokens lie in the parent's last block
  bool lent = false;       // a child goes on in this node's last block
  int32_t children = 0;    // child nodes that hold KV on top of this one's
  int32_t pins = 0;        // requests under way that need it
  int64_t wanted = 0;      // the pass it was last needed in
  bool evictable = false;  // is in the cache's list of those
};

struct KvCounters {
  int64_t evicted_nodes = 0;
  int64_t evicted_tokens = 0;
};

class KvCache {
 public:
  ~KvCache();
  void reset(int64_t n_blocks) { pool_.reset(n_blocks); }
  const BlockPool& pool() const { return pool_; }
  int64_t blocks_evictable() const { return blocks_evictable_; }
  const KvCounters& counters() const { return counters_; }

  // The path's last node with all its ancestors; nodes not there yet are made, without KV. Segments without tokens have
  // no node.
  std::shared_ptr<KvNode> find_or_make(const ExpansionRequest& request);
  // Of no tree: gone when its last holder is.
  std::shared_ptr<KvNode> make_root(const std::vector<Token>& tokens);
  std::shared_ptr<KvNode> make_child(const std::shared_ptr<KvNode>& parent);
  // A child's step has ended in this pass: its KV may be evicted from now on.
  void set_idle(KvNode& child, int64_t pass);
  // Keeps a finished child under its node's name.
  void keep(uint64_t tree, int32_t node, std::shared_ptr<KvNode> child);
  void release(uint64_t tree);

  // A pinned node and its ancestors are not evicted.
  void pin(KvNode& node, int64_t pass);
  void unpin(KvNode& node);

  // True when n blocks are free, after evicting what must be for it.
  bool make_room(int64_t n);
  // Blocks for positions [node.start, end), taken from the pool, which holds enough. When the node begins inside its
  // parent's last block and may not borrow it, `copy` says what must be copied first.
  int64_t blocks_missing(const KvNode& node, int32_t end) const;
  void grow(KvNode& node, int32_t end, std::vector<BlockCopy>& copies);
  // Gives the blocks back; tokens stay.
  void forget(KvNode& node);
  // Of all nodes in the cache.
  void forget_all();

  // The sequence's table up to the node's last block, appended.
  static void append_table(const KvNode& node, std::vector<BlockId>& table);

 private:
  friend struct KvNode;
  using Nodes = std::unordered_map<int32_t, std::shared_ptr<KvNode>>;
  struct WantedEarlier {
    bool operator()(const KvNode* a, const KvNode* b) const {
      return a->wanted != b->wanted ? a->wanted < b->wanted : a < b;
    }
  };

  void update_evictable(KvNode& node);

  BlockPool pool_;
  KvCounters counters_;
  std::set<KvNode*, WantedEarlier> evictable_;
  int64_t blocks_evictable_ = 0;
  std::unordered_map<uint64_t, Nodes> trees_;  // last: its nodes use all of the above when they die
};

}  // namespace deepsearch
