#include "learn/rows.h"

#include <cmath>

#include <gtest/gtest.h>

#include "learn/sample_rows.h"

namespace deepsearch {
namespace {

// Root with two children; the first has two children of its own. Trajectories 0-1-3 and 0-2 are recorded.
TreeRecord small_tree() {
  TreeRecord tree;
  tree.problem.prompt_tokens = {5, 6, 7};
  tree.tokens = {10, 11, 12, 13, 14};
  tree.logprobs = {-0.1F, -0.2F, -0.3F, -0.4F, -0.5F};
  tree.entropies = {0.1F, 0.2F, 0.3F, 0.4F, 0.5F};
  tree.nodes.resize(4);
  tree.nodes[1] = {.parent = 0, .depth = 1, .first_token = 0, .n_tokens = 2, .value = 0.5};
  tree.nodes[2] = {.parent = 0,
                   .depth = 1,
                   .first_token = 2,
                   .n_tokens = 2,
                   .value = -1,
                   .terminal = true,
                   .outcome = Outcome::kWrong};
  tree.nodes[3] = {.parent = 1,
                   .depth = 2,
                   .first_token = 4,
                   .n_tokens = 1,
                   .value = 1,
                   .terminal = true,
                   .outcome = Outcome::kCorrect};
  tree.recorded = {{.leaf = 3, .reward = 1, .outcome = Outcome::kCorrect},
                   {.leaf = 2, .reward = -1, .outcome = Outcome::kWrong}};
  return tree;
}

TEST(Rows, HoldPromptPathAndWhatBelongsToEachToken) {
  CreditParams credit;
  credit.overlong_penalty = 0;
  const std::vector<Row> rows = rows_of(small_tree(), credit);
  ASSERT_EQ(rows.size(), 2U);
  EXPECT_EQ(rows[0].tokens, (std::vector<Token>{5, 6, 7, 10, 11, 14}));
  EXPECT_EQ(rows[0].n_prompt, 3);
  EXPECT_EQ(rows[0].behaviour, (std::vector<float>{-0.1F, -0.2F, -0.5F}));
  EXPECT_EQ(rows[1].tokens, (std::vector<Token>{5, 6, 7, 12, 13}));
  // The mean of the terminal scores is 0, so advantages are the scores: tanh(q) inside, ±1 at the end.
  EXPECT_NEAR(rows[0].advantages[0], std::tanh(0.5), 1e-6);
  EXPECT_NEAR(rows[0].advantages[1], std::tanh(0.5), 1e-6);
  EXPECT_NEAR(rows[0].advantages[2], 1, 1e-6);
  EXPECT_NEAR(rows[1].advantages[1], -1, 1e-6);
}

TEST(Rows, GivenStepsBelongToThePrompt) {
  TreeRecord tree = small_tree();
  tree.kind = RecordKind::kBranch;
  tree.nodes[1].given = true;
  CreditParams credit;
  credit.overlong_penalty = 0;
  const std::vector<Row> rows = rows_of(tree, credit);
  ASSERT_EQ(rows.size(), 2U);
  EXPECT_EQ(rows[0].tokens, (std::vector<Token>{5, 6, 7, 10, 11, 14}));
  EXPECT_EQ(rows[0].n_prompt, 5);
  EXPECT_EQ(rows[0].behaviour, (std::vector<float>{-0.5F}));
  ASSERT_EQ(rows[0].advantages.size(), 1U);
  EXPECT_EQ(rows[0].advantages[0], 1);
  EXPECT_EQ(rows[1].n_prompt, 3);
}

// The wrong step beside the solution's second one is trained on, what it shares with the solution is context there.
TEST(Rows, OfAMistakeOnlyItsOwnStepEntersTheLoss) {
  TreeRecord tree = small_tree();
  tree.tokens.push_back(15);
  tree.logprobs.push_back(-0.6F);
  tree.nodes.push_back({.parent = 1, .depth = 2, .first_token = 5, .n_tokens = 1});
  tree.nodes.back().terminal = true;
  tree.nodes.back().outcome = Outcome::kWrong;
  CreditParams credit;
  credit.credit = Credit::kSiblings;
  const std::vector<Row> rows = rows_of(tree, credit);
  ASSERT_EQ(rows.size(), 3U);  // the wrong child of the root, the solution, the mistake
  EXPECT_EQ(rows[1].tokens, (std::vector<Token>{5, 6, 7, 10, 11, 14}));
  EXPECT_EQ(rows[1].n_prompt, 3);
  EXPECT_EQ(rows[2].tokens, (std::vector<Token>{5, 6, 7, 10, 11, 15}));
  EXPECT_EQ(rows[2].n_prompt, 5);
  EXPECT_EQ(rows[2].behaviour, (std::vector<float>{-0.6F}));
  ASSERT_EQ(rows[2].advantages.size(), 1U);
  EXPECT_EQ(rows[2].advantages[0], -1);
}

// Root – A – {B – {D, E}, C}: C is right, so B's children D and E are dead, and B is judged.
TEST(Rows, EndWhereTheLossDoes) {
  TreeRecord tree;
  tree.problem.prompt_tokens = {5};
  tree.tokens = {10, 11, 12, 13, 14, 15, 16};
  tree.logprobs = {-1, -2, -3, -4, -5, -6, -7};
  tree.token_versions = {1, 1, 1, 1, 2, 2, 3};
  tree.nodes.resize(1);
  tree.nodes.push_back({.parent = 0, .depth = 1, .first_token = 0, .n_tokens = 2});
  tree.nodes.push_back({.parent = 1, .depth = 2, .first_token = 2, .n_tokens = 1});
  const auto end = [&](int32_t parent, int32_t first, int32_t count, Outcome outcome) {
    tree.nodes.push_back({.parent = parent, .depth = 3, .first_token = first, .n_tokens = count});
    tree.nodes.back().terminal = true;
    tree.nodes.back().outcome = outcome;
  };
  end(1, 3, 1, Outcome::kCorrect);
  end(2, 4, 2, Outcome::kWrong);
  end(2, 6, 1, Outcome::kIncomplete);
  CreditParams credit;
  credit.credit = Credit::kSubtree;
  credit.terminals = Terminals::kAll;
  EXPECT_EQ(rows_of(tree, credit)[1].tokens, (std::vector<Token>{5, 10, 11, 12, 14, 15}));
  credit.skip_dead = true;
  const std::vector<Row> rows = rows_of(tree, credit);
  ASSERT_EQ(rows.size(), 3U);
  EXPECT_EQ(rows[0].tokens, (std::vector<Token>{5, 10, 11, 13}));
  EXPECT_EQ(rows[1].tokens, (std::vector<Token>{5, 10, 11, 12}));
  EXPECT_EQ(rows[1].behaviour, (std::vector<float>{-1, -2, -3}));
  EXPECT_EQ(rows[1].versions, (std::vector<int32_t>{1, 1, 1}));
  EXPECT_EQ(rows[1].advantages.size(), 3U);
  EXPECT_LT(rows[1].advantages[2], 0) << "the step into what is dead";
  credit.overlong = Overlong::kFilter;
  EXPECT_EQ(rows_of(tree, credit).size(), 2U);
  EXPECT_TRUE(rows_of(TreeRecord{}, credit).empty());
}

}  // namespace
}  // namespace deepsearch
