#include "engine/cuda/pass_plan.h"

#include <algorithm>
#include <cstring>
#include <tuple>

#include "core/error.h"

namespace deepsearch::cuda {
namespace {

constexpr int32_t kUnitBlocks = 4;
constexpr int32_t kDeterministicUnitBlocks = 8;
constexpr int32_t kLongPartBlocks = 64;  // when there are tiles enough without cutting

int64_t aligned(int64_t bytes) {
  return (bytes + 15) / 16 * 16;
}

int32_t divide_up(int32_t a, int32_t b) {
  return (a + b - 1) / b;
}

template <class V>
void put(std::byte* to, const std::vector<V>& values) {
  if (!values.empty()) std::memcpy(to, values.data(), values.size() * sizeof(V));
}

}  // namespace

int bucket_of(int n) {
  if (n <= 0 || n > kLargestBucket) return 0;
  if (n <= 2) return n;
  if (n <= 4) return 4;
  const int step = n <= 256 ? 8 : 64;
  return divide_up(n, step) * step;
}

void PassPlan::make(const Pass& pass, BlockId scratch) {
  list_rows(pass);
  list_draws(pass);
  const std::vector<PrefixGroup>& groups = groups_.find(pass);
  choose_part_size(groups);
  count_parts(groups);
  cut_waves();
  list_items(pass, groups);
  round_up_to_bucket(pass, scratch);
  lay_out(pass);
}

void PassPlan::list_rows(const Pass& pass) {
  rows_ = static_cast<int>(pass.tokens.size());
  n_copies_ = static_cast<int>(pass.copies.size());
  positions_.clear();
  slots_.clear();
  for (const PassSpan& span : pass.spans) {
    for (int32_t i = 0; i < span.n_tokens; ++i) {
      const int32_t position = span.start + i;
      positions_.push_back(position);
      const BlockId block =
          pass.tables[static_cast<size_t>(span.first_block) + static_cast<size_t>(position / kKvBlockTokens)];
      slots_.push_back(block * kKvBlockTokens + position % kKvBlockTokens);
    }
  }
}

void PassPlan::list_draws(const Pass& pass) {
  logit_rows_.clear();
  draws_.clear();
  for (const Draw& draw : pass.draws) {
    if (logit_rows_.empty() || logit_rows_.back() != draw.row) logit_rows_.push_back(draw.row);
    draws_.push_back({.u = draw.u,
                      .logit_row = static_cast<int32_t>(logit_rows_.size()) - 1,
                      .forced = draw.forced,
                      .temperature = draw.temperature,
                      .top_p = draw.top_p,
                      .top_k = draw.top_k});
  }
}

int PassPlan::tile_rows(int n_rows) const {
  const int group = head_groups(shape_.heads, shape_.kv_heads).group;
  const bool split = shape_.deterministic || n_rows * group <= kSplitTileRows;
  return (split ? kSplitTileRows : kTileRows) / group;
}

int32_t PassPlan::first_block(const PrefixGroup& group) const {
  return group.first_block / unit_ * unit_;
}

// After the last block that rows up to `last_row` attend to in this group.
int32_t PassPlan::end_block(const PrefixGroup& group, int last_row) const {
  if (group.whole) return group.last_block / unit_ * unit_;
  return positions_[static_cast<size_t>(last_row)] / kKvBlockTokens + 1;
}

void PassPlan::choose_part_size(const std::vector<PrefixGroup>& groups) {
  unit_ = shape_.deterministic ? kDeterministicUnitBlocks : kUnitBlocks;
  part_blocks_ = unit_;
  if (shape_.deterministic) return;
  int64_t tiles = 0;
  int64_t work = 0;
  for (const PrefixGroup& group : groups) {
    const int n_rows = group.last_row - group.first_row;
    const int64_t blocks = end_block(group, group.last_row - 1) - first_block(group);
    tiles += divide_up(n_rows, tile_rows(n_rows));
    work += divide_up(n_rows, tile_rows(n_rows)) * blocks;
  }
  const int n_groups = head_groups(shape_.heads, shape_.kv_heads).n_groups;
  const auto wanted = static_cast<int32_t>(work * n_groups / (int64_t{2} * shape_.parallelism));
  const int32_t least = tiles * n_groups >= shape_.parallelism ? kLongPartBlocks : unit_;
  part_blocks_ = divide_up(std::max(wanted, least), unit_) * unit_;
}

// Parts of each row, and those that lie before each group's.
void PassPlan::count_parts(const std::vector<PrefixGroup>& groups) {
  part_count_.assign(static_cast<size_t>(rows_), 0);
  group_part_.clear();
  for (const PrefixGroup& group : groups) {
    // The same for all rows of a group: they have all groups above it in common.
    group_part_.push_back(part_count_[static_cast<size_t>(group.first_row)]);
    for (int row = group.first_row; row < group.last_row; ++row) {
      const int32_t blocks = end_block(group, row) - first_block(group);
      part_count_[static_cast<size_t>(row)] += divide_up(blocks, part_blocks_);
    }
  }
}

void PassPlan::cut_waves() {
  waves_.clear();
  part_first_.assign(static_cast<size_t>(rows_), 0);
  int used = 0;
  for (int row = 0; row < rows_; ++row) {
    const int32_t count = part_count_[static_cast<size_t>(row)];
    const int needed = count > 1 ? count : 0;
    if (needed > shape_.slot_capacity)
      failure("a sequence's attention is in {} parts; there is room for {}", needed, shape_.slot_capacity);
    if (waves_.empty() || used + needed > shape_.slot_capacity) {
      waves_.push_back({.first_row = row});
      used = 0;
    }
    Wave& wave = waves_.back();
    part_first_[static_cast<size_t>(row)] = used;
    used += needed;
    ++wave.n_rows;
    wave.merge = wave.merge || needed > 0;
  }
}

void PassPlan::list_items(const Pass& pass, const std::vector<PrefixGroup>& groups) {
  items_.clear();
  for (Wave& wave : waves_) {
    wave.first_item = static_cast<int>(items_.size());
    for (size_t i = 0; i < groups.size(); ++i) add_items(pass, groups[i], i, wave);
    wave.n_items = static_cast<int>(items_.size()) - wave.first_item;
    // The longest first: thread blocks take them in turn.
    std::sort(items_.begin() + wave.first_item, items_.end(), [](const AttentionItem& a, const AttentionItem& b) {
      const auto key = [](const AttentionItem& x) {
        return std::tuple(x.first_block - x.last_block, x.first_row, x.first_block);
      };
      return key(a) < key(b);
    });
  }
}

void PassPlan::add_items(const Pass& pass, const PrefixGroup& group, size_t index, const Wave& wave) {
  const int tile = tile_rows(group.last_row - group.first_row);
  const bool split = tile * head_groups(shape_.heads, shape_.kv_heads).group <= kSplitTileRows;
  const int first_row = std::max<int>(group.first_row, wave.first_row);
  const int last_row = std::min<int>(group.last_row, wave.first_row + wave.n_rows);
  const int32_t table = pass.spans[static_cast<size_t>(group.first_span)].first_block;
  for (int row = first_row; row < last_row; row += tile) {
    const int end_row = std::min(row + tile, last_row);
    const int32_t end = end_block(group, end_row - 1);
    int32_t part = group_part_[index];
    for (int32_t block = first_block(group); block < end; block += part_blocks_) {
      items_.push_back({.first_row = row,
                        .n_rows = end_row - row,
                        .first_block = block,
                        .last_block = std::min(block + part_blocks_, end),
                        .table = table,
                        .part = part++,
                        .split_kv = split ? 1 : 0});
    }
  }
}

void PassPlan::round_up_to_bucket(const Pass& pass, BlockId scratch) {
  const int bucket = bucket_of(rows_);
  is_bucket_ = bucket > 0 && waves_.size() == 1 && !draws_.empty() && draws() <= bucket &&
               std::all_of(pass.spans.begin(), pass.spans.end(), [](const PassSpan& s) { return s.n_tokens == 1; });
  padded_rows_ = is_bucket_ ? bucket : rows_;
  padded_draws_ = is_bucket_ ? bucket : draws();
  n_logit_rows_ = is_bucket_ ? bucket : static_cast<int>(logit_rows_.size());
  positions_.resize(static_cast<size_t>(padded_rows_), 0);
  slots_.resize(static_cast<size_t>(padded_rows_), scratch * kKvBlockTokens);
  part_first_.resize(static_cast<size_t>(padded_rows_), 0);
  part_count_.resize(static_cast<size_t>(padded_rows_), 0);
  logit_rows_.resize(static_cast<size_t>(n_logit_rows_), 0);
}

void PassPlan::lay_out(const Pass& pass) {
  const int64_t row_bytes = aligned(int64_t{4} * padded_rows_);
  layout_.tokens = kHeaderBytes;
  layout_.positions = layout_.tokens + row_bytes;
  layout_.slots = layout_.positions + row_bytes;
  layout_.part_first = layout_.slots + row_bytes;
  layout_.part_count = layout_.part_first + row_bytes;
  layout_.logit_rows = layout_.part_count + row_bytes;
  layout_.draws = layout_.logit_rows + aligned(int64_t{4} * n_logit_rows_);
  layout_.wave_items = layout_.draws + static_cast<int64_t>(sizeof(DeviceDraw)) * padded_draws_;
  layout_.items = layout_.wave_items + aligned(static_cast<int64_t>(4 * waves_.size()));
  tables_at_ = layout_.items + static_cast<int64_t>(items_.size() * sizeof(AttentionItem));
  copies_at_ = tables_at_ + aligned(static_cast<int64_t>(4 * pass.tables.size()));
  bytes_ = aligned(copies_at_ + static_cast<int64_t>(pass.copies.size() * sizeof(BlockCopy)));
  for (AttentionItem& item : items_) item.table += static_cast<int32_t>(tables_at_ / 4);
}

void PassPlan::write(const Pass& pass, std::byte* buffer) const {
  std::memset(buffer, 0, static_cast<size_t>(layout_.positions));
  const int32_t n_draws = draws();
  std::memcpy(buffer, &n_draws, sizeof n_draws);
  put(buffer + layout_.tokens, pass.tokens);
  put(buffer + layout_.positions, positions_);
  put(buffer + layout_.slots, slots_);
  put(buffer + layout_.part_first, part_first_);
  put(buffer + layout_.part_count, part_count_);
  put(buffer + layout_.logit_rows, logit_rows_);
  put(buffer + layout_.draws, draws_);
  for (size_t i = 0; i < waves_.size(); ++i) {
    const int32_t n_items = waves_[i].n_items;
    std::memcpy(buffer + layout_.wave_items + 4 * static_cast<int64_t>(i), &n_items, sizeof n_items);
  }
  put(buffer + layout_.items, items_);
  put(buffer + tables_at_, pass.tables);
  put(buffer + copies_at_, pass.copies);
}

}  // namespace deepsearch::cuda
