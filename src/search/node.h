// The live node of a growing tree. Plain data; owned by NodeStore, changed by one thread. What outlives the tree is
// data/tree_record.h's NodeRecord.
#pragma once

#include <cstdint>
#include <vector>

#include "data/step.h"
#include "data/verdict.h"

namespace deepsearch {

struct Node {
  // Constant once made.
  int32_t parent = -1;
  int32_t depth = 0;
  int32_t child_index = 0;      // place among the parent's children
  uint64_t path_hash = 0;       // of the tree and the child indices on the way here: names random numbers
  Step step;                    // empty for the root
  double entropy = 0;           // H(s), nats
  double logprob = 0;           // sum over the step, nats
  double path_entropy = 0;      // sum over the trajectory's counted tokens, nats
  int64_t path_counted = 0;     // tokens in that sum
  int64_t response_tokens = 0;  // tokens from the root's first step to the end of this one
  bool exists = false;          // false: a number reserved for a child that did not (yet) come
  bool terminal = false;
  bool dead = false;                 // the step check calls it dead
  bool pruned = false;               // dead, and never to be recorded ([search].illegal = "prune")
  Outcome outcome = Outcome::kNone;  // terminals only
  double reward = 0;                 // terminals only
  int32_t created = 0;               // iteration
  int32_t made_by_rank = 0;

  // Changed by the search.
  int32_t visits = 0;  // N(s)
  double q = 0;        // accumulated value, not divided
  std::vector<int32_t> children;
  int32_t expanded = -1;   // iteration that first expanded it
  int32_t recorded = -1;   // place among the recorded trajectories
  bool closed = false;     // expanded as far as it goes (distinct children may be fewer than the width)
  bool frontier = false;   // can be chosen for a first expansion: on the frontier and not in flight
  bool chosen = false;     // in flight
  int32_t open_below = 0;  // frontier nodes in this subtree, itself included

  // Q(s): 0 where N(s) = 0.
  double mean() const { return visits > 0 ? q / visits : 0.0; }
  // Mean entropy of the trajectory that ends here, over its tokens.
  double trajectory_entropy() const { return path_counted > 0 ? path_entropy / static_cast<double>(path_counted) : 0; }
};

}  // namespace deepsearch
