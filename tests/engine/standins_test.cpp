#include "engine/standins.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "engine/engine_fixture.h"

namespace deepsearch {
namespace {

using testing::drain;
using testing::expand;
using testing::root_request;
using testing::same_children;

const std::vector<Token> kPrompt = {2, 3, 4};

TEST(Standins, RandomPolicyIsAFunctionOfTheRequest) {
  const auto policy = random_policy({.vocab_size = 9, .eos = 1, .eos_probability = 0.2, .entropy = 1.0}, 3);
  ScriptedGenerator now(policy);
  ScriptedGenerator later(policy, 4);
  const ExpansionRequest request = root_request(1, kPrompt, 50, 6);
  const Expansion a = expand(now, request);
  EXPECT_TRUE(same_children(a, expand(later, request)));
  int ended = 0;
  for (const Step& step : a.children) {
    ASSERT_THAT(step.tokens, ::testing::SizeIs(::testing::AllOf(::testing::Ge(1U), ::testing::Le(6U))));
    EXPECT_EQ(step.tokens.back() == 1, step.finish == Finish::kEos);
    EXPECT_EQ(std::count(step.tokens.begin(), step.tokens.end() - 1, 1), 0);
    ended += step.finish == Finish::kEos ? 1 : 0;
  }
  EXPECT_GT(ended, 20);  // expected 37 of 50
  EXPECT_LT(ended, 50);
}

TEST(Standins, DelayCountsPolls) {
  ScriptedGenerator generator(random_policy({}, 3), 2);
  generator.submit(root_request(1, kPrompt, 1, 1));
  generator.submit(root_request(2, kPrompt, 1, 1));
  std::vector<Expansion> finished;
  generator.poll(finished);
  generator.release(1);
  generator.poll(finished);
  EXPECT_TRUE(finished.empty());
  generator.poll(finished);
  ASSERT_EQ(finished.size(), 1U);
  EXPECT_EQ(finished[0].tree, 2U);
}

TEST(Standins, WhatIsRecordedIsPlayedBack) {
  ScriptedGenerator inner(random_policy({}, 3), 1);
  Recording recording;
  RecordingGenerator recorder(inner, recording);
  const ExpansionRequest request = root_request(1, kPrompt, 4, 6);
  const Expansion made = expand(recorder, request);
  RecordedGenerator player(recording);
  ExpansionRequest elsewhere = request;
  elsewhere.tree = 77;
  const Expansion played = expand(player, elsewhere);
  EXPECT_TRUE(same_children(made, played));
  EXPECT_EQ(played.tree, 77U);
  ExpansionRequest unknown = request;
  unknown.sampling_key += 1;
  player.submit(unknown);
  std::vector<Expansion> finished;
  EXPECT_THROW(player.poll(finished), Error);
}

// Children of 1, 2, … n tokens.
Expansion staircase(const ExpansionRequest& request) {
  Expansion expansion{.tree = request.tree, .node = request.node, .children = {}};
  for (int32_t i = 1; i <= request.n_children; ++i) {
    Step step;
    step.tokens.assign(static_cast<size_t>(i), 2);
    expansion.children.push_back(step);
  }
  return expansion;
}

TEST(Standins, LatencyAddsUp) {
  LatencyGenerator generator(
      staircase, {.step_seconds = 1.0, .sequence_seconds = 0.1, .prefill_token_seconds = 0.01, .max_batch = 2});
  generator.submit(root_request(1, kPrompt, 3, 9));
  std::vector<Expansion> finished;
  while (generator.in_flight() > 0) generator.poll(finished);
  ASSERT_EQ(finished.size(), 1U);
  EXPECT_EQ(finished[0].tokens_prefilled, 3);
  // Batch of 2: lengths 1 and 2 start, 3 takes the place of 1: four steps of 2, 2, 1, 1 sequences.
  EXPECT_EQ(generator.decode_steps(), 4);
  EXPECT_EQ(generator.sequence_steps(), 6);
  EXPECT_NEAR(generator.virtual_seconds(), 4 * 1.0 + 6 * 0.1 + 3 * 0.01, 1e-12);
  generator.advance_to(10);
  generator.advance_to(9);
  EXPECT_EQ(generator.virtual_seconds(), 10);
  // A child's prefix is cached; after release nothing is.
  ExpansionRequest child = testing::child_request(root_request(1, kPrompt, 3, 9), finished[0], 2, 4);
  EXPECT_EQ(expand(generator, child).tokens_prefilled, 0);
  generator.release(1);
  EXPECT_EQ(expand(generator, child).tokens_prefilled, 6);
}

TEST(Standins, ComparingFindsOneWrongToken) {
  const auto policy = random_policy({.vocab_size = 9, .eos = 1, .eos_probability = 0.0, .entropy = 1.0}, 3);
  ScriptedGenerator good(policy);
  ScriptedGenerator bad(
      [&](const ExpansionRequest& request) {
        Expansion expansion = policy(request);
        if (request.tree == 2) expansion.children[1].tokens[3] ^= 8;
        if (request.tree == 3) expansion.children[0].logprobs[0] += 0.5F;
        return expansion;
      },
      3);
  ComparingGenerator both(good, bad, 1e-3);
  for (uint64_t tree = 1; tree <= 4; ++tree) both.submit(root_request(tree, kPrompt, 2, 5));
  EXPECT_EQ(both.in_flight(), 4);
  both.release(4);
  const std::vector<Expansion> finished = drain(both);
  EXPECT_EQ(finished.size(), 3U);
  EXPECT_THAT(both.differences(),
              ::testing::UnorderedElementsAre(::testing::HasSubstr("tree 0x2 node 0: child 1 token 3"),
                                              ::testing::HasSubstr("tree 0x3 node 0: child 0 token 0: log-prob")));
}

}  // namespace
}  // namespace deepsearch
