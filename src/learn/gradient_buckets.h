// How parameters lie in flat buffers, and which stretches of them are summed over learner ranks together (as in
// PyTorch's DistributedDataParallel, Li et al. 2020) and shared out among the ranks (ZeRO stage 1, Rajbhandari et al.
// 2020).
//
// Parameters lie in their order, each at a multiple of kAlignment values. Groups of parameters whose gradients become
// complete together are joined into a bucket while they fit; a group that is too large is cut, wherever that falls.
// Every bucket divides evenly by the ranks, in parts that start at multiples of kAlignment; what pads it is zero.
// Pure; the same on all ranks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "learn/network/parameter_range.h"

namespace deepsearch {

class GradientBuckets {
 public:
  static constexpr int64_t kAlignment = 32;  // values: 64 bytes of bf16

  struct Bucket {
    int64_t begin = 0;  // in the flat buffer
    int64_t size = 0;
    int first_group = 0;  // the groups that must be complete before this bucket is
    int last_group = 0;
  };

  // `sizes`: values of each parameter. `groups` cover all parameters, in their order (failure() otherwise).
  // `bucket_values`: values in a bucket at most, padding aside.
  GradientBuckets(const std::vector<int64_t>& sizes, const std::vector<ParameterRange>& groups, int64_t bucket_values,
                  int ranks);

  int64_t total() const { return total_; }  // values of the flat buffer, padding included
  int64_t offset(size_t parameter) const { return offsets_[parameter]; }
  // In the order of the buffer. Backward completes them from the last to the first.
  const std::vector<Bucket>& buckets() const { return buckets_; }
  int64_t part_size(size_t bucket) const { return buckets_[bucket].size / ranks_; }
  int64_t part_begin(size_t bucket, int rank) const { return buckets_[bucket].begin + rank * part_size(bucket); }

 private:
  int64_t ranks_;
  int64_t total_ = 0;
  std::vector<int64_t> offsets_;
  std::vector<Bucket> buckets_;
};

}  // namespace deepsearch
