// Sequences over KV blocks, and passes of them, for tests of backends below the scheduler.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "core/rng.h"
#include "engine/backend.h"
#include "engine/reference_decoder.h"

namespace deepsearch::testing {

struct Sequence {
  std::vector<Token> tokens;
  std::vector<BlockId> table;
  int32_t cached = 0;  // positions whose KV is in the blocks
  uint64_t key = 0;    // of its random numbers
  BlockCopy copy;      // to be made in its next pass, when n_slots > 0
};

// Hands out blocks, never twice.
class BlockBook {
 public:
  Sequence sequence(const std::vector<Token>& tokens) {
    Sequence sequence{.tokens = tokens, .table = {}, .cached = 0, .key = ++keys_, .copy = {}};
    grow(sequence, tokens.size() + 32);
    return sequence;
  }
  // Goes on from a whole, cached sequence: shares its full blocks, copies the last one when that is not full.
  Sequence continued(const Sequence& parent, const std::vector<Token>& tokens) {
    Sequence sequence{.tokens = parent.tokens, .table = {}, .cached = parent.cached, .key = ++keys_, .copy = {}};
    const int32_t whole = parent.cached / kKvBlockTokens;
    sequence.table.assign(parent.table.begin(), parent.table.begin() + whole);
    sequence.tokens.insert(sequence.tokens.end(), tokens.begin(), tokens.end());
    grow(sequence, sequence.tokens.size() + 32);
    const int32_t rest = parent.cached % kKvBlockTokens;
    if (rest > 0) {
      const auto last = static_cast<size_t>(whole);
      sequence.copy = {.from = parent.table[last], .to = sequence.table[last], .n_slots = rest};
    }
    return sequence;
  }

 private:
  void grow(Sequence& sequence, size_t positions) {
    while (sequence.table.size() * kKvBlockTokens < positions) sequence.table.push_back(next_++);
  }
  BlockId next_ = 0;
  uint64_t keys_ = 0;
};

inline void add_span(Pass& pass, const Sequence& sequence, int32_t start, int32_t n_tokens) {
  pass.spans.push_back({.first_token = static_cast<int32_t>(pass.tokens.size()),
                        .n_tokens = n_tokens,
                        .start = start,
                        .first_block = static_cast<int32_t>(pass.tables.size()),
                        .n_blocks = static_cast<int32_t>(sequence.table.size())});
  const auto first = sequence.tokens.begin() + start;
  pass.tokens.insert(pass.tokens.end(), first, first + n_tokens);
  pass.tables.insert(pass.tables.end(), sequence.table.begin(), sequence.table.end());
}

// Computes the KV of all but the last token, `chunk` tokens a pass.
inline void prefill(Backend& backend, Sequence& sequence, int32_t chunk) {
  std::vector<SampledToken> drawn;
  Pass pass;
  while (sequence.cached < static_cast<int32_t>(sequence.tokens.size()) - 1) {
    const int32_t n = std::min(chunk, static_cast<int32_t>(sequence.tokens.size()) - 1 - sequence.cached);
    pass.clear();
    if (sequence.copy.n_slots > 0) pass.copies.push_back(std::exchange(sequence.copy, {}));
    add_span(pass, sequence, sequence.cached, n);
    backend.run(pass, drawn);
    sequence.cached += n;
  }
}

// Logits after every token, the tokens run in chunks of the given sizes, over and over.
inline std::vector<std::vector<float>> logits_by_chunks(Backend& backend, const Sequence& sequence,
                                                        const std::vector<int32_t>& chunks) {
  std::vector<std::vector<float>> logits;
  std::vector<SampledToken> drawn;
  Pass pass;
  const auto n = static_cast<int32_t>(sequence.tokens.size());
  int32_t start = 0;
  for (size_t c = 0; start < n; ++c) {
    const int32_t size = std::min(chunks[c % chunks.size()], n - start);
    pass.clear();
    add_span(pass, sequence, start, size);
    for (int32_t i = 0; i < size; ++i) pass.draws.push_back({.row = i});
    backend.run(pass, drawn);
    for (int32_t i = 0; i < size; ++i) logits.push_back(backend.logits_of_draw(static_cast<size_t>(i)));
    start += size;
  }
  return logits;
}

// Runs the tokens of each sequence that are not cached (`n` of them) and draws its next one, which it gets.
inline std::vector<SampledToken> decode_step(Backend& backend, std::vector<Sequence>& sequences, int32_t step,
                                             int32_t n = 1) {
  Pass pass;
  for (Sequence& sequence : sequences) {
    if (sequence.copy.n_slots > 0) pass.copies.push_back(std::exchange(sequence.copy, {}));
    const int32_t start = static_cast<int32_t>(sequence.tokens.size()) - n;
    add_span(pass, sequence, start, n);
    pass.draws.push_back({.row = static_cast<int32_t>(pass.tokens.size()) - 1,
                          .temperature = sequence.key % 3 == 0 ? 0.7F : 1.0F,
                          .top_p = sequence.key % 4 == 0 ? 0.9F : 1.0F,
                          .u = uniform_at(1, RngPurpose::kTests, sequence.key, static_cast<uint64_t>(step))});
  }
  std::vector<SampledToken> drawn;
  backend.run(pass, drawn);
  for (size_t i = 0; i < sequences.size(); ++i) {
    sequences[i].cached = static_cast<int32_t>(sequences[i].tokens.size());
    sequences[i].tokens.push_back(drawn[i].token);
  }
  return drawn;
}

inline bool same(const SampledToken& a, const SampledToken& b) {
  return a.token == b.token && a.logprob == b.logprob && a.entropy == b.entropy && a.raw_logprob == b.raw_logprob &&
         a.raw_entropy == b.raw_entropy;
}

}  // namespace deepsearch::testing
