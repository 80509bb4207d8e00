// PassPlan: a Pass made ready for the device. Everything the kernels look up goes into one buffer, copied at once:
//
//   header | tokens | positions | slots | part_first | part_count | logit_rows | draws | items a wave | items | tables
//   | copies
//
// The sections up to the items lie where the numbers of rows and draws put them, so that a pass rounded up to a bucket
// has them at the same place as any other of its bucket; tables, at the end, are found through the items. Pure host
// code.
//
// Attention is cut into items (kernels.h) by PrefixGroups: rows that share blocks read them together. A row's KV blocks
// are cut into parts at multiples of a unit of blocks from its beginning, and a shared group owns the units that lie in
// it to the end; a unit that it shares only in part belongs to the groups below. With `deterministic` a unit is a part
// (128 tokens), so that a row's parts follow from its position alone, whatever else is in the pass. Otherwise parts are
// as large as keeps the device busy.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "engine/cuda/kernels.h"
#include "engine/pass.h"
#include "engine/prefix_groups.h"

namespace deepsearch::cuda {

struct PlanShape {
  int heads = 0;
  int kv_heads = 0;
  bool deterministic = false;
  int parallelism = 1;    // thread blocks of attention that run at the same time
  int slot_capacity = 0;  // parts that the workspace holds; a pass with more takes several waves
};

// Byte offsets into the buffer.
struct PassLayout {
  int64_t tokens = 0;
  int64_t positions = 0;
  int64_t slots = 0;
  int64_t part_first = 0;
  int64_t part_count = 0;
  int64_t logit_rows = 0;
  int64_t draws = 0;
  int64_t wave_items = 0;
  int64_t items = 0;
};
constexpr int64_t kHeaderBytes = 16;  // int32: number of draws, then nothing

// Rows of one run of attention and merge.
struct Wave {
  int first_row = 0;
  int n_rows = 0;
  int first_item = 0;
  int n_items = 0;
  bool merge = false;  // some row has several parts
};

class PassPlan {
 public:
  explicit PassPlan(const PlanShape& shape) : shape_(shape) {}

  // Valid until the next call. `scratch` is a block for the rows that fill up a bucket. failure() for a row with more
  // parts than the workspace holds.
  void make(const Pass& pass, BlockId scratch);

  int rows() const { return rows_; }                // of the pass
  int padded_rows() const { return padded_rows_; }  // of its bucket; rows() when it is none
  int draws() const { return static_cast<int>(draws_.size()); }
  int padded_draws() const { return padded_draws_; }
  int n_logit_rows() const { return n_logit_rows_; }  // padded likewise
  int logit_row_of(size_t draw) const { return draws_[draw].logit_row; }
  int copies() const { return n_copies_; }
  // A pass of single tokens in one wave: the same launches as every other of its bucket.
  bool is_bucket() const { return is_bucket_; }
  const PassLayout& layout() const { return layout_; }
  const std::vector<Wave>& waves() const { return waves_; }
  int64_t copies_at() const { return copies_at_; }
  int64_t bytes() const { return bytes_; }
  void write(const Pass& pass, std::byte* buffer) const;

  const std::vector<AttentionItem>& items() const { return items_; }

 private:
  void list_rows(const Pass& pass);
  void list_draws(const Pass& pass);
  void choose_part_size(const std::vector<PrefixGroup>& groups);
  void count_parts(const std::vector<PrefixGroup>& groups);
  void cut_waves();
  void list_items(const Pass& pass, const std::vector<PrefixGroup>& groups);
  void add_items(const Pass& pass, const PrefixGroup& group, size_t index, const Wave& wave);
  void round_up_to_bucket(const Pass& pass, BlockId scratch);
  void lay_out(const Pass& pass);

  int32_t first_block(const PrefixGroup& group) const;
  int32_t end_block(const PrefixGroup& group, int last_row) const;
  int tile_rows(int n_rows) const;

  PlanShape shape_;
  PrefixGroups groups_;
  int rows_ = 0;
  int padded_rows_ = 0;
  int padded_draws_ = 0;
  int n_logit_rows_ = 0;
  int n_copies_ = 0;
  bool is_bucket_ = false;
  int32_t unit_ = 0;         // blocks
  int32_t part_blocks_ = 0;  // a multiple of the unit
  int64_t copies_at_ = 0;
  int64_t bytes_ = 0;
  int64_t tables_at_ = 0;
  PassLayout layout_;
  std::vector<int32_t> positions_;
  std::vector<int32_t> slots_;
  std::vector<int32_t> part_first_;
  std::vector<int32_t> part_count_;
  std::vector<int32_t> group_part_;  // number of parts before each group
  std::vector<int32_t> logit_rows_;
  std::vector<DeviceDraw> draws_;
  std::vector<Wave> waves_;
  std::vector<AttentionItem> items_;
};

// The bucket a decode step of n rows is rounded up to; 0 when it is too large for one.
int bucket_of(int n);
constexpr int kLargestBucket = 512;

}  // namespace deepsearch::cuda
