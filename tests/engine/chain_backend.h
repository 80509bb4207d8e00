// A backend without a model that notices every mistake in KV bookkeeping. The "KV" of a token is a hash of its whole
// prefix; before a row is run, every slot it attends to is checked to continue the slot before it. What is drawn is a
// function of the prefix hash and u, so a test can say what each expansion must be.
#pragma once

#include <algorithm>
#include <memory>
#include <numeric>
#include <vector>

#include <gtest/gtest.h>

#include "core/error.h"
#include "core/rng.h"
#include "engine/backend.h"

namespace deepsearch::testing {

inline uint64_t chain(uint64_t before, Token token, uint64_t weights) {
  return mix_all(before, token, weights);
}

inline SampledToken chain_draw(uint64_t prefix, const Draw& draw, int64_t vocab) {
  const auto bucket = static_cast<uint64_t>(draw.u * 4);  // few different children, so that duplicates occur
  SampledToken drawn;
  drawn.token =
      draw.forced >= 0 ? draw.forced : static_cast<Token>(mix_all(prefix, bucket) % static_cast<uint64_t>(vocab));
  const auto value = [&](uint64_t what) {
    return -static_cast<float>(mix_all(prefix, drawn.token, what) % 1000) / 100.0F;
  };
  drawn.logprob = value(1);
  drawn.entropy = -value(2);
  drawn.raw_logprob = value(3);
  drawn.raw_entropy = -value(4);
  return drawn;
}

class ChainBackend : public Backend {
 public:
  explicit ChainBackend(int64_t vocab) : vocab_(vocab) {}

  // The "weights" are the model's rms_norm_eps, say: anything that tells two versions apart.
  void set_weights(const WeightSource& weights) override {
    weights_ = std::hash<double>()(weights.model_config().rope_theta);
  }
  int64_t block_bytes() const override { return 1000; }
  int64_t memory_for_blocks() const override { return 1 << 30; }
  void release_blocks() override { slots_.clear(); }
  void reserve_blocks(int64_t n) override { slots_.assign(static_cast<size_t>(n * kKvBlockTokens), {}); }

  void run(const Pass& pass, std::vector<SampledToken>& drawn) override {
    for (const BlockCopy& copy : pass.copies) {
      ASSERT_LE(copy.n_slots, kKvBlockTokens);
      std::copy_n(&slots_.at(at(copy.from, 0)), copy.n_slots, &slots_.at(at(copy.to, 0)));
    }
    std::vector<uint64_t> prefix(pass.tokens.size());
    std::vector<size_t> order(pass.spans.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(),
                     [&](size_t a, size_t b) { return pass.spans[a].start < pass.spans[b].start; });
    for (const size_t index : order) run_span(pass, pass.spans[index], prefix);
    drawn.clear();
    int32_t last_row = 0;
    for (const Draw& draw : pass.draws) {
      EXPECT_GE(draw.row, last_row) << "draws are listed by row";
      last_row = draw.row;
      drawn.push_back(chain_draw(prefix.at(static_cast<size_t>(draw.row)), draw, vocab_));
    }
    rows_ += static_cast<int64_t>(pass.tokens.size());
    most_rows_ = std::max(most_rows_, static_cast<int64_t>(pass.tokens.size()));
  }
  std::vector<float> logits_of_draw(size_t) const override { return {}; }
  std::string description() const override { return "chain"; }

  bool keep_old = false;  // [engine].on_update = "keep": slots of older weights are fine
  int64_t rows() const { return rows_; }
  int64_t most_rows() const { return most_rows_; }
  uint64_t weights() const { return weights_; }

 private:
  struct Slot {
    uint64_t prefix = 0;
    uint64_t before = 0;
    uint64_t weights = 0;
    int32_t position = -1;
  };
  static size_t at(BlockId block, int32_t slot) { return static_cast<size_t>(block * kKvBlockTokens + slot); }

  void run_span(const Pass& pass, const PassSpan& span, std::vector<uint64_t>& prefix) {
    ASSERT_GE(span.n_blocks * kKvBlockTokens, span.start + span.n_tokens);
    const auto slot = [&](int32_t position) -> Slot& {
      const BlockId block = pass.tables.at(static_cast<size_t>(span.first_block + position / kKvBlockTokens));
      return slots_.at(at(block, position % kKvBlockTokens));
    };
    uint64_t before = 0;
    for (int32_t p = 0; p < span.start; ++p) {
      ASSERT_EQ(slot(p).position, p) << "a slot that was never written, or for another position";
      ASSERT_EQ(slot(p).before, before) << "a slot of another prefix";
      if (!keep_old) {
        ASSERT_EQ(slot(p).weights, weights_) << "KV of other weights";
      }
      before = slot(p).prefix;
    }
    for (int32_t i = 0; i < span.n_tokens; ++i) {
      const auto row = static_cast<size_t>(span.first_token + i);
      prefix.at(row) = chain(before, pass.tokens.at(row), keep_old ? 0 : weights_);
      slot(span.start + i) = {.prefix = prefix[row], .before = before, .weights = weights_, .position = span.start + i};
      before = prefix[row];
    }
  }

  int64_t vocab_;
  uint64_t weights_ = 0;
  std::vector<Slot> slots_;
  int64_t rows_ = 0;
  int64_t most_rows_ = 0;
};

}  // namespace deepsearch::testing
