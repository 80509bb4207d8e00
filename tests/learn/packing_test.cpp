#include "learn/packing.h"

#include <cmath>
#include <limits>
#include <map>
#include <set>

#include <gtest/gtest.h>

#include "learn/sample_rows.h"

namespace deepsearch {
namespace {

std::vector<WeightedRow> weighted(const std::vector<Row>& rows) {
  std::vector<WeightedRow> result;
  for (size_t r = 0; r < rows.size(); ++r) result.push_back({&rows[r], 1.0 + 0.25 * static_cast<double>(r), 0});
  return result;
}

// The text up to and with a token, by the segments alone.
std::vector<Token> text_of(const PackedRows& packed, int32_t place) {
  std::vector<Token> backwards;
  size_t segment = 0;
  while (packed.segments[segment].first + packed.segments[segment].count <= place) ++segment;
  int32_t last = place;
  for (auto s = static_cast<int32_t>(segment); s >= 0; s = packed.segments[static_cast<size_t>(s)].parent) {
    const Segment& current = packed.segments[static_cast<size_t>(s)];
    if (s != static_cast<int32_t>(segment)) last = current.first + current.count - 1;
    for (int32_t t = last; t >= current.first; --t) backwards.push_back(packed.tokens[static_cast<size_t>(t)]);
  }
  return {backwards.rbegin(), backwards.rend()};
}

size_t distinct_prefixes(const std::vector<Row>& rows) {
  std::set<std::vector<Token>> prefixes;
  for (const Row& row : rows) {
    for (size_t n = 1; n <= row.tokens.size(); ++n)
      prefixes.insert({row.tokens.begin(), row.tokens.begin() + static_cast<std::ptrdiff_t>(n)});
  }
  return prefixes.size();
}

void expect_whole(const std::vector<Row>& rows, const PackedRows& packed) {
  ASSERT_EQ(packed.tokens.size(), packed.positions.size());
  int32_t next = 0;
  for (size_t s = 0; s < packed.segments.size(); ++s) {
    const Segment& segment = packed.segments[s];
    EXPECT_EQ(segment.first, next);
    EXPECT_GE(segment.count, 1);
    EXPECT_LT(segment.parent, static_cast<int32_t>(s));
    next += segment.count;
  }
  EXPECT_EQ(next, static_cast<int32_t>(packed.tokens.size()));
  EXPECT_TRUE(std::is_sorted(packed.outputs.begin(), packed.outputs.end()));
  EXPECT_TRUE(std::is_sorted(packed.target_outputs.begin(), packed.target_outputs.end()));
  EXPECT_TRUE(std::is_sorted(packed.term_targets.begin(), packed.term_targets.end()));
  for (size_t r = 0; r < rows.size(); ++r) {
    const Row& row = rows[r];
    ASSERT_EQ(packed.row_first[r + 1] - packed.row_first[r], row.n_response());
    for (int64_t j = 0; j < row.n_response(); ++j) {
      const auto term = static_cast<size_t>(packed.row_terms[static_cast<size_t>(packed.row_first[r] + j)]);
      const auto target = static_cast<size_t>(packed.term_targets[term]);
      const int32_t output = packed.outputs[static_cast<size_t>(packed.target_outputs[target])];
      const auto end = row.tokens.begin() + static_cast<std::ptrdiff_t>(row.n_prompt + j);
      EXPECT_EQ(text_of(packed, output), std::vector<Token>(row.tokens.begin(), end));
      EXPECT_EQ(packed.positions[static_cast<size_t>(output)], row.n_prompt + j - 1);
      EXPECT_EQ(packed.target_tokens[target], *end);
      EXPECT_EQ(packed.advantages[term], row.advantages[static_cast<size_t>(j)]);
      EXPECT_EQ(packed.behaviour[term], row.behaviour[static_cast<size_t>(j)]);
    }
  }
}

// The sum of the weights, by what a term stands for.
std::map<std::vector<float>, double> weights_by_meaning(const PackedRows& packed) {
  std::map<std::vector<float>, double> sums;
  for (size_t t = 0; t < packed.weights.size(); ++t) {
    sums[{static_cast<float>(packed.term_targets[t]), packed.advantages[t], packed.behaviour[t]}] += packed.weights[t];
  }
  return sums;
}

TEST(Packing, HoldsEveryPrefixOnceAndEveryRowsTerms) {
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    const std::vector<Row> rows = sample_tree_rows(static_cast<int>(1 + seed % 12), seed);
    const PackedRows packed = pack_rows(weighted(rows));
    EXPECT_EQ(packed.tokens.size(), distinct_prefixes(rows)) << seed;
    expect_whole(rows, packed);
    double weights = 0;
    double counts = 0;
    double expected_weights = 0;
    double expected_counts = 0;
    for (const double w : packed.weights) weights += w;
    for (const float c : packed.counts) counts += c;
    for (size_t r = 0; r < rows.size(); ++r) {
      expected_weights += (1.0 + 0.25 * static_cast<double>(r)) * static_cast<double>(rows[r].n_response());
      expected_counts += static_cast<double>(rows[r].n_response());
    }
    EXPECT_NEAR(weights, expected_weights, 1e-9);
    EXPECT_EQ(counts, expected_counts);
  }
}

TEST(Packing, DoesNotDependOnTheOrderOfTheRows) {
  const std::vector<Row> rows = sample_tree_rows(9, 5);
  std::vector<WeightedRow> order = weighted(rows);
  const PackedRows one = pack_rows(order);
  std::reverse(order.begin(), order.end());
  const PackedRows other = pack_rows(order);
  EXPECT_EQ(one.tokens, other.tokens);
  EXPECT_EQ(one.outputs, other.outputs);
  EXPECT_EQ(one.target_tokens, other.target_tokens);
  EXPECT_EQ(one.weights, other.weights);
  EXPECT_EQ(weights_by_meaning(one), weights_by_meaning(other));
}

TEST(Packing, ABranchPointHasOneOutputForAllItsChildren) {
  std::vector<Row> rows(3);
  for (size_t r = 0; r < 3; ++r) {
    rows[r].tokens = {7, 8, static_cast<Token>(r)};
    rows[r].n_prompt = 2;
    rows[r].advantages = {1};
    rows[r].behaviour = {-1};
  }
  const PackedRows packed = pack_rows(weighted(rows));
  EXPECT_EQ(packed.outputs, (std::vector<int32_t>{1}));
  EXPECT_EQ(packed.target_tokens, (std::vector<Token>{0, 1, 2}));
}

TEST(Packing, JoinsEqualTermsAndKeepsDifferentOnesApart) {
  std::vector<Row> rows(3);
  for (Row& row : rows) {
    row.tokens = {7, 8, 9};
    row.n_prompt = 1;
    row.advantages = {1, 1};
    row.behaviour = {-1, -2};
  }
  rows[2].advantages = {1, -1};
  const PackedRows packed = pack_rows(weighted(rows));
  EXPECT_EQ(packed.tokens.size(), 3U);
  EXPECT_EQ(packed.target_tokens.size(), 2U);
  EXPECT_EQ(packed.advantages, (std::vector<float>{1, -1, 1}));  // the last token's two, by their bits
  EXPECT_EQ(packed.counts, (std::vector<float>{3, 1, 2}));
}

TEST(Packing, TokensOfTooOldVersionsWeighNothing) {
  std::vector<Row> rows = sample_rows(1, 1);
  rows[0].versions.assign(static_cast<size_t>(rows[0].n_response()), 3);
  rows[0].versions[0] = 1;
  const PackedRows packed = pack_rows({{rows.data(), 1.0, 2}});
  EXPECT_EQ(packed.weights[0], 0);
  EXPECT_EQ(packed.counts[0], 0);
  for (size_t t = 1; t < packed.weights.size(); ++t) EXPECT_EQ(packed.weights[t], 1);
}

TEST(Packing, NumbersThatAreNoneStayTermsOfTheirOwn) {
  std::vector<Row> rows = sample_tree_rows(6, 2);
  for (Row& row : rows) row.advantages.back() = std::numeric_limits<float>::quiet_NaN();
  const PackedRows packed = pack_rows(weighted(rows));
  for (size_t r = 0; r < rows.size(); ++r) {
    const auto last = static_cast<size_t>(packed.row_first[r + 1]) - 1;
    EXPECT_TRUE(std::isnan(packed.advantages[static_cast<size_t>(packed.row_terms[last])]));
  }
}

TEST(Packing, PaddedRowsAreTheSameTermsWithoutSharing) {
  const std::vector<Row> rows = sample_tree_rows(7, 3);
  const PackedRows padded = pad_rows(weighted(rows), 0);
  EXPECT_EQ(padded.tokens.size(), rows.size() * static_cast<size_t>(padded.width));
  size_t responses = 0;
  for (const Row& row : rows) responses += static_cast<size_t>(row.n_response());
  EXPECT_EQ(padded.weights.size(), responses);
  for (size_t r = 0; r < rows.size(); ++r) {
    for (int64_t j = 0; j < rows[r].n_response(); ++j) {
      const auto term = static_cast<size_t>(padded.row_terms[static_cast<size_t>(padded.row_first[r] + j)]);
      EXPECT_EQ(padded.advantages[term], rows[r].advantages[static_cast<size_t>(j)]);
      EXPECT_EQ(padded.target_tokens[static_cast<size_t>(padded.term_targets[term])],
                rows[r].tokens[static_cast<size_t>(rows[r].n_prompt + j)]);
    }
  }
}

TEST(Packing, NothingIsPackedFromNothing) {
  EXPECT_TRUE(pack_rows({}).tokens.empty());
  EXPECT_TRUE(pad_rows({}, 0).tokens.empty());
  EXPECT_TRUE(cut_into_pieces({}, Packing::kTree, 100, {}).empty());
}

TEST(Pieces, HoldEveryRowOnceWithinTheLimit) {
  for (const Packing packing : {Packing::kTree, Packing::kNone}) {
    const std::vector<Row> rows = sample_tree_rows(37, 3);
    for (const int64_t limit : {1, 30, 64, 100000}) {
      std::vector<int> seen(rows.size());
      for (const Piece& piece : cut_into_pieces(rows, packing, limit, {})) {
        ASSERT_FALSE(piece.rows.empty());
        std::vector<WeightedRow> chosen;
        for (const int32_t row : piece.rows) {
          ++seen[static_cast<size_t>(row)];
          chosen.push_back({&rows[static_cast<size_t>(row)], 1, 0});
        }
        const PackedRows packed = packing == Packing::kTree ? pack_rows(chosen) : pad_rows(chosen, 0);
        EXPECT_EQ(static_cast<int64_t>(packed.tokens.size()), piece.tokens);
        if (piece.rows.size() > 1) {
          EXPECT_LE(piece.tokens, limit);
        }
      }
      EXPECT_EQ(seen, std::vector<int>(rows.size(), 1));
    }
  }
}

TEST(Pieces, CostCountsPairsOfQueriesAndKeys) {
  std::vector<Row> rows(2);
  for (Row& row : rows) {
    row.tokens = {1, 2, 3, 4};
    row.n_prompt = 1;
  }
  rows[1].tokens[3] = 5;
  const std::vector<Piece> pieces = cut_into_pieces(rows, Packing::kTree, 100, {.per_pair = 0.5});
  ASSERT_EQ(pieces.size(), 1U);
  EXPECT_DOUBLE_EQ(pieces[0].cost, 5 + 0.5 * (1 + 2 + 3 + 4 + 4));
}

TEST(Pieces, AreSharedOutEvenlyByCost) {
  std::vector<Piece> pieces(13);
  for (size_t i = 0; i < pieces.size(); ++i) pieces[i].cost = static_cast<double>(1 + i % 5);
  for (const int ranks : {1, 2, 4}) {
    const std::vector<int> owner = share_pieces(pieces, ranks);
    std::vector<double> load(static_cast<size_t>(ranks));
    for (size_t i = 0; i < pieces.size(); ++i) load[static_cast<size_t>(owner[i])] += pieces[i].cost;
    const auto [least, most] = std::minmax_element(load.begin(), load.end());
    EXPECT_LE(*most - *least, 2) << ranks;
  }
}

}  // namespace
}  // namespace deepsearch
