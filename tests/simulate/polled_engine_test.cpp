// The oracle of TimedEngine, by hand.
#include "simulate/polled_engine.h"

#include <gtest/gtest.h>

namespace deepsearch {
namespace {

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

Expansion expand(testing::PolledEngine& engine, const ExpansionRequest& request) {
  engine.submit(request);
  std::vector<Expansion> finished;
  while (engine.in_flight() > 0) engine.poll(finished);
  return finished.at(0);
}

TEST(PolledEngine, LatencyAddsUp) {
  testing::PolledEngine engine(
      staircase, {.step_seconds = 1.0, .sequence_seconds = 0.1, .prefill_token_seconds = 0.01, .max_batch = 2});
  ExpansionRequest request;
  request.tree = 1;
  request.n_children = 3;
  request.first_child = 1;
  request.path = {{.node = 0, .n_tokens = 3}};
  EXPECT_EQ(expand(engine, request).tokens_prefilled, 3);
  // Batch of 2: lengths 1 and 2 start, 3 takes the place of 1: four steps of 2, 2, 1, 1 sequences.
  EXPECT_EQ(engine.decode_steps(), 4);
  EXPECT_EQ(engine.sequence_steps(), 6);
  EXPECT_NEAR(engine.virtual_seconds(), 4 * 1.0 + 6 * 0.1 + 3 * 0.01, 1e-12);
  // A child's prefix is cached; after release nothing is.
  ExpansionRequest child = request;
  child.node = 3;
  child.n_children = 1;
  child.first_child = 4;
  child.path = {{.node = 0, .n_tokens = 3}, {.node = 3, .n_tokens = 3}};
  EXPECT_EQ(expand(engine, child).tokens_prefilled, 0);
  engine.release(1);
  EXPECT_EQ(expand(engine, child).tokens_prefilled, 6);
}

}  // namespace
}  // namespace deepsearch
