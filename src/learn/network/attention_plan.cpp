#include "learn/network/attention_plan.h"

#include <algorithm>
#include <numeric>

#include <ATen/ops/from_blob.h>

#include "core/error.h"

namespace deepsearch {

namespace {

void append_path(std::span<const Segment> segments, size_t segment, std::vector<int64_t>& to) {
  const size_t begin = to.size();
  for (auto s = static_cast<int32_t>(segment); s >= 0; s = segments[static_cast<size_t>(s)].parent) {
    const Segment& one = segments[static_cast<size_t>(s)];
    for (int32_t i = one.count; i-- > 0;) to.push_back(one.first + i);
  }
  std::reverse(to.begin() + static_cast<std::ptrdiff_t>(begin), to.end());
}

template <class T>
at::Tensor on_device(std::vector<T>& values, at::ScalarType type, at::Device device) {
  return at::from_blob(values.data(), {static_cast<int64_t>(values.size())}, at::TensorOptions().dtype(type))
      .to(device, /*non_blocking=*/false, /*copy=*/true);
}

}  // namespace

GatherLayout gather_layout(std::span<const Segment> segments) {
  GatherLayout layout;
  layout.query_starts.push_back(0);
  layout.key_starts.push_back(0);
  for (size_t s = 0; s < segments.size(); ++s) {
    append_path(segments, s, layout.keys);
    if (layout.keys.size() > size_t{INT32_MAX}) failure("attention: the paths of a batch have too many tokens");
    layout.query_starts.push_back(segments[s].first + segments[s].count);
    layout.key_starts.push_back(static_cast<int32_t>(layout.keys.size()));
    layout.longest_query = std::max(layout.longest_query, int64_t{segments[s].count});
    layout.longest_path = std::max(layout.longest_path, int64_t{layout.key_starts[s + 1]} - layout.key_starts[s]);
  }
  return layout;
}

AttentionPlan::AttentionPlan(std::span<const Segment> segments, at::Device device)
    : segments_(segments.begin(), segments.end()), device_(device) {
  std::vector<int32_t> tree_of;
  int32_t trees = 0;
  for (size_t s = 0; s < segments_.size(); ++s) {
    const Segment& one = segments_[s];
    if (one.first != tokens_ || one.count < 1 || one.parent < -1 || one.parent >= static_cast<int32_t>(s)) {
      failure("attention: segment {} has parent {}, first token {} and {} tokens after {} tokens", s, one.parent,
              one.first, one.count, tokens_);
    }
    const auto parent = static_cast<size_t>(std::max(one.parent, 0));
    const int64_t count = one.count;
    before_.push_back(one.parent < 0 ? 0 : before_[parent] + segments_[parent].count);
    tree_of.push_back(one.parent < 0 ? trees++ : tree_of[parent]);
    tokens_ += count;
    pairs_ += count * before_[s] + count * (count + 1) / 2;
    longest_path_ = std::max(longest_path_, before_[s] + count);
  }
  tree_starts_.assign(static_cast<size_t>(trees) + 1, 0);
  for (const int32_t tree : tree_of) ++tree_starts_[static_cast<size_t>(tree) + 1];
  std::partial_sum(tree_starts_.begin(), tree_starts_.end(), tree_starts_.begin());
  tree_segments_.resize(segments_.size());
  std::iota(tree_segments_.begin(), tree_segments_.end(), 0);
  std::stable_sort(tree_segments_.begin(), tree_segments_.end(), [&](int32_t a, int32_t b) {
    return tree_of[static_cast<size_t>(a)] < tree_of[static_cast<size_t>(b)];
  });
  if (device.is_cpu()) return;
  GatherLayout layout = gather_layout(segments_);
  device_layout_ = {.keys = on_device(layout.keys, at::kLong, device),
                    .query_starts = on_device(layout.query_starts, at::kInt, device),
                    .key_starts = on_device(layout.key_starts, at::kInt, device),
                    .longest_query = layout.longest_query,
                    .longest_path = layout.longest_path};
}

std::vector<int64_t> AttentionPlan::path_of(size_t segment) const {
  std::vector<int64_t> path;
  append_path(segments_, segment, path);
  return path;
}

std::shared_ptr<const AttentionPlan> make_attention_plan(std::span<const Segment> segments, at::Device device) {
  return std::make_shared<const AttentionPlan>(segments, device);
}

}  // namespace deepsearch
