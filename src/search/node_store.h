// The nodes of one growing tree: numbering, token columns, requests for the generator and the way into a TreeRecord.
// Trees and rollouts share it. One owner thread.
//
// A request reserves its children's numbers, because the generator keeps their KV under them; children that do not
// come leave gaps, which write() closes (in the published setting there are none).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "data/tree_record.h"
#include "search/node.h"
#include "search/params.h"
#include "search/step_generator.h"

namespace deepsearch {

// What names all random numbers of a tree: (seed, kind, key). Independent of rank, handle and timing.
uint64_t tree_hash(uint64_t seed, RecordKind kind, const TreeKey& key);

class NodeStore {
 public:
  NodeStore(const SearchParams& params, uint64_t hash, std::vector<Token> prompt);

  Node& operator[](int32_t id) { return nodes_[static_cast<size_t>(id)]; }
  const Node& operator[](int32_t id) const { return nodes_[static_cast<size_t>(id)]; }
  std::span<const Node> all() const { return nodes_; }
  int32_t size() const { return static_cast<int32_t>(nodes_.size()); }

  // Reserves numbers for `n_children` of `node` and makes the request for them.
  ExpansionRequest request(uint64_t tree, int32_t node, int32_t n_children);

  // Checks an expansion against its request's size and the shape of its steps; throws failure (a generator broke its
  // contract).
  void check(const Expansion& expansion, int32_t n_asked) const;

  // Puts a step in place as the reserved node `id`, the next child of `parent`. Nothing is judged yet.
  Node& fill(int32_t id, int32_t parent, Step step);
  // A step that was not asked for, as the next child of `parent`: its number.
  int32_t append(int32_t parent, Step step);
  // Gives back numbers reserved last and never filled.
  void drop_reserved_tail();

  // Tokens from the root's first step to the end of `id`.
  std::vector<Token> response(int32_t id) const;
  // Node ids root … id.
  std::vector<int32_t> path(int32_t id) const;

  // Writes nodes and token columns in the order of `order` (existing nodes, parents before children, root first) and
  // returns the new number of each live one (−1 where a number was never used).
  std::vector<int32_t> write(std::span<const int32_t> order, TreeRecord& record) const;
  std::vector<int32_t> creation_order() const;

 private:
  void measure(Node& node) const;

  const SearchParams& params_;
  std::vector<Token> prompt_;
  std::vector<Node> nodes_;
};

}  // namespace deepsearch
