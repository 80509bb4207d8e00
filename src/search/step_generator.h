// StepGenerator: all that the search knows of the policy. Requests go in, finished expansions come out, in any order;
// steps differ in length, so nothing here blocks on the slowest. Implementations live in engine/.
//
// Call order: set-up of the implementation, then any mix of submit and poll; release(tree) once a tree is done.
// One thread owns a generator.
#pragma once

#include <cstdint>
#include <vector>

#include "data/step.h"
#include "data/tokens.h"

namespace deepsearch {

// One node of a request's path, root (the prompt) first: which cached KV block it is, and how many tokens it holds.
struct PathSegment {
  int32_t node = 0;
  int32_t n_tokens = 0;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(node, n_tokens);
  }
};

struct ExpansionRequest {
  uint64_t tree = 0;              // handle, unique among live trees of this generator: the scope of cached KV
  int32_t node = 0;               // the node to expand
  std::vector<PathSegment> path;  // root … node
  std::vector<Token> prefix;      // the path's tokens, prompt included: what a generator without that KV prefills
  int32_t n_children = 1;
  int32_t first_child = 0;  // child i will be node first_child + i: the name its KV is kept under
  int32_t max_tokens = 1;   // a step
  float temperature = 1.0F;
  float top_p = 1.0F;
  bool distinct =
      false;  // sample children without replacement (duplicates are sampled again, a bounded number of times)
  // Names the random numbers: token t of child i, try a is uniform_at(sampling seed, kSampling, mix_all(sampling_key,
  // i, a), t).
  uint64_t sampling_key = 0;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(tree, node, path, prefix, n_children, first_child, max_tokens, temperature, top_p, distinct, sampling_key);
  }
};

struct Expansion {
  uint64_t tree = 0;
  int32_t node = 0;
  std::vector<Step> children;    // in child order; fewer than asked only with `distinct`
  int64_t tokens_generated = 0;  // discarded duplicates included
  int64_t tokens_prefilled = 0;  // prefix tokens computed because their KV was not cached
  int32_t made_by_rank = 0;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(tree, node, children, tokens_generated, tokens_prefilled, made_by_rank);
  }
};

class StepGenerator {
 public:
  virtual ~StepGenerator() = default;

  virtual void submit(ExpansionRequest request) = 0;
  // Does a bounded piece of work (about one decode step of the running batch) and appends what finished.
  virtual void poll(std::vector<Expansion>& finished) = 0;
  // Expansions submitted and not yet returned.
  virtual int64_t in_flight() const = 0;
  // Forgets all state of a tree; its running expansions are dropped and never returned.
  virtual void release(uint64_t tree) = 0;
};

}  // namespace deepsearch
