// The engine that jumps from event to event, against the one that is polled a decode step at a time.
#include "simulate/timed_engine.h"

#include <algorithm>

#include <gtest/gtest.h>

#include "core/error.h"
#include "core/rng.h"
#include "simulate/polled_engine.h"

namespace deepsearch {
namespace {

ExpansionRequest request_of(uint64_t tree, int32_t node, RandomStream& random) {
  ExpansionRequest request;
  request.tree = tree;
  request.node = node;
  request.n_children = static_cast<int32_t>(random.between(1, 5));
  request.first_child = 8 * node + 1;
  request.path = {{.node = 0, .n_tokens = 3}};
  request.prefix = {2, 3, 4};
  if (node > 0) {
    request.path.push_back({.node = node, .n_tokens = 2});
    request.prefix.insert(request.prefix.end(), {5, 6});
  }
  request.max_tokens = static_cast<int32_t>(random.between(1, 12));
  request.sampling_key = random.next_u64();
  return request;
}

using Names = std::vector<std::pair<uint64_t, int32_t>>;

Names names_of(const std::vector<Expansion>& expansions) {
  Names names;
  for (const Expansion& expansion : expansions) names.emplace_back(expansion.tree, expansion.node);
  return names;
}

// Requests and releases at random between decode steps: the same expansions after the same step, at the same time.
TEST(TimedEngine, IsThePolledEngineWithoutItsPolls) {
  int64_t jumped = 0;
  for (uint64_t seed = 0; seed < 60; ++seed) {
    SCOPED_TRACE(seed);
    RandomStream random(seed, RngPurpose::kTests, 4);
    const LatencyModel model{.step_seconds = 0.5,
                             .sequence_seconds = 0.0625,
                             .prefill_token_seconds = 0.03125,
                             .max_batch = random.between(1, 9)};
    const auto script = testing::random_script(0.2, seed);
    testing::PolledEngine polled(script, model);
    TimedEngine timed(script, model, 0);
    int32_t next = 0;
    for (int round = 0; round < 200; ++round) {
      for (auto n = random.below(3); n > 0; --n) {
        const ExpansionRequest request = request_of(random.below(4) + 1, next++, random);
        polled.submit(request);
        timed.submit(request);
      }
      if (random.below(12) == 0) {
        const uint64_t tree = random.below(4) + 1;
        polled.release(tree);
        timed.release(tree);
      }
      ASSERT_EQ(polled.in_flight(), timed.in_flight());
      const int64_t announced = timed.start();
      if (announced == 0) continue;
      const int64_t steps = random.between(1, announced);
      timed.run(steps);
      jumped += steps - 1;
      std::vector<Expansion> from_polled;
      std::vector<Expansion> from_timed;
      for (int64_t i = 0; i < steps; ++i) {
        polled.poll(from_polled);
        EXPECT_TRUE(i + 1 == steps || from_polled.empty());
      }
      timed.poll(from_timed);
      ASSERT_EQ(names_of(from_polled), names_of(from_timed));
      for (size_t i = 0; i < from_timed.size(); ++i) {
        EXPECT_EQ(from_polled[i].tokens_prefilled, from_timed[i].tokens_prefilled);
      }
      ASSERT_DOUBLE_EQ(polled.virtual_seconds(), timed.now());
      EXPECT_EQ(polled.decode_steps(), timed.counters().decode_steps);
      EXPECT_EQ(polled.sequence_steps(), timed.counters().tokens_generated);
    }
  }
  EXPECT_GT(jumped, 1000);
}

TEST(TimedEngine, IsInterruptedBetweenDecodeSteps) {
  RandomStream random(1, RngPurpose::kTests, 5);
  TimedEngine engine(testing::random_script(0.0, 1), {.step_seconds = 1.0, .max_batch = 8}, 0);
  engine.wait_until(10);
  ExpansionRequest request = request_of(1, 0, random);
  request.max_tokens = 7;
  engine.submit(request);
  ASSERT_EQ(engine.start(), 7);
  EXPECT_EQ(engine.steps_by(10.0), 1);
  EXPECT_EQ(engine.steps_by(13.0), 3);
  EXPECT_EQ(engine.steps_by(13.25), 4);
  EXPECT_EQ(engine.steps_by(99.0), 7);
  engine.run(4);
  EXPECT_EQ(engine.now(), 14.0);
  EXPECT_EQ(engine.start(), 3);
  EXPECT_THROW(engine.run(4), Error);
  engine.run(3);
  engine.wait_until(20);
  engine.submit(request_of(2, 1, random));
  engine.start();
  engine.run(1);
  ASSERT_EQ(engine.busy().size(), 2U);
  EXPECT_EQ(engine.busy()[0].begin, 10.0);
  EXPECT_EQ(engine.busy()[0].end, 17.0);
  EXPECT_EQ(engine.busy()[1].begin, 20.0);
}

}  // namespace
}  // namespace deepsearch
