// The search's pure parts one by one: backup, UCT, frontier score, ties, picks, the parameter list, the text view.
#include <cmath>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "search/backup.h"
#include "search/grow.h"
#include "search/selection.h"
#include "search/terminal_choice.h"
#include "search/text_tree.h"

namespace deepsearch::testing {

namespace {

using ::testing::HasSubstr;

TEST(Backup, FollowsTheTableOfSectionTwo) {
  const auto q = [](double before, double r, Backup rule = Backup::kConstrained) {
    return back_up(before, r, 0.5, rule).q;
  };
  EXPECT_EQ(0.5, q(0, 1));
  EXPECT_EQ(-0.5, q(0, -1));
  EXPECT_EQ(1.5, q(1, 1));
  EXPECT_EQ(-1.5, q(-1, -1));
  EXPECT_EQ(0.5, q(-3, 1));      // the negative past is replaced
  EXPECT_EQ(0.25, q(0.25, -1));  // once useful, not dragged below
  EXPECT_EQ(0.25, q(0.25, 0));
  EXPECT_EQ(-2.5, q(-3, 1, Backup::kSimple));
  EXPECT_EQ(-0.25, q(0.25, -1, Backup::kSimple));
  EXPECT_EQ(-0.5, q(-0.25, -0.5));  // incomplete_reward
}

TEST(Backup, WeightGrowsTowardsTheTerminalAndHasAFloor) {
  EXPECT_DOUBLE_EQ(0.25, backup_weight(0, 3, 0.1));
  EXPECT_DOUBLE_EQ(1, backup_weight(3, 3, 0.1));
  EXPECT_DOUBLE_EQ(0.1, backup_weight(0, 63, 0.1));
  EXPECT_DOUBLE_EQ(1, backup_weight(64, 64, 0.1));
}

TEST(Selection, UctCountsFreshTermsAsNoExploration) {
  EXPECT_EQ(0, uct_score(0, 0, 5, 2));
  EXPECT_EQ(0.5, uct_score(0.5, 1, 0, 2));
  EXPECT_EQ(0.5, uct_score(0.5, 1, 1, 2));
  EXPECT_DOUBLE_EQ(0.5 + 2 * std::sqrt(std::log(8.0) / 2), uct_score(0.5, 2, 8, 2));
}

TEST(Selection, FrontierScoreHasFourTerms) {
  SearchParams params;
  params.lambda2 = 0.4;
  params.lambda4 = -3;  // counts only when positive
  const double three = 0.4 * std::tanh(0.7) + 0.4 * 1.5 + 0.01 * std::sqrt(16.0 / 64.0);
  EXPECT_DOUBLE_EQ(three, frontier_score(params, 0.7, 1.5, 16, -0.2));
  params.lambda4 = 0.3;
  EXPECT_DOUBLE_EQ(three + 0.3 * std::tanh(-0.2), frontier_score(params, 0.7, 1.5, 16, -0.2));
  EXPECT_EQ(16, depth_bonus(DepthBonus::kLinear, 16, 64));
  EXPECT_DOUBLE_EQ(std::log(17.0), depth_bonus(DepthBonus::kLog, 16, 64));
  EXPECT_EQ(0, depth_bonus(DepthBonus::kNone, 16, 64));
}

TEST(Selection, FirstOfEqualsWins) {
  const std::vector<Scored> candidates = {{4, 0.5}, {7, 0.75}, {2, 0.75}, {1, 0.1}};
  EXPECT_EQ(7, first_best(candidates));
  EXPECT_TRUE(best_is_tied(candidates));
  EXPECT_FALSE(best_is_tied(std::span(candidates).first(2)));
  EXPECT_EQ(-1, first_best({}));
  EXPECT_EQ(-1, best_by_local_tie({}, {}, LocalTie::kFirst, 0));
}

TEST(TerminalChoice, ClassFirstThenConfidence) {
  const std::vector<TerminalCandidate> wrong = {{1, -1, TerminalClass::kIncomplete, 0.1},
                                                {2, -1, TerminalClass::kWrong, 0.5},
                                                {3, -1, TerminalClass::kWrong, 0.4},
                                                {4, -1, TerminalClass::kWrong, 0.4},
                                                {5, -1, TerminalClass::kWrong, 0.5}};
  EXPECT_EQ(2U, pick_terminal(wrong, NegativeSelection::kMostConfident, 0));
  EXPECT_EQ(1U, pick_terminal(wrong, NegativeSelection::kLeastConfident, 0));
  std::set<size_t> random;
  for (int i = 0; i < 100; ++i) random.insert(pick_terminal(wrong, NegativeSelection::kRandom, i / 100.0));
  EXPECT_EQ((std::set<size_t>{1, 2, 3, 4}), random);
  std::vector<TerminalCandidate> with_correct = wrong;
  with_correct.push_back({6, 1, TerminalClass::kCorrect, 0.9});
  with_correct.push_back({7, 1, TerminalClass::kCorrect, 0.8});
  for (const auto negative :
       {NegativeSelection::kMostConfident, NegativeSelection::kRandom, NegativeSelection::kLeastConfident}) {
    EXPECT_EQ(6U, pick_terminal(with_correct, negative, 0.3)) << "the choice of negatives does not touch solutions";
  }
}

TEST(TerminalChoice, ClassesByVerdictOrByReward) {
  EXPECT_EQ(TerminalClass::kIncomplete, class_of(Outcome::kIncomplete, -1, Classes::kOutcome));
  EXPECT_EQ(TerminalClass::kWrong, class_of(Outcome::kIncomplete, -1, Classes::kReward));
  EXPECT_EQ(TerminalClass::kIncomplete, class_of(Outcome::kIncomplete, -0.5, Classes::kReward));
  EXPECT_EQ(TerminalClass::kCorrect, class_of(Outcome::kCorrect, 1, Classes::kReward));
}

// Counts what describe() lists.
class Lister : public ConfigVisitor {
 public:
  void field(const FieldDoc& doc, bool&) override { list(doc); }
  void field(const FieldDoc& doc, int64_t& value) override { in_range(doc, static_cast<double>(value)); }
  void field(const FieldDoc& doc, double& value) override { in_range(doc, value); }
  void field(const FieldDoc& doc, std::string& value) override {
    list(doc);
    EXPECT_THAT(doc.choices, ::testing::Contains(value)) << doc.key;
    if (set_to_last) value = doc.choices.back();
  }
  void field(const FieldDoc& doc, std::vector<int64_t>&) override { list(doc); }
  void field(const FieldDoc& doc, std::vector<double>&) override { list(doc); }
  void field(const FieldDoc& doc, std::vector<std::string>&) override { list(doc); }
  void table(const TableDoc&, const std::function<void(ConfigVisitor&)>&) override {}

  std::set<std::string> keys;
  bool set_to_last = false;

 private:
  void list(const FieldDoc& doc) {
    EXPECT_TRUE(keys.insert(doc.key).second) << doc.key << " is listed twice";
    EXPECT_GT(doc.meaning.size(), 10U) << doc.key;
  }
  void in_range(const FieldDoc& doc, double value) {
    list(doc);
    EXPECT_GE(value, doc.min) << doc.key;
    EXPECT_LE(value, doc.max) << doc.key;
  }
};

TEST(SearchParams, DescribesEveryKeyOnceWithADefaultInRange) {
  SearchParams params;
  Lister lister;
  params.describe(lister);
  EXPECT_EQ(34U, lister.keys.size());
  Lister setter;
  setter.set_to_last = true;
  params.describe(setter);
  EXPECT_EQ(Order::kUct, params.order);
  EXPECT_EQ(Backup::kSimple, params.backup);
  EXPECT_EQ(When::kNever, params.when);
  EXPECT_EQ(Illegal::kPrune, params.illegal);
}

TEST(TextTree, ShowsValuesVerdictsAndPlaces) {
  const RuleVerifier verifier = hashed_verifier();
  SearchParams params = small_params();
  params.max_depth = 3;
  params.trajectories = 40;
  const TreeRecord record = grow(params, 6, verifier);
  ASSERT_EQ(StopReason::kExhausted, record.stop_reason);
  const auto decode = [](TokenSpan tokens) { return "t" + std::to_string(tokens.size()) + "\nline"; };
  const std::string text = text_tree(record, decode, {.max_nodes = 0});
  EXPECT_EQ(static_cast<int64_t>(record.nodes.size()) + 2, std::count(text.begin(), text.end(), '\n'));
  EXPECT_THAT(text, HasSubstr("stopped: exhausted"));
  EXPECT_THAT(text, HasSubstr("problem: what is it?"));
  EXPECT_THAT(text, HasSubstr("  [1st]"));
  EXPECT_THAT(text, HasSubstr("th*]"));
  EXPECT_THAT(text, HasSubstr("⏎line"));
  EXPECT_THAT(text, HasSubstr("\n  #1 d1  N "));
  EXPECT_THAT(text, HasSubstr("  wrong"));
  const std::string cut = text_tree(record, decode, {.max_nodes = 3, .max_text = 4});
  EXPECT_THAT(cut, HasSubstr(" more nodes"));
  EXPECT_THAT(cut, HasSubstr("…"));
  EXPECT_THAT(text_tree(TreeRecord{}, decode), HasSubstr("0 nodes"));
}

}  // namespace

}  // namespace deepsearch::testing
