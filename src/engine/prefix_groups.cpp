#include "engine/prefix_groups.h"

#include <algorithm>

namespace deepsearch {
namespace {

// Leading blocks that all rows of a span attend to in full.
int32_t whole_blocks(const PassSpan& span) {
  return span.start / kKvBlockTokens;
}

}  // namespace

const std::vector<PrefixGroup>& PrefixGroups::find(const Pass& pass) {
  groups_.clear();
  groups_.reserve(3 * pass.spans.size());  // at most: a tail each, and whole groups as in a binary tree
  common_.assign(pass.spans.size(), 0);
  for (size_t i = 1; i < pass.spans.size(); ++i) {
    const PassSpan& a = pass.spans[i - 1];
    const PassSpan& b = pass.spans[i];
    const BlockId* blocks_a = pass.tables.data() + a.first_block;
    const BlockId* blocks_b = pass.tables.data() + b.first_block;
    const int32_t n = std::min(whole_blocks(a), whole_blocks(b));
    common_[i] = static_cast<int32_t>(std::mismatch(blocks_a, blocks_a + n, blocks_b).first - blocks_a);
  }
  split(pass, 0, static_cast<int32_t>(pass.spans.size()), 0);
  return groups_;
}

// Groups of spans [first, last), whose tables agree up to `depth`, from there on.
void PrefixGroups::split(const Pass& pass, int32_t first, int32_t last, int32_t depth) {
  for (int32_t i = first; i < last;) {
    const PassSpan& span = pass.spans[static_cast<size_t>(i)];
    if (whole_blocks(span) <= depth) {
      add_tail(pass, i++);
      continue;
    }
    int32_t end = i + 1;
    int32_t shared = whole_blocks(span);
    for (; end < last && common_[static_cast<size_t>(end)] > depth; ++end) {
      shared = std::min(shared, common_[static_cast<size_t>(end)]);
    }
    const PassSpan& last_span = pass.spans[static_cast<size_t>(end - 1)];
    groups_.push_back({.first_row = span.first_token,
                       .last_row = last_span.first_token + last_span.n_tokens,
                       .first_block = depth,
                       .last_block = shared,
                       .table = span.first_block,
                       .first_span = i,
                       .whole = true});
    split(pass, i, end, shared);
    i = end;
  }
}

void PrefixGroups::add_tail(const Pass& pass, int32_t index) {
  const PassSpan& span = pass.spans[static_cast<size_t>(index)];
  groups_.push_back({.first_row = span.first_token,
                     .last_row = span.first_token + span.n_tokens,
                     .first_block = whole_blocks(span),
                     .last_block = (span.start + span.n_tokens + kKvBlockTokens - 1) / kKvBlockTokens,
                     .table = span.first_block,
                     .first_span = index,
                     .whole = false});
}

}  // namespace deepsearch
