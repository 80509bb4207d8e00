#include "learn/gradient_buckets.h"

#include <algorithm>
#include <utility>

#include "core/error.h"

namespace deepsearch {
namespace {

int64_t round_up(int64_t value, int64_t unit) {
  return (value + unit - 1) / unit * unit;
}

void check_groups(const std::vector<ParameterRange>& groups, size_t parameters) {
  int64_t next = 0;
  for (const ParameterRange& group : groups) {
    if (group.begin != next || group.end < group.begin) {
      failure("optimiser: a group of parameters {} to {} follows parameter {}", group.begin, group.end, next);
    }
    next = group.end;
  }
  if (next != static_cast<int64_t>(parameters)) {
    failure("optimiser: the groups hold {} of {} parameters", next, parameters);
  }
}

}  // namespace

GradientBuckets::GradientBuckets(const std::vector<int64_t>& sizes, const std::vector<ParameterRange>& groups,
                                 int64_t bucket_values, int ranks)
    : ranks_(ranks), offsets_(sizes.size()) {
  check_groups(groups, sizes.size());
  const int64_t unit = ranks_ * kAlignment;
  const int64_t limit = std::max(bucket_values / unit, int64_t{1}) * unit;
  std::vector<int64_t> values(groups.size());
  for (size_t g = 0; g < groups.size(); ++g) {
    for (int64_t p = groups[g].begin; p < groups[g].end; ++p) {
      values[g] += round_up(sizes[static_cast<size_t>(p)], kAlignment);
    }
  }
  // Joined from the last group on, which backward completes first.
  std::vector<std::pair<size_t, size_t>> runs;  // first and last group of each
  for (size_t g = groups.size(); g-- > 0;) {
    int64_t joined = values[g];
    for (size_t h = g + 1; !runs.empty() && h <= runs.back().second; ++h) joined += values[h];
    if (!runs.empty() && joined <= limit) {
      runs.back().first = g;
    } else {
      runs.emplace_back(g, g);
    }
  }
  for (size_t r = runs.size(); r-- > 0;) {
    const auto [first, last] = runs[r];
    int64_t at = total_;
    for (int64_t p = groups[first].begin; p < groups[last].end; ++p) {
      offsets_[static_cast<size_t>(p)] = at;
      at += round_up(sizes[static_cast<size_t>(p)], kAlignment);
    }
    // Pieces of nearly one size, so that none is a small remainder.
    const int64_t pieces = std::max<int64_t>((at - total_ + limit - 1) / limit, 1);
    const int64_t piece = round_up((at - total_ + pieces - 1) / pieces, unit);
    while (total_ < at) {
      const int64_t size = std::min(piece, round_up(at - total_, unit));
      buckets_.push_back({total_, size, static_cast<int>(first), static_cast<int>(last)});
      total_ += size;
    }
  }
}

}  // namespace deepsearch
