#include "measure/learn_bench.h"

#include <algorithm>
#include <set>

#include <gtest/gtest.h>

#include "engine/engine.h"
#include "learn/sample_rows.h"
#include "learn/solo.h"

namespace deepsearch {
namespace {

LearnParams one_thread() {
  LearnParams learn;
  learn.threads = 1;
  return learn;
}

ModelConfig without_ends() {
  ModelConfig config = small_model();
  config.eos_tokens.clear();
  return config;
}

TEST(LearnBench, RowsShareWhatTheyAreSaidToShare) {
  const std::vector<Row> apart = random_rows(5, 20, 8, /*common_prompt=*/false, 1000);
  const std::vector<Row> shared = random_rows(5, 20, 8, /*common_prompt=*/true, 1000);
  for (size_t i = 0; i < 5; ++i) {
    for (const auto* rows : {&apart, &shared}) {
      const Row& row = (*rows)[i];
      EXPECT_EQ(row.tokens.size(), 20U);
      EXPECT_EQ(row.advantages.size(), 12U);
      EXPECT_EQ(row.behaviour.size(), 12U);
    }
    const auto same = [i](const std::vector<Row>& rows) {
      return std::ranges::mismatch(rows[0].tokens, rows[i].tokens).in1 - rows[0].tokens.begin();
    };
    if (i == 0) continue;
    EXPECT_LT(same(apart), 3);
    EXPECT_GE(same(shared), 8);
    EXPECT_LT(same(shared), 11);
  }
}

TEST(LearnBench, TreesBranchAtSteps) {
  const TreeShape shape = {.trees = 3, .prompt = 4, .depth = 6, .step_tokens = 5, .recorded = 4};
  const std::vector<Row> rows = synthetic_tree_rows(shape, 1'000'000);
  ASSERT_EQ(rows.size(), 12U);
  std::set<std::vector<Token>> prompts;
  for (size_t i = 0; i < rows.size(); ++i) {
    EXPECT_EQ(rows[i].tokens.size(), 34U);
    EXPECT_EQ(rows[i].n_prompt, 4);
    prompts.insert({rows[i].tokens.begin(), rows[i].tokens.begin() + 4});
    for (size_t j = i - i % 4; j < i; ++j) {
      const auto same = std::ranges::mismatch(rows[i].tokens, rows[j].tokens).in1 - rows[i].tokens.begin();
      EXPECT_EQ((same - 4) % 5, 0) << i << " " << j;
    }
  }
  EXPECT_EQ(prompts.size(), 3U);
}

TEST(LearnBench, CountsTokensOfBothWays) {
  SoloCollectives solo;
  const std::vector<Row> rows = random_rows(6, 20, 8, /*common_prompt=*/true, 23);
  const ModelWeights start = fresh_weights(without_ends(), 1);
  const LearnFigures figures = measure_learning(start, one_thread(), solo, rows, 1);
  EXPECT_EQ(figures.rows, 6);
  EXPECT_EQ(figures.row_tokens, 120);
  EXPECT_EQ(figures.unpacked.computed_tokens, 120);
  EXPECT_LE(figures.packed.computed_tokens, 8 + 6 * 12);  // a random token more may agree
  EXPECT_GE(figures.packed.computed_tokens, 8 + 6 * 12 - 8);
  EXPECT_GT(figures.unpacked.flops, figures.packed.flops);
  EXPECT_GT(figures.packed.peak_bytes, 0);
}

TEST(LearnBench, AStepGeneratesAndLearns) {
  SoloCollectives solo;
  const ModelWeights start = fresh_weights(without_ends(), 1);
  EngineParams params;
  params.device = "cpu";
  params.kv_memory_mb = 4;
  const auto engine = make_engine(params, start.config, 1, 0);
  const StepFigures figures = measure_step(start, one_thread(), solo, *engine,
                                           {.prompts = 2, .samples = 3, .prompt_tokens = 4, .new_tokens = 6}, 2);
  EXPECT_GT(figures.generation, 0);
  EXPECT_GT(figures.learning, 0);
  EXPECT_GE(figures.seconds, figures.generation);
  EXPECT_EQ(engine->counters().tokens_generated, 3 * 2 * 3 * 6);
}

}  // namespace
}  // namespace deepsearch
