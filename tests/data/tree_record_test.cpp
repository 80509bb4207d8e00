#include "data/tree_record.h"

#include <set>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"

namespace deepsearch {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

NodeRecord node(int32_t parent, int32_t first_token, int32_t n_tokens) {
  NodeRecord record;
  record.parent = parent;
  record.first_token = first_token;
  record.n_tokens = n_tokens;
  return record;
}

// 0 ─ 1 ─ 3
//   └ 2 ─ 4   with an empty step at 2
TreeRecord small_tree() {
  TreeRecord tree;
  tree.tokens = {10, 11, 20, 30, 31, 32};
  tree.nodes = {node(-1, 0, 0), node(0, 0, 2), node(0, 2, 0), node(1, 2, 1), node(2, 3, 3)};
  return tree;
}

std::string complaint(const TreeRecord& tree, int32_t leaf) {
  try {
    trajectory_tokens(tree, leaf);
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), kExitFailure);
    return error.what();
  }
  return "";
}

TEST(TreeRecord, PathsLeadFromTheRootsChildToTheLeaf) {
  const TreeRecord tree = small_tree();
  EXPECT_THAT(path_to(tree, 0), IsEmpty());
  EXPECT_THAT(path_to(tree, 1), ElementsAre(1));
  EXPECT_THAT(path_to(tree, 3), ElementsAre(1, 3));
  EXPECT_THAT(path_to(tree, 4), ElementsAre(2, 4));
}

TEST(TreeRecord, TrajectoriesJoinTheStepsOfThePath) {
  const TreeRecord tree = small_tree();
  EXPECT_THAT(trajectory_tokens(tree, 0), IsEmpty());
  EXPECT_THAT(trajectory_tokens(tree, 2), IsEmpty());
  EXPECT_THAT(trajectory_tokens(tree, 3), ElementsAre(10, 11, 20));
  EXPECT_THAT(trajectory_tokens(tree, 4), ElementsAre(30, 31, 32));
}

TEST(TreeRecord, DamagedRecordsAreRefused) {
  TreeRecord tree = small_tree();
  EXPECT_THAT(complaint(tree, 5), HasSubstr("node 5 asked for, the tree has 5"));
  EXPECT_THAT(complaint(tree, -1), HasSubstr("node -1"));
  EXPECT_THAT(complaint(TreeRecord{}, 0), HasSubstr("the tree has 0"));
  tree.nodes[1].parent = 3;  // a circle
  EXPECT_THAT(complaint(tree, 3), HasSubstr("node 1 names 3 as its parent"));
  tree.nodes[1].parent = -1;
  EXPECT_THAT(complaint(tree, 3), HasSubstr("names -1"));
  tree = small_tree();
  tree.nodes[4].n_tokens = 4;
  EXPECT_THAT(complaint(tree, 4), HasSubstr("tokens 3 to 7, the tree has 6"));
  tree.nodes[4].n_tokens = 2147483647;
  EXPECT_THAT(complaint(tree, 4), HasSubstr("the tree has 6"));
  tree.nodes[4].n_tokens = -1;
  EXPECT_NE(complaint(tree, 4), "");
  tree.nodes[4].first_token = -1;
  EXPECT_NE(complaint(tree, 4), "");
}

TEST(TreeRecord, OnlyTerminalsCanBeCorrect) {
  TreeRecord tree = small_tree();
  EXPECT_FALSE(has_correct(tree));
  tree.nodes[3].outcome = Outcome::kCorrect;
  EXPECT_FALSE(has_correct(tree));
  tree.nodes[3].terminal = true;
  EXPECT_TRUE(has_correct(tree));
  tree.nodes[3].outcome = Outcome::kWrong;
  EXPECT_FALSE(has_correct(tree));
}

TEST(TreeRecord, EveryNameIsItsOwn) {
  std::set<std::string> names;
  for (int i = 0; i <= static_cast<int>(StopReason::kCancelled); ++i)
    names.insert(to_string(static_cast<StopReason>(i)));
  EXPECT_EQ(names.size(), 6U);
  for (int i = 0; i <= static_cast<int>(EventKind::kStop); ++i) names.insert(to_string(static_cast<EventKind>(i)));
  EXPECT_EQ(names.size(), 15U);
  EXPECT_FALSE(names.contains("unknown"));
  EXPECT_STREQ(to_string(static_cast<StopReason>(99)), "unknown");
  EXPECT_STREQ(to_string(static_cast<EventKind>(99)), "unknown");
}

}  // namespace
}  // namespace deepsearch
