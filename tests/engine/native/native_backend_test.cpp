// The native backend against a decoder in double precision, and against itself: the same bits however the work is cut.
#include "engine/native/native_backend.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>

#include <gtest/gtest.h>

#include "core/error.h"
#include "engine/native/native_fixture.h"

namespace deepsearch {
namespace {

using native::Kernels;
using native::WeightStorage;
using testing::BlockBook;
using testing::Sequence;

class NativeModels : public ::testing::TestWithParam<ModelConfig> {};

TEST_P(NativeModels, LogitsAgainstDoublesAndTheSameBitsFromEveryInstructionSet) {
  const ModelWeights weights = testing::lively_weights(GetParam(), 3);
  const std::vector<Token> prompt = testing::prompt_of(3, 70, GetParam());
  const auto reference = testing::ReferenceDecoder(weights).logits(prompt);
  std::vector<std::vector<float>> first;
  for (const Kernels* kernels : native::runnable_kernels()) {
    const auto backend = make_native_backend(GetParam(), 1, WeightStorage::kFp32, *kernels);
    backend->set_weights(weights);
    backend->reserve_blocks(8);
    BlockBook book;
    const auto logits = testing::logits_by_chunks(*backend, book.sequence(prompt), {70});
    for (size_t t = 0; t < prompt.size(); ++t) {
      ASSERT_EQ(logits[t].size(), reference[t].size());
      for (size_t i = 0; i < reference[t].size(); ++i) {
        // Logits of this size (up to 10 or so) after 70 positions: 2e-5 is typical of fp32 sums.
        ASSERT_NEAR(logits[t][i], reference[t][i], 1e-4) << kernels->name << ", position " << t;
      }
    }
    if (first.empty()) first = logits;
    EXPECT_EQ(logits, first) << kernels->name;
  }
}

TEST_P(NativeModels, APromptsBitsDoNotDependOnItsChunks) {
  const ModelWeights weights = testing::lively_weights(GetParam(), 4);
  const std::vector<Token> prompt = testing::prompt_of(1, 75, GetParam());
  for (const WeightStorage storage : {WeightStorage::kFp32, WeightStorage::kBf16, WeightStorage::kInt8}) {
    std::vector<std::vector<float>> first;
    for (const int64_t threads : {1, 2, 3, 4}) {
      if (threads > 1 && storage != WeightStorage::kFp32) continue;
      const auto backend = make_native_backend(GetParam(), threads, storage);
      backend->set_weights(weights);
      backend->reserve_blocks(64);
      BlockBook book;
      for (const std::vector<int32_t>& chunks :
           std::vector<std::vector<int32_t>>{{75}, {1}, {7}, {16}, {33}, {5, 64, 6}, {16, 59}}) {
        if (threads > 2 && chunks[0] < 16) continue;  // small steps of more threads than cores take long
        const auto logits = testing::logits_by_chunks(*backend, book.sequence(prompt), chunks);
        if (first.empty()) first = logits;
        ASSERT_EQ(logits, first) << threads << " threads, chunks of " << chunks[0];
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Models, NativeModels,
                         ::testing::Values(testing::small_config(), testing::odd_config(), testing::wide_config(),
                                           testing::family_config(true, false, false),
                                           testing::family_config(true, true, false),
                                           testing::family_config(false, false, true),
                                           testing::family_config(true, true, true),
                                           testing::stretched_config(RopeScaling::Kind::kLinear),
                                           testing::stretched_config(RopeScaling::Kind::kLlama3),
                                           testing::stretched_config(RopeScaling::Kind::kYarn)));

// 64 sequences of four trees with prefixes in common and ends of their own, decoded together, each against itself
// alone.
TEST(NativeBackend, ASequenceAloneAndInABatchOf64) {
  const ModelConfig config = testing::odd_config();
  const ModelWeights weights = testing::lively_weights(config, 6);
  for (const Kernels* kernels : native::runnable_kernels()) {
    for (const int64_t threads : {1, 3}) {
      const bool best = kernels == &native::best_kernels();
      if (threads > 1 && !best) continue;
      const auto backend = make_native_backend(config, threads, WeightStorage::kFp32, *kernels);
      const auto alone_backend = make_native_backend(config, 1, WeightStorage::kFp32, *kernels);
      for (const auto& b : {backend.get(), alone_backend.get()}) {
        b->set_weights(weights);
        b->reserve_blocks(1200);
      }
      BlockBook book;
      std::vector<Sequence> batch;
      std::vector<std::vector<SampledToken>> together(64);
      for (uint64_t tree = 0; tree < 4; ++tree) {
        Sequence root = book.sequence(testing::prompt_of(tree, 48, config));
        testing::prefill(*backend, root, 48);
        Sequence child = book.continued(root, testing::prompt_of(tree + 9, 37, config));
        testing::prefill(*backend, child, 37);
        for (uint64_t s = 0; s < 16; ++s) {
          // Odd ones continue the child, where they copy its last, partly filled block.
          const std::vector<Token> own = testing::prompt_of(tree * 16 + s, 3 + static_cast<int64_t>(s % 5), config);
          Sequence sequence = s % 2 == 0 ? book.continued(root, own) : book.continued(child, own);
          testing::prefill(*backend, sequence, 4);
          batch.push_back(std::move(sequence));
        }
      }
      constexpr int32_t kSteps = 20;
      for (int32_t step = 0; step < kSteps; ++step) {
        const std::vector<SampledToken> drawn = testing::decode_step(*backend, batch, step);
        for (size_t i = 0; i < batch.size(); ++i) together[i].push_back(drawn[i]);
      }
      const size_t stride = best ? 1 : 13;
      for (size_t i = 0; i < batch.size(); i += stride) {
        std::vector<Token> prompt = batch[i].tokens;
        prompt.resize(prompt.size() - kSteps);
        std::vector<Sequence> alone = {book.sequence(prompt)};
        alone[0].key = batch[i].key;
        testing::prefill(*alone_backend, alone[0], 11);
        for (int32_t step = 0; step < kSteps; ++step) {
          const SampledToken drawn = testing::decode_step(*alone_backend, alone, step)[0];
          ASSERT_TRUE(testing::same(drawn, together[i][static_cast<size_t>(step)]))
              << kernels->name << ", " << threads << " threads, sequence " << i << ", step " << step;
        }
      }
    }
  }
}

// Bit for bit the same whether a long prefix and its rows are one piece of attention or many.
TEST(NativeBackend, AGroupTooLargeForOneScratchIsSplit) {
  ModelConfig config = testing::small_config();
  config.max_positions = 4096;
  config.n_layers = 1;
  config.n_kv_heads = 1;
  const auto backend = make_native_backend(config, 1);
  backend->set_weights(testing::lively_weights(config, 7));
  backend->reserve_blocks(1024);
  BlockBook book;
  Sequence root = book.sequence(testing::prompt_of(1, 3000, config));
  testing::prefill(*backend, root, 700);
  std::vector<Sequence> batch;
  for (uint64_t i = 0; i < 40; ++i) batch.push_back(book.continued(root, testing::prompt_of(i, 2, config)));
  const std::vector<SampledToken> together = testing::decode_step(*backend, batch, 0, 2);
  for (size_t i = 0; i < batch.size(); i += 7) {
    std::vector<Sequence> alone = {book.continued(root, testing::prompt_of(i, 2, config))};
    alone[0].key = batch[i].key;
    EXPECT_TRUE(testing::same(testing::decode_step(*backend, alone, 0, 2)[0], together[i])) << i;
  }
}

TEST(NativeBackend, ReducedWeightsStayNearTheirOrigin) {
  for (const ModelConfig& config : {testing::small_config(), testing::odd_config()}) {
    const ModelWeights weights = testing::lively_weights(config, 3);
    const std::vector<Token> prompt = testing::prompt_of(3, 70, config);
    const auto reference = testing::ReferenceDecoder(weights).logits(prompt);
    double spread = 0;
    for (const auto& row : reference) {
      for (const double l : row) spread = std::max(spread, std::abs(l));
    }
    for (const auto& [storage, bound] :
         {std::pair{WeightStorage::kBf16, 0.03}, std::pair{WeightStorage::kInt8, 0.06}}) {
      const auto backend = make_native_backend(config, 1, storage);
      backend->set_weights(weights);
      backend->reserve_blocks(8);
      BlockBook book;
      const auto logits = testing::logits_by_chunks(*backend, book.sequence(prompt), {70});
      double worst = 0;
      for (size_t t = 0; t < prompt.size(); ++t) {
        for (size_t i = 0; i < logits[t].size(); ++i) {
          worst = std::max(worst, std::abs(static_cast<double>(logits[t][i]) - reference[t][i]));
        }
      }
      // Rounding of one in 256 (bf16), of the group's largest in 254 (int8), through two layers: parts of the spread.
      EXPECT_LT(worst, bound * spread) << name_of(storage);
      EXPECT_GT(worst, 1e-4 * spread) << name_of(storage) << ": are these weights reduced at all?";
    }
  }
}

TEST(NativeBackend, NewWeightsTakeThePlaceOfTheOld) {
  const ModelConfig config = testing::odd_config();
  const std::vector<Token> prompt = testing::prompt_of(3, 30, config);
  const auto fresh = make_native_backend(config, 1);
  const auto changed = make_native_backend(config, 1);
  changed->set_weights(testing::lively_weights(config, 1));
  fresh->set_weights(testing::lively_weights(config, 2));
  changed->set_weights(testing::lively_weights(config, 2));
  BlockBook book;
  const Sequence sequence = book.sequence(prompt);
  for (const auto& backend : {fresh.get(), changed.get()}) backend->reserve_blocks(4);
  EXPECT_EQ(testing::logits_by_chunks(*fresh, sequence, {30}), testing::logits_by_chunks(*changed, sequence, {30}));
  ModelConfig other = config;
  other.n_layers = 1;
  EXPECT_THROW(changed->set_weights(testing::lively_weights(other, 1)), Error);
}

TEST(NativeBackend, TwoDrawsOfOneRow) {
  const ModelConfig config = testing::small_config();
  const auto backend = make_native_backend(config, 1);
  backend->set_weights(testing::lively_weights(config, 1));
  backend->reserve_blocks(4);
  BlockBook book;
  Pass pass;
  testing::add_span(pass, book.sequence(testing::prompt_of(1, 20, config)), 0, 20);
  for (const double u : {0.1, 0.9}) pass.draws.push_back({.row = 19, .u = u});
  pass.draws.push_back({.row = 19, .forced = 5, .temperature = 0.5F});
  std::vector<SampledToken> drawn;
  backend->run(pass, drawn);
  ASSERT_EQ(drawn.size(), 3U);
  EXPECT_EQ(backend->logits_of_draw(0), backend->logits_of_draw(2));
  EXPECT_EQ(drawn[2].token, 5);
  EXPECT_EQ(drawn[0].raw_entropy, drawn[2].raw_entropy);
  EXPECT_NE(drawn[0].entropy, drawn[2].entropy);
  const std::vector<float> logits = backend->logits_of_draw(1);
  const testing::Distribution d = testing::softmax({logits.begin(), logits.end()});
  EXPECT_NEAR(drawn[1].logprob, std::log(d.probabilities[static_cast<size_t>(drawn[1].token)]), 3e-6);
}

TEST(NativeBackend, DamagedWeightsAreReported) {
  const ModelConfig config = testing::small_config();
  ModelWeights weights = testing::lively_weights(config, 1);
  weights.tensors[5].values[3] = std::numeric_limits<float>::infinity();
  for (const WeightStorage storage : {WeightStorage::kFp32, WeightStorage::kBf16, WeightStorage::kInt8}) {
    const auto backend = make_native_backend(config, 2, storage);
    backend->set_weights(weights);
    backend->reserve_blocks(4);
    BlockBook book;
    Pass pass;
    testing::add_span(pass, book.sequence(testing::prompt_of(1, 4, config)), 0, 4);
    pass.draws.push_back({.row = 3});
    std::vector<SampledToken> drawn;
    EXPECT_THROW(backend->run(pass, drawn), Error);
    backend->set_weights(testing::lively_weights(config, 1));  // and mended
    EXPECT_NO_THROW(backend->run(pass, drawn));
  }
}

TEST(NativeBackend, MalformedPassesAreRefused) {
  const ModelConfig config = testing::small_config();
  const auto backend = make_native_backend(config, 1);
  std::vector<SampledToken> drawn;
  BlockBook book;
  Pass good;
  testing::add_span(good, book.sequence(testing::prompt_of(1, 20, config)), 0, 20);
  good.draws.push_back({.row = 19});
  EXPECT_THROW(backend->run(good, drawn), Error);  // no weights
  backend->set_weights(testing::lively_weights(config, 1));
  EXPECT_THROW(backend->run(good, drawn), Error);  // no blocks
  EXPECT_THROW(backend->reserve_blocks(0), Error);
  backend->reserve_blocks(4);
  EXPECT_THROW(backend->reserve_blocks(4), Error);
  EXPECT_NO_THROW(backend->run(good, drawn));
  const std::vector<void (*)(Pass&)> damage = {
      [](Pass& p) { p.tokens[3] = 23; },
      [](Pass& p) { p.tokens[3] = -1; },
      [](Pass& p) { p.tokens.push_back(1); },
      [](Pass& p) { p.spans[0].n_tokens = 19; },
      [](Pass& p) { p.spans[0].first_token = 1; },
      [](Pass& p) { p.spans[0].start = 1000; },
      [](Pass& p) { p.spans[0].start = -1; },
      [](Pass& p) { p.spans[0].n_blocks = 1; },
      [](Pass& p) { p.spans[0].n_blocks = 9; },
      [](Pass& p) { p.spans[0].first_block = -1; },
      [](Pass& p) { p.tables[1] = 4; },
      [](Pass& p) { p.tables[1] = -1; },
      [](Pass& p) { p.draws[0].row = 20; },
      [](Pass& p) { p.draws[0].row = -1; },
      [](Pass& p) { p.draws[0].forced = 23; },
      [](Pass& p) { p.draws.push_back({.row = 2}); },
      [](Pass& p) { p.copies.push_back({.from = 0, .to = 4, .n_slots = 1}); },
      [](Pass& p) { p.copies.push_back({.from = -1, .to = 1, .n_slots = 1}); },
      [](Pass& p) { p.copies.push_back({.from = 0, .to = 1, .n_slots = 17}); },
  };
  for (size_t i = 0; i < damage.size(); ++i) {
    Pass bad = good;
    damage[i](bad);
    EXPECT_THROW(backend->run(bad, drawn), Error) << "damage " << i;
  }
}

TEST(NativeBackend, AModelLargerThanMemoryIsRefusedBeforeItsWeightsCome) {
  ModelConfig config = testing::small_config();
  config.hidden_size = config.intermediate_size = 65536;
  config.n_layers = 1000;
  try {
    make_native_backend(config, 1);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), kExitBadInput);
    EXPECT_NE(std::string(error.what()).find("the engine's weights need"), std::string::npos) << error.what();
  }
}

TEST(NativeBackend, MemoryIsStated) {
  const ModelConfig config = testing::wide_config();
  const auto backend = make_native_backend(config, 1);
  // Keys 2 layers · 1 head · 40 · 16 floats, values padded to 48.
  EXPECT_EQ(backend->block_bytes(), 2 * (40 + 48) * 16 * 4);
  EXPECT_GT(backend->memory_for_blocks(), 0);
  EXPECT_EQ(make_native_backend(config, 2, WeightStorage::kInt8)->description().find("native CPU, 2 threads, "), 0U);
  EXPECT_EQ(weight_storage_of("bf16"), WeightStorage::kBf16);
  EXPECT_THROW(weight_storage_of("int4"), Error);
  // Only what is written is touched: more blocks than any machine has memory for can be named.
  EXPECT_NO_THROW(backend->reserve_blocks((int64_t{1} << 40) / backend->block_bytes()));
}

}  // namespace
}  // namespace deepsearch
