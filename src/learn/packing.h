// Prefix packing: rows of one micro-batch laid out so that every token that several of them share, from their
// beginnings, is there once. Rows of a tree share what its nodes share; rows of a group at least their prompt;
// demonstrations of one problem the same. Pure: no LibTorch.
//
// A hidden state depends on the tokens before it only, so any rows with equal beginnings may share it, whatever tree
// they come from. What differs between them stays apart: each row keeps its own term of the loss for each of its
// response tokens. Terms of one token that agree in everything are joined, their weights added.
//
//   token    a place in the flat batch that the network computes
//   output   a token whose next-token distribution is wanted; at a branch point one output serves all children
//   target   an output and the token that follows it: one log-prob
//   term     what a row says of a target: advantage, behaviour log-prob, weight in the loss
#pragma once

#include <cstdint>
#include <vector>

#include "learn/network/segments.h"
#include "learn/params.h"
#include "learn/rows.h"

namespace deepsearch {

struct PackedRows {
  std::vector<Token> tokens;
  std::vector<int32_t> positions;  // in its text, from 0
  std::vector<Segment> segments;   // depth-first, parents before children
  int64_t width = 0;               // 0; or rows are padded to this many tokens, without segments (pad_rows)

  std::vector<int32_t> outputs;         // tokens, ascending
  std::vector<int32_t> target_outputs;  // by target: index into outputs, ascending
  std::vector<Token> target_tokens;

  std::vector<int32_t> term_targets;  // by term: target, ascending
  std::vector<float> advantages;
  std::vector<float> behaviour;
  std::vector<double> weights;  // sums of the rows' token weights
  std::vector<float> counts;    // rows' tokens a term stands for
  std::vector<int32_t> versions;

  // Where each row's response tokens went: terms of row r are row_terms[row_first[r]] … in order of its tokens.
  std::vector<int32_t> row_terms;
  std::vector<int64_t> row_first;  // rows + 1 entries

  int64_t row_tokens = 0;  // tokens of all rows, shared ones as often as rows hold them
};

// A row's weight: that of each of its tokens in the loss, before division by the minibatch's denominator.
struct WeightedRow {
  const Row* row = nullptr;
  double weight = 1;
  int32_t oldest_version = 0;  // tokens of older versions get weight and count 0
};

// Rows in any order; the result does not depend on it but for row_terms.
PackedRows pack_rows(const std::vector<WeightedRow>& rows);

// The plain layout, which packing is tested against: each row by itself, padded at its end to the longest; `positions`
// are those of one row.
PackedRows pad_rows(const std::vector<WeightedRow>& rows, Token pad);

// A piece of a minibatch that is computed at once: indices of rows, in lexicographic order of their tokens (ties by
// index), so that rows with common beginnings stand together.
struct Piece {
  std::vector<int32_t> rows;
  int64_t tokens = 0;  // unique ones (kTree), or rows × longest (kNone)
  double cost = 0;     // estimate of its time, in units of one token's products
};

// What a token's products and a query-key pair's attention cost beside each other, for estimates.
struct CostModel {
  double per_pair = 0;  // cost of one query-key pair over all layers, in units of a token's products
};

// All rows in pieces of at most `tokens` tokens (a longer row goes alone). Depends on the rows only, not on how many
// learner ranks share them.
std::vector<Piece> cut_into_pieces(const std::vector<Row>& rows, Packing packing, int64_t tokens,
                                   const CostModel& cost);

// The rank that computes each piece: longest first, each to the rank with the least so far. Deterministic.
std::vector<int> share_pieces(const std::vector<Piece>& pieces, int ranks);

}  // namespace deepsearch
