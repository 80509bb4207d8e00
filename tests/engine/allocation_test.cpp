// Decoding allocates nothing once a batch of that size was seen: counts every operator new of this program.
#include <gtest/gtest.h>

#include "engine/counting_new.h"
#include "engine/engine_fixture.h"

namespace deepsearch {
namespace {

TEST(EngineAllocations, NoneWhileABatchDecodes) {
  ModelWeights weights = testing::lively_weights(testing::small_config(), 3);
  weights.config.eos_tokens.clear();
  const auto engine = testing::native_engine(weights, 32);
  std::vector<Expansion> finished;
  for (const bool warm : {false, true}) {
    for (uint64_t tree = 0; tree < 8; ++tree) {
      engine->submit(testing::root_request(tree, testing::prompt_of(tree, 20, weights.config), 4, 60));
    }
    for (int i = 0; i < 3; ++i) engine->poll(finished);
    const int64_t before = allocations;
    for (int i = 0; i < 50; ++i) engine->poll(finished);
    if (warm) {
      EXPECT_EQ(allocations - before, 0) << "over 50 passes and four blocks a sequence";
    }
    EXPECT_TRUE(finished.empty());
    while (engine->in_flight() > 0) engine->poll(finished);
    for (uint64_t tree = 0; tree < 8; ++tree) engine->release(tree);
    finished.clear();
  }
}

}  // namespace
}  // namespace deepsearch
