// AttentionPlan: who attends to whom in a packed batch (segments.h), made once per micro-batch and used by all layers.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include <ATen/core/Tensor.h>

#include "learn/network/segments.h"

namespace deepsearch {

// Keys of all segments' paths one after the other, as attention over rows of different lengths wants them: the queries
// of segment s are tokens query_starts[s] … query_starts[s+1]−1, its keys entries key_starts[s] … key_starts[s+1]−1 of
// `keys`, its path in order. The mask is the causal one aligned at the lower right: the segment's tokens are its path's
// last.
struct GatherLayout {
  std::vector<int64_t> keys;
  std::vector<int32_t> query_starts, key_starts;  // segments + 1 entries each
  int64_t longest_query = 0, longest_path = 0;
};
GatherLayout gather_layout(std::span<const Segment> segments);

class AttentionPlan {
 public:
  // failure() unless the segments follow each other from token 0 without gaps, each of a token or more and after its
  // parent.
  AttentionPlan(std::span<const Segment> segments, at::Device device);

  int64_t tokens() const { return tokens_; }
  int64_t pairs() const { return pairs_; }  // of a query and a key it attends to, for one head
  int64_t longest_path() const { return longest_path_; }
  const std::vector<Segment>& segments() const { return segments_; }
  at::Device device() const { return device_; }

  int64_t tokens_before(size_t segment) const { return before_[segment]; }  // of its ancestors
  // Trees are the segments under one root: those of tree i are tree_segments()[tree_starts()[i]] …, parents first.
  const std::vector<int32_t>& tree_segments() const { return tree_segments_; }
  const std::vector<int32_t>& tree_starts() const { return tree_starts_; }

  std::vector<int64_t> path_of(size_t segment) const;  // its tokens, from the root on

  // gather_layout() on a GPU; undefined on the CPU, whose kernels do without.
  struct DeviceLayout {
    at::Tensor keys;                      // int64
    at::Tensor query_starts, key_starts;  // int32
    int64_t longest_query = 0, longest_path = 0;
  };
  const DeviceLayout& device_layout() const { return device_layout_; }

 private:
  std::vector<Segment> segments_;
  std::vector<int64_t> before_;
  std::vector<int32_t> tree_segments_, tree_starts_;
  int64_t tokens_ = 0, pairs_ = 0, longest_path_ = 0;
  at::Device device_;
  DeviceLayout device_layout_;
};

std::shared_ptr<const AttentionPlan> make_attention_plan(std::span<const Segment> segments, at::Device device);

}  // namespace deepsearch
