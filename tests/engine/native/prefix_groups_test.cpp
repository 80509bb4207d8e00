// Prefix groups against the definition, on random trees of tables.
#include "engine/prefix_groups.h"

#include <algorithm>
#include <map>
#include <utility>

#include <gtest/gtest.h>

#include "core/rng.h"

namespace deepsearch {
namespace {

void add_span(Pass& pass, int32_t start, int32_t n_tokens, const std::vector<BlockId>& table) {
  pass.spans.push_back({.first_token = static_cast<int32_t>(pass.tokens.size()),
                        .n_tokens = n_tokens,
                        .start = start,
                        .first_block = static_cast<int32_t>(pass.tables.size()),
                        .n_blocks = static_cast<int32_t>(table.size())});
  pass.tokens.resize(pass.tokens.size() + static_cast<size_t>(n_tokens));
  pass.tables.insert(pass.tables.end(), table.begin(), table.end());
}

// Sequences of some trees: each goes on from a random place of an earlier one of its tree, sharing whole blocks.
Pass random_pass(uint64_t seed) {
  RandomStream random(seed, RngPurpose::kTests, 1);
  Pass pass;
  BlockId next = 0;
  const int64_t trees = random.between(1, 4);
  for (int64_t t = 0; t < trees; ++t) {
    std::vector<std::vector<BlockId>> tables;
    const int64_t sequences = random.between(1, 7);
    for (int64_t s = 0; s < sequences; ++s) {
      const auto n_tokens = static_cast<int32_t>(random.below(3) == 0 ? random.between(2, 40) : 1);
      const auto start = static_cast<int32_t>(random.between(0, 90));
      const auto blocks = static_cast<size_t>((start + n_tokens + kKvBlockTokens - 1) / kKvBlockTokens);
      std::vector<BlockId> table;
      if (!tables.empty()) {
        const std::vector<BlockId>& other = tables[random.below(tables.size())];
        const size_t whole = std::min(static_cast<size_t>(start / kKvBlockTokens), other.size());
        table.assign(other.begin(), other.begin() + static_cast<std::ptrdiff_t>(random.below(whole + 1)));
      }
      while (table.size() < blocks) table.push_back(next++);
      if (random.below(4) == 0) table.push_back(next++);  // room for later
      add_span(pass, start, n_tokens, table);
      tables.push_back(std::move(table));
    }
  }
  return pass;
}

const PassSpan& span_of(const Pass& pass, int32_t row) {
  return *std::find_if(pass.spans.begin(), pass.spans.end(),
                       [&](const PassSpan& span) { return row < span.first_token + span.n_tokens; });
}

TEST(PrefixGroups, EveryRowMeetsEachOfItsBlocksOnceAndInOrder) {
  PrefixGroups finder;  // reused, as a backend does
  for (uint64_t seed = 0; seed < 2000; ++seed) {
    const Pass pass = random_pass(seed);
    std::vector<int32_t> next(pass.tokens.size(), 0);
    for (const PrefixGroup& group : finder.find(pass)) {
      ASSERT_LT(group.first_row, group.last_row);
      ASSERT_LT(group.first_block, group.last_block);
      ASSERT_EQ(pass.spans[static_cast<size_t>(group.first_span)].first_token, group.first_row);
      ASSERT_EQ(pass.spans[static_cast<size_t>(group.first_span)].first_block, group.table);
      for (int32_t row = group.first_row; row < group.last_row; ++row) {
        const PassSpan& span = span_of(pass, row);
        ASSERT_EQ(next[static_cast<size_t>(row)], group.first_block) << "seed " << seed << ", row " << row;
        next[static_cast<size_t>(row)] = group.last_block;
        for (int32_t b = group.first_block; b < group.last_block; ++b) {
          ASSERT_EQ(pass.tables[static_cast<size_t>(group.table + b)],
                    pass.tables[static_cast<size_t>(span.first_block + b)]);
        }
        if (group.whole) {
          ASSERT_LE(group.last_block * kKvBlockTokens, span.start);
        } else {
          ASSERT_EQ(group.first_row, span.first_token);
          ASSERT_EQ(group.last_row, span.first_token + span.n_tokens);
        }
      }
    }
    for (size_t row = 0; row < next.size(); ++row) {
      const PassSpan& span = span_of(pass, static_cast<int32_t>(row));
      const int32_t end = span.start + span.n_tokens;
      ASSERT_EQ(next[row], (end + kKvBlockTokens - 1) / kKvBlockTokens) << "seed " << seed;
    }
  }
}

TEST(PrefixGroups, NeighboursShareAllTheyCan) {
  PrefixGroups finder;
  for (uint64_t seed = 0; seed < 2000; ++seed) {
    const Pass pass = random_pass(seed);
    // Nodes of the tree that neighbours' tables make: each span adds what it does not share with the one before.
    int64_t expected = 0;
    for (size_t i = 0; i < pass.spans.size(); ++i) {
      const PassSpan& span = pass.spans[i];
      int32_t shared = 0;
      if (i > 0) {
        const PassSpan& before = pass.spans[i - 1];
        const int32_t most = std::min(span.start, before.start) / kKvBlockTokens;
        while (shared < most && pass.tables[static_cast<size_t>(span.first_block + shared)] ==
                                    pass.tables[static_cast<size_t>(before.first_block + shared)]) {
          ++shared;
        }
      }
      expected += span.start / kKvBlockTokens - shared;
    }
    int64_t blocks = 0;
    for (const PrefixGroup& group : finder.find(pass)) blocks += group.whole ? group.last_block - group.first_block : 0;
    ASSERT_EQ(blocks, expected) << "seed " << seed;
  }
}

TEST(PrefixGroups, SiblingsReadTheirPrefixOnce) {
  Pass pass;
  for (BlockId i = 0; i < 3; ++i) add_span(pass, 40, 1, {7, 8, 10 + i});
  PrefixGroups finder;
  const std::vector<PrefixGroup>& groups = finder.find(pass);
  ASSERT_EQ(groups.size(), 4U);
  EXPECT_TRUE(groups[0].whole);
  EXPECT_EQ(groups[0].last_row, 3);
  EXPECT_EQ(groups[0].last_block, 2);
  EXPECT_FALSE(groups[1].whole);
}

}  // namespace
}  // namespace deepsearch
