// The scheduler and the KV cache over a backend that checks every slot it is shown: random forests under every kind of
// pressure give what the definition gives, and nothing is computed twice without need.
#include "engine/batch_engine.h"

#include <map>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "engine/chain_backend.h"

namespace deepsearch {
namespace {

using testing::chain;
using testing::chain_draw;
using testing::ChainBackend;

constexpr uint64_t kSeed = 9;

ModelConfig chain_config(double version = 1.0) {
  ModelConfig config;
  config.vocab_size = 40;
  config.max_positions = 4096;
  config.eos_tokens = {7, 8};
  config.rope_theta = version;
  return config;
}

struct Options {
  int64_t blocks = 100000;
  bool eos = true;
  EngineParams params = {.max_batch = 256};
};

struct Bench {
  ChainBackend* backend = nullptr;
  std::unique_ptr<BatchEngine> engine;
};

Bench make(const Options& options, double version = 1.0) {
  auto backend = std::make_unique<ChainBackend>(chain_config().vocab_size);
  Bench bench;
  bench.backend = backend.get();
  bench.backend->keep_old = options.params.on_update == "keep";
  ModelConfig config = chain_config();
  if (!options.eos) config.eos_tokens.clear();
  bench.engine = std::make_unique<BatchEngine>(options.params, config, kSeed, 0, options.blocks, std::move(backend));
  bench.engine->set_weights(ModelWeights(chain_config(version), {}), 1);
  return bench;
}

// What a child must be, by the definition alone.
Step expected_step(const ExpansionRequest& request, int32_t child, uint64_t weights, bool eos) {
  uint64_t prefix = 0;
  for (const Token token : request.prefix) prefix = chain(prefix, token, weights);
  Step step;
  while (static_cast<int32_t>(step.tokens.size()) < request.max_tokens) {
    const uint64_t key = mix_all(request.sampling_key, child, 0);
    const Draw draw{.u = uniform_at(kSeed, RngPurpose::kSampling, key, step.tokens.size())};
    const SampledToken drawn = chain_draw(prefix, draw, chain_config().vocab_size);
    step.tokens.push_back(drawn.token);
    step.logprobs.push_back(drawn.logprob);
    step.entropies.push_back(drawn.entropy);
    prefix = chain(prefix, drawn.token, weights);
    if (eos && (drawn.token == 7 || drawn.token == 8)) {
      step.finish = Finish::kEos;
      break;
    }
  }
  return step;
}

// A tree that asks for random nodes' children, and knows what they must be.
class Grower {
 public:
  Grower(uint64_t handle, int64_t prompt, int32_t step_tokens, int32_t width, int64_t expansions)
      : handle_(handle),
        step_tokens_(step_tokens),
        width_(width),
        left_(expansions),
        random_(kSeed, RngPurpose::kTests, handle) {
    Node root;
    for (int64_t i = 0; i < prompt; ++i) root.text.push_back(static_cast<Token>(random_.below(40)));
    root.path = {{.node = 0, .n_tokens = static_cast<int32_t>(prompt)}};
    nodes_.push_back(root);
  }

  bool next(ExpansionRequest& request) {
    if (left_ == 0 || open_.empty()) return false;
    --left_;
    const size_t pick = random_.below(open_.size());
    const int32_t id = open_[pick];
    if (random_.below(3) > 0) open_.erase(open_.begin() + static_cast<std::ptrdiff_t>(pick));  // else it may come again
    const Node& node = nodes_[static_cast<size_t>(id)];
    request = {};
    request.tree = handle_;
    request.node = id;
    request.path = node.path;
    request.prefix = node.text;
    request.n_children = 1 + static_cast<int32_t>(random_.below(static_cast<uint64_t>(width_)));
    request.first_child = static_cast<int32_t>(nodes_.size());
    request.max_tokens = 1 + static_cast<int32_t>(random_.below(static_cast<uint64_t>(step_tokens_)));
    request.sampling_key = mix_all(handle_, id, left_);
    for (int32_t i = 0; i < request.n_children; ++i) nodes_.emplace_back();
    return true;
  }

  void apply(const ExpansionRequest& request, const Expansion& expansion) {
    for (size_t i = 0; i < expansion.children.size(); ++i) {
      const Step& step = expansion.children[i];
      if (step.ended()) continue;
      const int32_t id = request.first_child + static_cast<int32_t>(i);
      Node& node = nodes_[static_cast<size_t>(id)];
      node.text = request.prefix;
      node.text.insert(node.text.end(), step.tokens.begin(), step.tokens.end());
      node.path = request.path;
      node.path.push_back({.node = id, .n_tokens = static_cast<int32_t>(step.tokens.size())});
      open_.push_back(id);
    }
  }

 private:
  struct Node {
    std::vector<Token> text;
    std::vector<PathSegment> path;
  };
  uint64_t handle_;
  int32_t step_tokens_;
  int32_t width_;
  int64_t left_;
  RandomStream random_;
  std::vector<Node> nodes_;
  std::vector<int32_t> open_ = {0};
};

struct Forest {
  int64_t trees = 12;
  int64_t prompt = 37;
  int32_t step_tokens = 11;
  int32_t width = 5;
  int64_t expansions = 25;
  int64_t new_weights_every = 0;  // polls
};

// Grows the forest and checks every child; returns the engine's counters.
EngineCounters grow(const Options& options, const Forest& forest) {
  Bench bench = make(options);
  std::map<uint64_t, Grower> growers;
  std::map<uint64_t, ExpansionRequest> open;
  const auto advance = [&](uint64_t tree) {
    ExpansionRequest request;
    if (growers.at(tree).next(request)) {
      open[tree] = request;
      bench.engine->submit(request);
    } else {
      bench.engine->release(tree);
    }
  };
  for (uint64_t tree = 1; tree <= static_cast<uint64_t>(forest.trees); ++tree) {
    growers.emplace(tree, Grower(tree, forest.prompt + static_cast<int64_t>(tree % 5), forest.step_tokens, forest.width,
                                 forest.expansions));
    advance(tree);
  }
  std::vector<Expansion> finished;
  int64_t polls = 0;
  while (bench.engine->in_flight() > 0) {
    finished.clear();
    bench.engine->poll(finished);
    ++polls;
    if (::testing::Test::HasFatalFailure() || ::testing::Test::HasFailure()) return {};
    const bool updates = forest.new_weights_every > 0;
    if (updates && polls % forest.new_weights_every == 0) {
      // The same values under a new version, so that the children stay what they must be.
      bench.engine->set_weights(ModelWeights(chain_config(), {}), 1 + polls / forest.new_weights_every);
    }
    for (const Expansion& expansion : finished) {
      const ExpansionRequest request = open.at(expansion.tree);
      const uint64_t weights = bench.backend->keep_old ? 0 : bench.backend->weights();
      EXPECT_EQ(expansion.children.size(), static_cast<size_t>(request.n_children));
      for (int32_t i = 0; i < request.n_children; ++i) {
        const Step want = expected_step(request, i, weights, options.eos);
        const Step& have = expansion.children.at(static_cast<size_t>(i));
        EXPECT_EQ(have.tokens, want.tokens);
        EXPECT_EQ(have.logprobs, want.logprobs);
        EXPECT_EQ(have.entropies, want.entropies);
        EXPECT_EQ(have.finish, want.finish);
      }
      growers.at(expansion.tree).apply(request, expansion);
      advance(expansion.tree);
    }
  }
  EXPECT_EQ(bench.engine->counters().kv_bytes, 0) << "every block came back";
  return bench.engine->counters();
}

TEST(BatchEngine, AForestWithRoomIsComputedOnce) {
  const EngineCounters counters = grow({}, {});
  EXPECT_EQ(counters.nodes_evicted, 0);
  EXPECT_EQ(counters.sequences_preempted, 0);
  EXPECT_GT(counters.tokens_generated, 1000);
  // Only nodes that are expanded a second time have their last token run again.
  EXPECT_LT(counters.tokens_recomputed, 12 * 25);
  EXPECT_LT(static_cast<double>(counters.tokens_recomputed), 0.01 * static_cast<double>(counters.prefix_tokens));
}

class UnderPressure : public ::testing::TestWithParam<std::tuple<int64_t, int64_t, int64_t>> {};

TEST_P(UnderPressure, TheSameChildren) {
  const auto [blocks, batch, chunk] = GetParam();
  Options options{.blocks = blocks};
  options.params.max_batch = batch;
  options.params.prefill_chunk = chunk;
  const EngineCounters counters = grow(options, {});
  EXPECT_LE(counters.kv_bytes_peak, blocks * 1000);
  if (blocks <= 60) {
    EXPECT_GT(counters.nodes_evicted, 0);
    EXPECT_GT(counters.tokens_recomputed, 0);
  }
}

// 24 blocks: hardly more than one path; 100,000: no pressure.
INSTANTIATE_TEST_SUITE_P(Sizes, UnderPressure,
                         ::testing::Combine(::testing::Values(80, 120, 300, 100000), ::testing::Values(1, 3, 64, 256),
                                            ::testing::Values(16, 33, 512)));

TEST(BatchEngine, NoPressureStopsIt) {
  RandomStream random(kSeed, RngPurpose::kTests, 77);
  int64_t preempted = 0;
  for (int i = 0; i < 60; ++i) {
    Forest forest;
    forest.trees = 1 + static_cast<int64_t>(random.below(20));
    forest.prompt = 1 + static_cast<int64_t>(random.below(60));
    forest.step_tokens = 1 + static_cast<int32_t>(random.below(i % 2 == 0 ? 12 : 100));
    forest.width = 1 + static_cast<int32_t>(random.below(9));
    forest.expansions = 1 + static_cast<int64_t>(random.below(8));
    forest.new_weights_every = random.below(4) == 0 ? 60 + static_cast<int64_t>(random.below(60)) : 0;
    // What one path of that many expansions needs at most, and a little more: the tightest that is not refused.
    const int64_t one_path =
        (forest.prompt + 5 + forest.expansions * forest.step_tokens) / kKvBlockTokens + 1 + 2 * (forest.expansions + 1);
    Options options{.blocks = one_path + static_cast<int64_t>(random.below(40)), .eos = random.below(2) == 0};
    options.params.max_batch = 1 + static_cast<int64_t>(random.below(40));
    options.params.prefill_chunk = 16 + static_cast<int64_t>(random.below(100));
    preempted += grow(options, forest).sequences_preempted;
    ASSERT_FALSE(HasFailure()) << "case " << i;
  }
  EXPECT_GT(preempted, 10);
}

TEST(BatchEngine, RunningSequencesArePreemptedAndGoOn) {
  Options options{.blocks = 60, .eos = false};
  Forest forest;
  forest.step_tokens = 150;  // steps outgrow what was free when they began
  forest.expansions = 3;
  const EngineCounters counters = grow(options, forest);
  EXPECT_GT(counters.sequences_preempted, 0);
}

TEST(BatchEngine, NewWeightsUnderWay) {
  for (const char* policy : {"drop", "keep"}) {
    for (const int64_t blocks : {200, 100000}) {
      Options options{.blocks = blocks};
      options.params.on_update = policy;
      Forest forest;
      forest.new_weights_every = 7;
      const EngineCounters counters = grow(options, forest);
      if (policy == std::string("drop")) {
        EXPECT_GT(counters.tokens_recomputed, 0);
      } else if (blocks > 1000) {
        EXPECT_LT(counters.tokens_recomputed, 12 * 25);
      }
    }
  }
}

ExpansionRequest simple_request(uint64_t tree, int64_t prompt, int32_t n_children, int32_t max_tokens) {
  ExpansionRequest request;
  request.tree = tree;
  for (int64_t i = 0; i < prompt; ++i)
    request.prefix.push_back(static_cast<Token>((i * 7 + static_cast<int64_t>(tree)) % 40));
  request.path = {{.node = 0, .n_tokens = static_cast<int32_t>(prompt)}};
  request.n_children = n_children;
  request.first_child = 1;
  request.max_tokens = max_tokens;
  request.sampling_key = tree * 31;
  return request;
}

std::vector<Expansion> drain(BatchEngine& engine) {
  std::vector<Expansion> finished;
  while (engine.in_flight() > 0) engine.poll(finished);
  return finished;
}

TEST(BatchEngine, EveryTokenCarriesItsVersion) {
  Options options;
  options.params.on_update = "keep";
  Bench bench = make(options);
  ExpansionRequest request = simple_request(1, 20, 6, 9);
  bench.engine->submit(request);
  std::vector<Expansion> finished;
  for (int i = 0; i < 3; ++i) bench.engine->poll(finished);
  bench.engine->set_weights(ModelWeights(chain_config(), {}), 2);
  for (const Expansion& expansion : drain(*bench.engine)) finished.push_back(expansion);
  int long_ones = 0;
  for (const Step& step : finished.at(0).children) {
    if (step.tokens.size() <= 3) {
      EXPECT_EQ(step.policy_version, 1);
      EXPECT_TRUE(step.token_versions.empty());
      continue;
    }
    ++long_ones;
    EXPECT_EQ(step.policy_version, 2);
    ASSERT_EQ(step.token_versions.size(), step.tokens.size());
    for (size_t t = 0; t < step.tokens.size(); ++t) EXPECT_EQ(step.token_versions[t], t < 3 ? 1 : 2);
  }
  EXPECT_GT(long_ones, 0);
}

TEST(BatchEngine, ALongPrefillComesInChunksBesideDecoding) {
  Options options;
  options.params.prefill_chunk = 32;
  Bench bench = make(options);
  bench.engine->submit(simple_request(1, 20, 4, 200));
  std::vector<Expansion> finished;
  bench.engine->poll(finished);
  bench.engine->submit(simple_request(2, 1000, 1, 3));
  const int64_t before = bench.engine->counters().tokens_generated;
  for (int i = 0; i < 10; ++i) bench.engine->poll(finished);
  EXPECT_GT(bench.engine->counters().tokens_generated, before) << "decoding goes on meanwhile";
  EXPECT_EQ(bench.engine->counters().tokens_prefilled, 20 + 10 * 32);
  drain(*bench.engine);
  EXPECT_LE(bench.backend->most_rows(), 32 + 4 + 1);
}

TEST(BatchEngine, OldestFirstAndEveryTreeGetsItsTurn) {
  Options options;
  options.params.max_batch = 4;
  Bench bench = make(options);
  // Tree 1 asks again and again; trees 2 to 9 once. All of those must be served before tree 1 has had ten turns.
  std::map<uint64_t, int> turns;
  uint64_t key = 100;
  for (uint64_t tree = 1; tree <= 9; ++tree) bench.engine->submit(simple_request(tree, 20, 4, 8));
  std::vector<Expansion> finished;
  while (turns.size() < 9) {
    finished.clear();
    bench.engine->poll(finished);
    for (const Expansion& expansion : finished) {
      ++turns[expansion.tree];
      if (expansion.tree != 1) continue;
      ExpansionRequest again = simple_request(1, 20, 4, 8);
      again.sampling_key = ++key;
      bench.engine->submit(again);
    }
  }
  EXPECT_LE(turns[1], 2);
}

TEST(BatchEngine, ARolloutWastesNoSlots) {
  Bench bench = make({});
  ExpansionRequest request = simple_request(1, 21, 1, 3);
  std::vector<PathSegment> path = request.path;
  int32_t made = 1;
  while (request.prefix.size() < 400) {
    bench.engine->submit(request);
    const Expansion expansion = std::move(drain(*bench.engine).at(0));
    const Step& step = expansion.children.at(0);
    if (step.ended()) {
      request.sampling_key += 1;  // another try at the same node
      continue;
    }
    request.node = request.first_child;
    request.prefix.insert(request.prefix.end(), step.tokens.begin(), step.tokens.end());
    request.path.push_back({.node = request.node, .n_tokens = static_cast<int32_t>(step.tokens.size())});
    request.first_child = ++made;
  }
  // Steps of 1 to 3 tokens, and yet no more blocks than the text fills (the last token is not fed yet).
  const auto filled = static_cast<int64_t>(request.prefix.size()) - 1;
  EXPECT_LE(bench.engine->counters().kv_bytes / 1000, (filled + kKvBlockTokens - 1) / kKvBlockTokens + 1);
}

TEST(BatchEngine, ScoresAreForcedDraws) {
  Options options{.blocks = 60};
  options.params.max_batch = 50;
  Bench bench = make(options);
  std::vector<std::vector<Token>> texts;
  for (uint64_t t = 0; t < 20; ++t) texts.push_back(simple_request(t, 1 + static_cast<int64_t>(t * 17), 1, 1).prefix);
  const std::vector<Scores> scores = bench.engine->score(texts);
  ASSERT_EQ(scores.size(), texts.size());
  for (size_t t = 0; t < texts.size(); ++t) {
    ASSERT_EQ(scores[t].logprobs.size(), texts[t].size() - 1);
    uint64_t prefix = 0;
    for (size_t i = 0; i + 1 < texts[t].size(); ++i) {
      prefix = chain(prefix, texts[t][i], bench.backend->weights());
      const SampledToken want = chain_draw(prefix, {.forced = texts[t][i + 1]}, 40);
      EXPECT_EQ(scores[t].logprobs[i], want.raw_logprob);
      EXPECT_EQ(scores[t].entropies[i], want.raw_entropy);
    }
  }
  EXPECT_EQ(bench.engine->counters().kv_bytes, 0);
  EXPECT_THROW(bench.engine->score({{1, 2, 40}}), Error);
  EXPECT_THROW(bench.engine->score({{}}), Error);
  EXPECT_THROW(bench.engine->score({std::vector<Token>(1500, 3)}), Error);  // more than 60 blocks hold
}

TEST(BatchEngine, StopStringsEndAResponse) {
  Options options;
  options.params.stop = {"ab", "zzz"};
  Bench bench = make(options);
  std::vector<std::string> bytes;
  for (int i = 0; i < 40; ++i) bytes.emplace_back(1, static_cast<char>('a' + i % 3));  // a, b or c
  bench.engine->set_token_bytes(bytes);
  ExpansionRequest request = simple_request(1, 20, 30, 12);
  bench.engine->submit(request);
  int stopped = 0;
  const std::vector<Expansion> finished = drain(*bench.engine);
  for (const Step& step : finished.at(0).children) {
    std::string text;
    for (const Token token : step.tokens) text += bytes[static_cast<size_t>(token)];
    const size_t found = text.find("ab");
    if (step.finish == Finish::kStop) {
      ++stopped;
      EXPECT_EQ(found, text.size() - 2);
    } else {
      EXPECT_TRUE(found == std::string::npos || (step.finish == Finish::kEos && found + 2 == text.size()));
    }
  }
  EXPECT_GT(stopped, 0);
  Bench without = make(options);
  EXPECT_THROW(without.engine->set_token_bytes({}), Error);
}

TEST(BatchEngine, WhatCannotFitIsRefusedAtOnce) {
  Options options{.blocks = 11};
  Bench bench = make(options);
  try {
    bench.engine->submit(simple_request(1, 150, 1, 31));
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), ::testing::HasSubstr("raise [engine].kv_memory_mb"));
  }
  bench.engine->submit(simple_request(1, 130, 8, 30));  // 11 blocks for one child: one after the other
  EXPECT_EQ(drain(*bench.engine).at(0).children.size(), 8U);
}

}  // namespace
}  // namespace deepsearch
