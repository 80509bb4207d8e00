// How a pass is cut up: every block a row attends to is read once for it, in parts that are numbered without gaps.
#include "engine/cuda/pass_plan.h"

#include <map>
#include <set>

#include <gtest/gtest.h>

#include "core/error.h"
#include "engine/cuda/pass_maker.h"

namespace deepsearch::cuda {
namespace {

using testing::mixed_pass;
using testing::PassMaker;
using testing::tree_pass;

int32_t at(const std::vector<std::byte>& buffer, int64_t offset, int64_t index) {
  int32_t value = 0;
  std::memcpy(&value, buffer.data() + offset + 4 * index, sizeof value);
  return value;
}

struct Made {
  PassPlan plan;
  std::vector<std::byte> buffer;
};
Made make(const Pass& pass, const PlanShape& shape) {
  Made made{.plan = PassPlan(shape), .buffer = {}};
  made.plan.make(pass, 999);
  made.buffer.resize(static_cast<size_t>(made.plan.bytes()));
  made.plan.write(pass, made.buffer.data());
  return made;
}

// For each row: (part, block index) → KV block, as the items say.
using Read = std::map<int, std::map<std::pair<int, int>, BlockId>>;
Read blocks_read(const Made& made) {
  Read read;
  for (const AttentionItem& item : made.plan.items()) {
    for (int row = item.first_row; row < item.first_row + item.n_rows; ++row) {
      if (item.part >= at(made.buffer, made.plan.layout().part_count, row)) continue;
      for (int b = item.first_block; b < item.last_block; ++b) {
        const bool is_new = read[row].emplace(std::pair(item.part, b), at(made.buffer, 0, item.table + b)).second;
        EXPECT_TRUE(is_new) << "row " << row << " reads block " << b << " twice in a part";
      }
    }
  }
  return read;
}

void check_cover(const Pass& pass, const PlanShape& shape) {
  const Made made = make(pass, shape);
  const Read read = blocks_read(made);
  int row = 0;
  for (const PassSpan& span : pass.spans) {
    for (int i = 0; i < span.n_tokens; ++i, ++row) {
      const int n_blocks = (span.start + i) / kKvBlockTokens + 1;
      std::set<int> parts;
      std::map<int, BlockId> blocks;
      int last_block = -1;
      for (const auto& [key, block] : read.at(row)) {
        parts.insert(key.first);
        if (key.second >= n_blocks) continue;  // masked: a later row of the tile needs it
        EXPECT_GT(key.second, last_block) << "parts are in order of position";
        last_block = key.second;
        blocks[key.second] = block;
      }
      ASSERT_EQ(static_cast<int>(blocks.size()), n_blocks) << "row " << row;
      for (const auto& [index, block] : blocks) {
        EXPECT_EQ(block, pass.tables[static_cast<size_t>(span.first_block + index)]);
      }
      const int count = at(made.buffer, made.plan.layout().part_count, row);
      EXPECT_EQ(static_cast<int>(parts.size()), count);
      EXPECT_EQ(*parts.rbegin(), count - 1);
    }
  }
}

std::vector<PlanShape> shapes() {
  std::vector<PlanShape> list;
  for (const auto& [heads, kv_heads] : {std::pair{1, 1}, {4, 2}, {12, 2}, {14, 2}, {20, 1}}) {
    for (const int parallelism : {1, 7, 264}) {
      for (const bool deterministic : {false, true}) {
        list.push_back({.heads = heads,
                        .kv_heads = kv_heads,
                        .deterministic = deterministic,
                        .parallelism = parallelism,
                        .slot_capacity = 64});
      }
    }
  }
  return list;
}

TEST(PassPlan, EveryBlockOfARowOnce) {
  for (const PlanShape& shape : shapes()) {
    check_cover(tree_pass(200, 3, 70, 4).pass, shape);
    check_cover(tree_pass(5, 2, 3, 2).pass, shape);
    check_cover(mixed_pass().pass, shape);
  }
}

// Slots of different rows do not meet, and no wave needs more than there are.
TEST(PassPlan, SlotsOfAWave) {
  for (PlanShape shape : shapes()) {
    shape.slot_capacity = 9;
    const PassMaker maker = mixed_pass();
    const Made made = make(maker.pass, shape);
    std::set<int> rows;
    for (const Wave& wave : made.plan.waves()) {
      std::set<int> slots;
      for (int row = wave.first_row; row < wave.first_row + wave.n_rows; ++row) {
        EXPECT_TRUE(rows.insert(row).second);
        const int count = at(made.buffer, made.plan.layout().part_count, row);
        for (int p = 0; count > 1 && p < count; ++p) {
          const int slot = at(made.buffer, made.plan.layout().part_first, row) + p;
          EXPECT_TRUE(slots.insert(slot).second);
          EXPECT_LT(slot, shape.slot_capacity);
        }
      }
      for (int i = wave.first_item; i < wave.first_item + wave.n_items; ++i) {
        const AttentionItem& item = made.plan.items()[static_cast<size_t>(i)];
        EXPECT_GE(item.first_row, wave.first_row);
        EXPECT_LE(item.first_row + item.n_rows, wave.first_row + wave.n_rows);
      }
    }
    EXPECT_EQ(rows.size(), maker.pass.tokens.size());
  }
  PlanShape shape{.heads = 1, .kv_heads = 1, .deterministic = true, .parallelism = 1, .slot_capacity = 2};
  PassMaker maker;
  maker.add(maker.table(400), 399, 1);
  EXPECT_THROW(make(maker.pass, shape), Error);
}

// Deterministic: which blocks make up which part of a row follows from the row's position.
TEST(PassPlan, PartsOfARowDoNotDependOnThePass) {
  const PlanShape shape{.heads = 12, .kv_heads = 2, .deterministic = true, .parallelism = 264, .slot_capacity = 64};
  const PassMaker maker = tree_pass(300, 3, 140, 4);
  const Read together = blocks_read(make(maker.pass, shape));
  for (size_t i = 0; i < maker.pass.spans.size(); ++i) {
    const PassSpan& span = maker.pass.spans[i];
    PassMaker alone;
    alone.add(
        {maker.pass.tables.begin() + span.first_block, maker.pass.tables.begin() + span.first_block + span.n_blocks},
        span.start, 1);
    EXPECT_EQ(blocks_read(make(alone.pass, shape)).at(0), together.at(static_cast<int>(i)));
  }
}

// A prefix that many rows share is read by tiles of rows, not row by row.
TEST(PassPlan, SharedBlocksAreReadTogether) {
  const PlanShape shape{.heads = 12, .kv_heads = 2, .parallelism = 264, .slot_capacity = 4096};
  const Made made = make(tree_pass(1024, 1, 16, 30).pass, shape);
  int64_t shared = 0;
  for (const AttentionItem& item : made.plan.items()) {
    if (item.last_block <= 64) shared += item.last_block - item.first_block;
  }
  EXPECT_EQ(shared, 64 * 3);  // 30 rows of 6 heads in tiles of 10
}

TEST(PassPlan, Buckets) {
  EXPECT_EQ(bucket_of(0), 0);
  EXPECT_EQ(bucket_of(1), 1);
  EXPECT_EQ(bucket_of(3), 4);
  EXPECT_EQ(bucket_of(9), 16);
  EXPECT_EQ(bucket_of(255), 256);
  EXPECT_EQ(bucket_of(257), 320);
  EXPECT_EQ(bucket_of(kLargestBucket + 1), 0);

  const PlanShape shape{.heads = 2, .kv_heads = 1, .parallelism = 4, .slot_capacity = 64};
  PassMaker maker = tree_pass(40, 3, 10, 3);
  for (int32_t row = 0; row < 9; ++row) maker.pass.draws.push_back({.row = row, .u = 0.5});
  const Made nine = make(maker.pass, shape);
  EXPECT_TRUE(nine.plan.is_bucket());
  EXPECT_EQ(nine.plan.padded_rows(), 16);
  EXPECT_EQ(nine.plan.n_logit_rows(), 16);
  EXPECT_EQ(at(nine.buffer, nine.plan.layout().slots, 15), 999 * kKvBlockTokens);
  EXPECT_EQ(at(nine.buffer, nine.plan.layout().part_count, 15), 0);
  EXPECT_EQ(at(nine.buffer, 0, 0), 9);

  // The same places for another pass of the bucket.
  PassMaker other = tree_pass(500, 4, 10, 3);
  for (int32_t row = 0; row < 12; ++row) other.pass.draws.push_back({.row = row, .u = 0.5});
  const Made twelve = make(other.pass, shape);
  EXPECT_EQ(twelve.plan.layout().items, nine.plan.layout().items);
  EXPECT_EQ(twelve.plan.layout().draws, nine.plan.layout().draws);

  other.pass.draws[3].row = other.pass.draws[2].row;  // two draws of one row
  const Made shared = make(other.pass, shape);
  EXPECT_EQ(shared.plan.logit_row_of(3), 2);
  EXPECT_EQ(shared.plan.logit_row_of(4), 3);
}

}  // namespace
}  // namespace deepsearch::cuda
