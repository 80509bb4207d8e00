// Pass: one trip through the decoder, as the scheduler hands it to a backend. Plain values in flat arrays that are
// reused from pass to pass, so a decode step allocates nothing once the largest pass was seen.
//
// Keys and values (KV) live in blocks of kKvBlockTokens tokens. A sequence's table names its blocks in order: position
// p is slot p % kKvBlockTokens of block table[p / kKvBlockTokens]. Sequences that continue one prefix name the same
// blocks for all of it that fills whole blocks.
#pragma once

#include <cstdint>
#include <vector>

#include "data/tokens.h"

namespace deepsearch {

constexpr int32_t kKvBlockTokens = 16;
using BlockId = int32_t;

// Consecutive tokens of one sequence: tokens[first_token … + n_tokens) at positions start, start + 1, …. Their KV is
// written into the table's blocks; they attend to everything before them through the table.
struct PassSpan {
  int32_t first_token = 0;  // in Pass::tokens; spans are listed in this order, without gaps
  int32_t n_tokens = 0;
  int32_t start = 0;
  int32_t first_block = 0;  // in Pass::tables
  int32_t n_blocks = 0;     // of the table: covers start + n_tokens positions
};

// A token to be drawn from the distribution after row `row`, or (forced ≥ 0) the values of a given one.
struct Draw {
  int32_t row = 0;  // in Pass::tokens; draws are listed by ascending row, several may share one
  Token forced = -1;
  float temperature = 1.0F;  // ≤ 0: the largest logit, the first of equals
  float top_p = 1.0F;
  int32_t top_k = 0;  // 0: no limit
  double u = 0;       // uniform in [0, 1), named by counter (core/rng.h)
};

// What a draw gives. Values are those of the full softmax, before top-p and top-k: at the draw's temperature (at 1 when
// it is ≤ 0), which is the distribution learning needs, and at temperature 1 (`raw_`). In nats.
struct SampledToken {
  Token token = 0;
  float logprob = 0;
  float entropy = 0;
  float raw_logprob = 0;
  float raw_entropy = 0;
};

// The first n_slots slots of one block copied to another, before anything else in the pass.
struct BlockCopy {
  BlockId from = 0;
  BlockId to = 0;
  int32_t n_slots = 0;
};

struct Pass {
  std::vector<Token> tokens;
  std::vector<PassSpan> spans;  // sequences of one tree stand together, those of one node next to each other
  std::vector<BlockId> tables;
  std::vector<BlockCopy> copies;
  std::vector<Draw> draws;

  void clear() {
    tokens.clear();
    spans.clear();
    tables.clear();
    copies.clear();
    draws.clear();
  }
};

}  // namespace deepsearch
