// The whole engine on the native backend: values against a double-precision decoder, the same bits in any batch, KV
// kept along the tree, duplicates, new weights under way.
#include "engine/engine.h"

#include <numeric>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "core/rng.h"
#include "engine/batch_engine.h"
#include "engine/engine_fixture.h"
#include "engine/native/native_backend.h"

namespace deepsearch {
namespace {

using testing::by_tree;
using testing::child_request;
using testing::drain;
using testing::expand;
using testing::lively_weights;
using testing::native_engine;
using testing::prompt_of;
using testing::ReferenceDecoder;
using testing::root_request;
using testing::same_children;
using testing::small_config;

// Every log-prob and entropy of an expansion against the reference decoder on prompt + step.
void expect_reference_values(const ModelWeights& weights, const ExpansionRequest& request, const Expansion& expansion,
                             double temperature = 1.0) {
  const ReferenceDecoder reference(weights);
  for (const Step& step : expansion.children) {
    std::vector<Token> text = request.prefix;
    text.insert(text.end(), step.tokens.begin(), step.tokens.end());
    const auto logits = reference.logits(text);
    for (size_t t = 0; t < step.tokens.size(); ++t) {
      const testing::Distribution d = testing::softmax(logits[request.prefix.size() + t - 1], temperature);
      EXPECT_NEAR(step.logprobs[t], std::log(d.probabilities[static_cast<size_t>(step.tokens[t])]), 1e-5);
      EXPECT_NEAR(step.entropies[t], d.entropy, 1e-5);
    }
  }
}

class EngineShapes : public ::testing::TestWithParam<ModelConfig> {};

TEST_P(EngineShapes, LogprobsAndEntropiesAreTheModels) {
  const ModelWeights weights = lively_weights(GetParam(), 3);
  const auto engine = native_engine(weights);
  for (uint64_t tree = 0; tree < 3; ++tree) {
    const ExpansionRequest request =
        root_request(tree, prompt_of(tree, 3 + static_cast<int64_t>(tree) * 20, weights.config), 4, 12);
    expect_reference_values(weights, request, expand(*engine, request));
  }
}

INSTANTIATE_TEST_SUITE_P(Models, EngineShapes,
                         ::testing::Values(testing::small_config(), testing::odd_config(), testing::wide_config()));

TEST(Engine, ValuesAreThoseOfTheSamplingTemperature) {
  const ModelWeights weights = lively_weights(small_config(), 3);
  const auto engine = native_engine(weights);
  ExpansionRequest request = root_request(1, prompt_of(1, 6, weights.config), 6, 10);
  request.temperature = 0.6F;
  request.top_p = 0.8F;  // leaves the values alone
  expect_reference_values(weights, request, expand(*engine, request), 0.6);
  request.tree = 2;
  request.temperature = 0;  // greedy: the policy's own
  expect_reference_values(weights, request, expand(*engine, request));
}

// One request's result alone, in order to compare it with the same request in other company.
std::map<uint64_t, Expansion> run_all(const ModelWeights& weights, int64_t max_batch, int64_t threads, bool reversed) {
  const auto engine = native_engine(weights, max_batch, threads);
  std::vector<ExpansionRequest> requests;
  for (uint64_t tree = 0; tree < 40; ++tree) {
    requests.push_back(root_request(tree, prompt_of(tree, 2 + static_cast<int64_t>(tree * 3 % 29), weights.config),
                                    1 + static_cast<int32_t>(tree % 7), 3 + static_cast<int32_t>(tree % 5)));
  }
  if (reversed) std::reverse(requests.begin(), requests.end());
  for (const ExpansionRequest& request : requests) engine->submit(request);
  return by_tree(drain(*engine));
}

class EngineBatches : public ::testing::TestWithParam<ModelConfig> {};

TEST_P(EngineBatches, SameBitsInAnyBatchOrderAndThreadCount) {
  const ModelWeights weights = lively_weights(GetParam(), 11);
  const auto alone = run_all(weights, 1, 1, false);
  ASSERT_EQ(alone.size(), 40U);
  for (const int64_t batch : {7, 64, 256}) {
    for (const int64_t threads : {1, 2}) {
      for (const bool reversed : {false, true}) {
        const auto other = run_all(weights, batch, threads, reversed);
        ASSERT_EQ(other.size(), alone.size());
        for (const auto& [tree, expansion] : alone) {
          EXPECT_TRUE(same_children(expansion, other.at(tree)))
              << "tree " << tree << ", batch " << batch << ", threads " << threads;
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Models, EngineBatches, ::testing::Values(testing::small_config(), testing::odd_config()));

// 64 sequences of a tree that grows in three generations, alone and together, in any order, with room and without.
std::map<uint64_t, Expansion> grow_three(const ModelWeights& weights, int64_t blocks, int64_t batch, uint64_t order) {
  EngineParams params;
  params.max_batch = batch;
  params.prefill_chunk = order % 2 == 0 ? 512 : 16;
  BatchEngine engine(params, weights.config, 5, 0, blocks, make_native_backend(weights.config, 1));
  engine.set_weights(weights, 1);
  std::vector<ExpansionRequest> requests;
  for (uint64_t tree = 0; tree < 16; ++tree) {
    requests.push_back(root_request(tree, prompt_of(tree, 17 + static_cast<int64_t>(tree % 9), weights.config), 4, 7));
  }
  std::map<uint64_t, Expansion> all;
  uint64_t name = 0;
  for (int generation = 0; generation < 3; ++generation) {
    std::map<std::pair<uint64_t, int32_t>, size_t> index;
    for (size_t i = 0; i < requests.size(); ++i) index[{requests[i].tree, requests[i].node}] = i;
    std::vector<size_t> shuffled(requests.size());
    std::iota(shuffled.begin(), shuffled.end(), 0);
    RandomStream random(order, RngPurpose::kTests, static_cast<uint64_t>(generation));
    for (size_t i = shuffled.size(); i > 1 && order > 0; --i) std::swap(shuffled[i - 1], shuffled[random.below(i)]);
    std::vector<Expansion> finished;
    for (const size_t i : shuffled) {
      engine.submit(requests[i]);
      if (batch == 1) {
        for (Expansion& expansion : drain(engine)) finished.push_back(std::move(expansion));
      }
    }
    for (Expansion& expansion : drain(engine)) finished.push_back(std::move(expansion));
    std::vector<Expansion> sorted(requests.size());
    for (Expansion& expansion : finished) {
      const size_t i = index.at({expansion.tree, expansion.node});
      sorted[i] = std::move(expansion);
    }
    std::vector<ExpansionRequest> next;
    for (size_t i = 0; i < sorted.size(); ++i) {
      next.push_back(child_request(requests[i], sorted[i], static_cast<int32_t>(i % 4), 7));
      all[name++] = std::move(sorted[i]);
    }
    requests = std::move(next);
  }
  if (blocks < 100) {
    EXPECT_GT(engine.counters().nodes_evicted, 0) << "the case must force eviction";
  }
  return all;
}

TEST_P(EngineBatches, SameBitsInAnyOrderAndWithEviction) {
  ModelWeights weights = lively_weights(GetParam(), 11);
  weights.config.eos_tokens.clear();
  const auto alone = grow_three(weights, 100000, 1, 0);
  ASSERT_EQ(alone.size(), 48U);
  for (const int64_t blocks : {int64_t{24}, int64_t{40}, int64_t{100000}}) {
    for (uint64_t order = 0; order < 4; ++order) {
      const auto other = grow_three(weights, blocks, 64, order);
      for (const auto& [name, expansion] : alone) {
        EXPECT_TRUE(same_children(expansion, other.at(name))) << name << ", " << blocks << " blocks, order " << order;
      }
    }
  }
}

ModelWeights without_eos(ModelWeights weights) {
  weights.config.eos_tokens.clear();
  return weights;
}

TEST(Engine, GrandchildrenNeedNoPrefill) {
  const ModelWeights weights = without_eos(lively_weights(small_config(), 3));
  const auto engine = native_engine(weights);
  const ExpansionRequest root = root_request(1, prompt_of(1, 9, weights.config), 4, 5);
  const Expansion first = expand(*engine, root);
  EXPECT_EQ(first.tokens_prefilled, 9);
  EXPECT_EQ(first.tokens_generated, 20);
  const ExpansionRequest child = child_request(root, first, 2, 5);
  const Expansion second = expand(*engine, child);
  EXPECT_EQ(second.tokens_prefilled, 0);
  const ExpansionRequest grandchild = child_request(child, second, 3, 9);
  const Expansion third = expand(*engine, grandchild);
  EXPECT_EQ(third.tokens_prefilled, 0);
  expect_reference_values(weights, grandchild, third);
  // More children of the same node: its KV is there, only the logits are computed again.
  ExpansionRequest more = child;
  more.first_child = 13;
  more.sampling_key += 1;
  EXPECT_EQ(expand(*engine, more).tokens_prefilled, 0);
  EXPECT_EQ(engine->counters().tokens_prefilled, 9);
  EXPECT_EQ(engine->counters().tokens_generated, 80);
}

TEST(Engine, CachedAndPrefilledPrefixesGiveTheSameBits) {
  const ModelWeights weights = without_eos(lively_weights(small_config(), 3));
  const auto engine = native_engine(weights);
  const ExpansionRequest root = root_request(1, prompt_of(1, 9, weights.config), 4, 7);
  const Expansion first = expand(*engine, root);
  ExpansionRequest request = child_request(root, first, 1, 5);
  const Expansion cached = expand(*engine, request);
  EXPECT_EQ(cached.tokens_prefilled, 0);
  const auto fresh = native_engine(weights);
  const Expansion prefilled = expand(*fresh, request);
  EXPECT_EQ(prefilled.tokens_prefilled, 16);
  EXPECT_TRUE(same_children(cached, prefilled));
  // Without any path the whole prefix is one segment, and still the bits are the same.
  request.tree = 2;
  request.path.clear();
  EXPECT_TRUE(same_children(cached, expand(*engine, request)));
}

TEST(Engine, ALongPrefillIsTheSameInPieces) {
  ModelConfig config = small_config();
  config.max_positions = 3000;
  const ModelWeights weights = without_eos(lively_weights(config, 3));
  const auto engine = native_engine(weights);
  const std::vector<Token> prompt = prompt_of(4, 1500, config);  // more rows than one pass of the backend
  ExpansionRequest whole = root_request(1, prompt, 2, 3);
  const Expansion a = expand(*engine, whole);
  EXPECT_EQ(a.tokens_prefilled, 1500);
  ExpansionRequest pieces = whole;
  pieces.tree = 2;
  pieces.path = {{.node = 0, .n_tokens = 700}, {.node = 1, .n_tokens = 0}, {.node = 2, .n_tokens = 800}};
  pieces.node = 2;
  EXPECT_TRUE(same_children(a, expand(*engine, pieces)));
}

TEST(Engine, AReusedNodeNameIsNoticed) {
  const ModelWeights weights = without_eos(lively_weights(small_config(), 3));
  const auto engine = native_engine(weights);
  ExpansionRequest request = root_request(1, prompt_of(1, 9, weights.config), 2, 4);
  expand(*engine, request);
  request.prefix = prompt_of(2, 9, weights.config);
  const Expansion expansion = expand(*engine, request);
  EXPECT_EQ(expansion.tokens_prefilled, 9);
  expect_reference_values(weights, request, expansion);
}

TEST(Engine, ReleaseFreesTheTreesKv) {
  const ModelWeights weights = without_eos(lively_weights(small_config(), 3));
  const auto engine = native_engine(weights);
  const ExpansionRequest one = root_request(1, prompt_of(1, 9, weights.config), 4, 20);
  const ExpansionRequest two = root_request(2, prompt_of(2, 9, weights.config), 4, 20);
  expand(*engine, one);
  const int64_t of_one = engine->counters().kv_bytes;
  EXPECT_GT(of_one, 0);
  engine->submit(two);
  std::vector<Expansion> finished;
  engine->poll(finished);
  EXPECT_GT(engine->counters().kv_bytes, of_one);
  engine->release(2);  // while its sequences run
  EXPECT_EQ(engine->in_flight(), 0);
  EXPECT_EQ(engine->counters().kv_bytes, of_one);
  engine->release(1);
  EXPECT_EQ(engine->counters().kv_bytes, 0);
  EXPECT_GT(engine->counters().kv_bytes_peak, 0);
  EXPECT_TRUE(finished.empty());
}

TEST(Engine, ChildrenShareTheBlocksOfTheirPrefix) {
  const ModelWeights weights = without_eos(lively_weights(small_config(), 3));
  const auto engine = native_engine(weights);
  expand(*engine, root_request(1, prompt_of(1, 40, weights.config), 8, 5));
  // 40 tokens in three blocks; one child goes on in the third, seven copy it; 4 fed tokens each fit there.
  EXPECT_EQ(engine->kv_blocks_used(), 3 + 7);
}

TEST(Engine, AStepEndsAtEndOfSequence) {
  ModelWeights weights = lively_weights(small_config(), 3, 2.0F);
  weights.config.eos_tokens = {1, 4, 7, 9};
  const auto engine = native_engine(weights);
  const Expansion expansion = expand(*engine, root_request(1, prompt_of(1, 6, weights.config), 40, 8));
  ASSERT_EQ(expansion.children.size(), 40U);
  int ended = 0;
  for (const Step& step : expansion.children) {
    ASSERT_EQ(step.tokens.size(), step.logprobs.size());
    ASSERT_EQ(step.tokens.size(), step.entropies.size());
    for (size_t t = 0; t < step.tokens.size(); ++t) {
      const bool eos = ::testing::Matches(::testing::AnyOf(1, 4, 7, 9))(step.tokens[t]);
      EXPECT_EQ(eos, t + 1 == step.tokens.size() && step.finish == Finish::kEos);
    }
    if (step.finish == Finish::kEos) ++ended;
    if (step.finish == Finish::kLength) {
      EXPECT_EQ(step.tokens.size(), 8U);
    }
  }
  EXPECT_GT(ended, 0);
  EXPECT_LT(ended, 40);
}

TEST(Engine, DistinctChildrenDiffer) {
  const ModelWeights weights = without_eos(lively_weights(small_config(), 3));
  ExpansionRequest request = root_request(1, prompt_of(1, 6, weights.config), 8, 1);
  request.distinct = true;
  std::vector<Expansion> results;
  for (const int64_t batch : {1, 3, 64}) {
    const auto engine = native_engine(weights, batch);
    results.push_back(expand(*engine, request));
    EXPECT_GT(engine->counters().duplicates_resampled, 0) << "the case must hold duplicates to show anything";
    EXPECT_EQ(results.back().tokens_generated, engine->counters().tokens_generated);
  }
  std::vector<Token> seen;
  for (const Step& step : results[0].children) seen.push_back(step.tokens.at(0));
  std::sort(seen.begin(), seen.end());
  EXPECT_EQ(std::adjacent_find(seen.begin(), seen.end()), seen.end());
  EXPECT_GT(seen.size(), 1U);
  EXPECT_TRUE(same_children(results[0], results[1]));
  EXPECT_TRUE(same_children(results[0], results[2]));
}

TEST(Engine, ADuplicateIsDroppedAfterItsTriesAndNamesStayInStep) {
  ModelWeights weights = lively_weights(small_config(), 3);
  weights.config.eos_tokens.clear();
  EngineParams params;
  params.device = "cpu";
  params.distinct_tries = 3;
  const auto engine = make_engine(params, weights.config, 5, 7);
  engine->set_weights(weights, 1);
  ExpansionRequest request = root_request(1, prompt_of(1, 6, weights.config), 5, 4);
  request.temperature = 0;  // greedy: all children are the same
  request.distinct = true;
  const Expansion expansion = expand(*engine, request);
  EXPECT_EQ(expansion.children.size(), 1U);
  EXPECT_EQ(expansion.made_by_rank, 7);
  EXPECT_EQ(engine->counters().duplicates_resampled, 4 * 3);
  EXPECT_EQ(expansion.tokens_generated, 4 * (1 + 4 * 4));
  // The child kept is node first_child, with its KV.
  EXPECT_EQ(expand(*engine, child_request(request, expansion, 0, 6)).tokens_prefilled, 0);
}

TEST(Engine, NewWeightsUnderWay) {
  const ModelWeights old_weights = without_eos(lively_weights(small_config(), 3));
  const ModelWeights new_weights = without_eos(lively_weights(small_config(), 4));
  const auto engine = native_engine(old_weights, 3);
  const ExpansionRequest request = root_request(1, prompt_of(1, 9, old_weights.config), 5, 6);
  engine->submit(request);
  std::vector<Expansion> finished;
  engine->poll(finished);
  engine->poll(finished);
  engine->set_weights(new_weights, 2);
  EXPECT_EQ(engine->counters().kv_bytes, 0);
  while (engine->in_flight() > 0) engine->poll(finished);
  ASSERT_EQ(finished.size(), 1U);
  const ReferenceDecoder before(old_weights);
  const ReferenceDecoder after(new_weights);
  for (size_t i = 0; i < 5; ++i) {
    const Step& step = finished[0].children[i];
    EXPECT_EQ(step.policy_version, 2);
    std::vector<Token> text = request.prefix;
    text.insert(text.end(), step.tokens.begin(), step.tokens.end());
    const auto old_logits = before.logits(text);
    const auto new_logits = after.logits(text);
    for (size_t t = 0; t < step.tokens.size(); ++t) {
      // Three children had sampled two tokens when the weights changed; the other two had not begun.
      const auto& logits = i < 3 && t < 2 ? old_logits : new_logits;
      EXPECT_NEAR(step.entropies[t], testing::softmax(logits[8 + t]).entropy, 1e-5) << "child " << i << ", token " << t;
    }
  }
  // 9 of the prompt twice, and the first token of three children again.
  EXPECT_EQ(finished[0].tokens_prefilled, 9 + 9 + 3);
  // A finished tree's KV was of the old weights: the next expansion prefills what it needs.
  const ExpansionRequest child = child_request(request, finished[0], 0, 6);
  engine->set_weights(old_weights, 3);
  const Expansion next = expand(*engine, child);
  EXPECT_EQ(next.tokens_prefilled, 9 + 5);
  expect_reference_values(old_weights, child, next);
}

TEST(Engine, TheBatchStaysFull) {
  const ModelWeights weights = without_eos(lively_weights(small_config(), 3));
  const auto engine = native_engine(weights, 8);
  for (uint64_t tree = 0; tree < 6; ++tree)
    engine->submit(root_request(tree, prompt_of(tree, 5, weights.config), 4, 5));
  std::vector<Expansion> finished;
  std::vector<int64_t> generated;
  while (engine->in_flight() > 0) {
    const int64_t before = engine->counters().tokens_generated;
    engine->poll(finished);
    generated.push_back(engine->counters().tokens_generated - before);
  }
  EXPECT_EQ(generated, std::vector<int64_t>(15, 8));  // 6·4·5 tokens by 8
  EXPECT_EQ(engine->counters().decode_steps, 15);
}

TEST(Engine, SeedsAndKeysNameTheTokens) {
  const ModelWeights weights = without_eos(lively_weights(small_config(), 3, 2.0F));
  const ExpansionRequest request = root_request(1, prompt_of(1, 9, weights.config), 4, 6);
  const Expansion a = expand(*native_engine(weights, 256, 1, 5), request);
  EXPECT_TRUE(same_children(a, expand(*native_engine(weights, 256, 1, 5), request)));
  EXPECT_FALSE(same_children(a, expand(*native_engine(weights, 256, 1, 6), request)));
  ExpansionRequest other = request;
  other.sampling_key += 1;
  EXPECT_FALSE(same_children(a, expand(*native_engine(weights, 256, 1, 5), other)));
  EXPECT_NE(a.children[0].tokens, a.children[1].tokens);
}

TEST(Engine, RefusesWhatCannotBe) {
  const ModelWeights weights = lively_weights(small_config(), 3);
  const auto engine = native_engine(weights);
  ExpansionRequest request = root_request(1, prompt_of(1, 9, weights.config), 2, 4);
  const auto message = [&](const ExpansionRequest& wrong) -> std::string {
    try {
      engine->submit(wrong);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  ExpansionRequest wrong = request;
  wrong.prefix.clear();
  EXPECT_THAT(message(wrong), ::testing::HasSubstr("holds 9 tokens and its prefix 0"));
  wrong = request;
  wrong.prefix[3] = 23;
  EXPECT_THAT(message(wrong), ::testing::HasSubstr("token 23 is not in a vocabulary of 23"));
  wrong = request;
  wrong.max_tokens = 121;
  EXPECT_THAT(message(wrong), ::testing::HasSubstr("context is 128 tokens"));
  wrong.max_tokens = 120;
  EXPECT_EQ(message(wrong), "");
  ModelWeights other = weights;
  other.config.n_layers = 3;
  EXPECT_THROW(engine->set_weights(other, 2), Error);
  EngineParams params;
  params.device = "cpu";
  const auto empty = make_engine(params, weights.config, 1, 0);
  empty->submit(request);
  std::vector<Expansion> finished;
  EXPECT_THROW(empty->poll(finished), Error);
}

TEST(Engine, ABatchIsAsAskedForOrFitsTheMachine) {
  const ModelConfig small = small_config();
  ModelConfig large = small;
  large.intermediate_size = 1 << 16;
  ASSERT_LT(parameter_count(small), 1 << 21);
  ASSERT_GT(parameter_count(large), 1 << 21);
  EngineParams params;
  params.threads = 3;
  EXPECT_EQ(decode_batch(params, small, false), 48);
  EXPECT_EQ(decode_batch(params, small, true), 256);
  EXPECT_EQ(decode_batch(params, large, false), 256);
  params.device = "cpu";
  EXPECT_EQ(make_engine(params, small, 1, 0)->max_batch(), 48);
  params.max_batch = 5;
  EXPECT_EQ(decode_batch(params, small, false), 5);
  EXPECT_EQ(decode_batch(params, large, true), 5);
  EXPECT_EQ(make_engine(params, small, 1, 0)->max_batch(), 5);
}

TEST(Engine, DivergedWeightsAreNamed) {
  ModelWeights weights = lively_weights(small_config(), 3);
  weights.tensors[0].values.assign(weights.tensors[0].values.size(), std::nanf(""));
  const auto engine = native_engine(weights);
  engine->submit(root_request(1, prompt_of(1, 4, weights.config), 1, 1));
  std::vector<Expansion> finished;
  EXPECT_THROW(engine->poll(finished), Error);
}

TEST(Engine, DescribesItself) {
  const auto engine = native_engine(lively_weights(small_config(), 3), 12, 2);
  EXPECT_THAT(engine->description(),
              ::testing::MatchesRegex("native CPU, 2 threads, [A-Za-z0-9-]+, fp32 weights, batch 12"));
  EXPECT_EQ(engine->policy_version(), 1);
}

}  // namespace
}  // namespace deepsearch
