// Credit by values against a brute-force computation on random trees, and what the rules say on small ones.
#include "search/credit_values.h"

#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "core/rng.h"

namespace deepsearch::testing {

namespace {

using ::testing::DoubleEq;
using ::testing::ElementsAre;

int32_t add(TreeRecord& record, int32_t parent, const std::vector<Token>& tokens, Outcome outcome = Outcome::kNone) {
  if (record.nodes.empty()) record.nodes.emplace_back();
  NodeRecord node;
  node.parent = parent;
  node.depth = record.nodes[static_cast<size_t>(parent)].depth + 1;
  node.first_token = static_cast<int32_t>(record.tokens.size());
  node.n_tokens = static_cast<int32_t>(tokens.size());
  node.terminal = outcome != Outcome::kNone;
  node.outcome = outcome;
  record.tokens.insert(record.tokens.end(), tokens.begin(), tokens.end());
  record.nodes.push_back(node);
  const auto id = static_cast<int32_t>(record.nodes.size()) - 1;
  if (node.terminal) {
    const double reward = outcome == Outcome::kCorrect ? 1 : -1;
    record.recorded.push_back({.leaf = id, .reward = reward, .entropy = 0, .outcome = outcome, .leftover = false});
  }
  return id;
}

std::vector<Token> random_step(RandomStream& random) {
  std::vector<Token> tokens(random.below(4));
  for (Token& token : tokens) token = static_cast<Token>(random.below(2));  // alike often
  return tokens;
}

Outcome random_outcome(RandomStream& random) {
  const Outcome kinds[] = {Outcome::kCorrect, Outcome::kWrong, Outcome::kWrong, Outcome::kIncomplete};
  return kinds[random.below(4)];
}

TreeRecord random_tree(RandomStream& random) {
  TreeRecord record;
  record.nodes.emplace_back();
  const int64_t n = random.between(0, 25);
  for (int64_t i = 0; i < n; ++i) {
    int32_t parent = 0;
    do {
      parent = static_cast<int32_t>(random.below(record.nodes.size()));
    } while (record.nodes[static_cast<size_t>(parent)].terminal);
    const bool ends = random.below(2) == 0;
    add(record, parent, random_step(random), ends ? random_outcome(random) : Outcome::kNone);
  }
  std::vector<RecordedLeaf> kept;
  for (const RecordedLeaf& leaf : record.recorded) {
    if (random.below(3) != 0) kept.push_back(leaf);
  }
  record.recorded = kept;
  return record;
}

TreeRecord random_rollouts(RandomStream& random) {
  TreeRecord record;
  record.kind = RecordKind::kRollouts;
  record.nodes.emplace_back();
  const int64_t n = random.between(0, 8);
  for (int64_t i = 0; i < n; ++i) {
    int32_t at = 0;
    const int64_t steps = random.between(1, 4);
    for (int64_t s = 0; s < steps; ++s) {
      at = add(record, at, random_step(random), s + 1 == steps ? random_outcome(random) : Outcome::kNone);
    }
  }
  return record;
}

CreditParams random_credit(RandomStream& random) {
  CreditParams params;
  params.credit = random.below(2) == 0 ? Credit::kSubtree : Credit::kEdge;
  params.advantage_norm = static_cast<AdvantageNorm>(random.below(3));
  params.terminals = random.below(2) == 0 ? Terminals::kRecorded : Terminals::kAll;
  params.overlong = static_cast<Overlong>(random.below(3));
  params.overlong_buffer = 4;
  params.response_budget = 6;
  params.incomplete_reward = random.below(2) == 0 ? -1 : -0.25;
  params.merge_identical = random.below(2) == 0;
  params.merge_prefixes = random.below(2) == 0;
  params.skip_dead = random.below(2) == 0;
  params.value_prior = random.below(2) == 0 ? 0 : 1.5;
  return params;
}

// --- Brute force: a place in a response is a key that equal places of other responses share; everything is found by
// comparing keys of all terminals.

struct Place {
  std::vector<int64_t> key;  // what is common to all that pass here
  int64_t end = 0;           // tokens of the response up to here
};

struct Text {
  std::vector<Place> places;  // from the root's child
  std::vector<int64_t> tokens;
  double reward = 0;
  bool correct = false;
};

bool starts_with(const std::vector<int64_t>& whole, const std::vector<int64_t>& part) {
  return part.size() <= whole.size() && std::equal(part.begin(), part.end(), whole.begin());
}

// Steps: the key is the node's ids, or under merge_identical the tokens of all steps, step ends marked.
Text text_of(const TreeRecord& record, const TrajectoryCredit& trajectory, bool identical) {
  Text text;
  text.reward = trajectory.reward + trajectory.overlong_penalty;
  text.correct = trajectory.outcome == Outcome::kCorrect;
  std::vector<int64_t> key;
  for (const int32_t id : trajectory.path) {
    const NodeRecord& node = record.nodes[static_cast<size_t>(id)];
    for (int32_t i = 0; i < node.n_tokens; ++i) {
      text.tokens.push_back(record.tokens[static_cast<size_t>(node.first_token + i)]);
      if (identical) key.push_back(text.tokens.back());
    }
    key.push_back(identical ? -1 : id);
    text.places.push_back({.key = key, .end = static_cast<int64_t>(text.tokens.size())});
  }
  return text;
}

// Token by token: every length is a place where any text with the same beginning has a step's end or goes on with
// another token.
void cut_where_texts_part(std::vector<Text>& texts) {
  std::vector<std::vector<Place>> cut(texts.size());
  for (size_t a = 0; a < texts.size(); ++a) {
    for (size_t length = 1; length <= texts[a].tokens.size(); ++length) {
      const std::vector<int64_t> begin(texts[a].tokens.begin(), texts[a].tokens.begin() + static_cast<int64_t>(length));
      bool is_place = false;
      for (const Text& other : texts) {
        if (!starts_with(other.tokens, begin)) continue;
        for (const Place& place : other.places) is_place |= place.end == static_cast<int64_t>(length);
        if (length < texts[a].tokens.size() && length < other.tokens.size()) {
          is_place |= other.tokens[length] != texts[a].tokens[length];
        }
      }
      if (is_place) cut[a].push_back({.key = begin, .end = static_cast<int64_t>(length)});
    }
  }
  for (size_t a = 0; a < texts.size(); ++a) texts[a].places = cut[a];
}

struct Values {
  double sum = 0;
  double count = 0;
  int correct = 0;
  int ended = 0;
};

Values below(const std::vector<Text>& texts, const std::vector<int64_t>& key) {
  Values values;
  for (const Text& text : texts) {
    bool passes = key.empty();
    for (const Place& place : text.places) passes |= place.key == key;
    if (!passes) continue;
    values.sum += text.reward;
    values.count += 1;
    values.correct += text.correct ? 1 : 0;
    values.ended += !text.places.empty() && text.places.back().key == key ? 1 : 0;
  }
  return values;
}

double deviation(const std::vector<Text>& texts) {
  double mean = 0;
  double squares = 0;
  for (const Text& text : texts) mean += text.reward / static_cast<double>(texts.size());
  for (const Text& text : texts) squares += std::pow(text.reward - mean, 2) / static_cast<double>(texts.size());
  return std::sqrt(squares);
}

struct Expected {
  std::vector<double> advantages;  // per token
  int64_t trained = 0;
};

Expected expected_of(const std::vector<Text>& texts, const Text& text, const CreditParams& params) {
  Expected expected;
  const Values all = below(texts, {});
  const double root = all.sum / all.count;
  const double spread = deviation(texts);
  const bool divide = params.advantage_norm == AdvantageNorm::kMeanStd;
  double parent_value = root;
  int parent_correct = all.correct;
  int64_t begin = 0;
  for (const Place& place : text.places) {
    const Values here = below(texts, place.key);
    const double prior = here.ended == static_cast<int>(here.count) ? 0 : params.value_prior;
    const double value = (here.sum + prior * parent_value) / (here.count + prior);
    double advantage = value - root;
    if (params.credit == Credit::kEdge) advantage = 2 * value - parent_value - root;
    if (parent_correct == 0) advantage = 0;
    if (divide) advantage = spread < 1e-9 ? 0 : advantage / (spread + 1e-6);
    expected.advantages.insert(expected.advantages.end(), static_cast<size_t>(place.end - begin), advantage);
    if (parent_correct > 0 || !params.skip_dead) expected.trained = place.end;
    parent_value = value;
    parent_correct = here.correct;
    begin = place.end;
  }
  return expected;
}

// Counts what occurred, so that the test cannot pass on trees without it.
struct Seen {
  int trajectories = 0, dead = 0, merged = 0, parted = 0, positive = 0, negative = 0;
};

void compare(const TreeRecord& record, const CreditParams& params, Seen& seen) {
  CreditParams all = params;
  all.terminals = Terminals::kAll;
  const bool by_text = params.merge_prefixes && record.kind == RecordKind::kRollouts;
  std::vector<Text> texts;
  std::vector<int32_t> leaves;
  for (const TrajectoryCredit& terminal : trajectories_of(record, all)) {
    texts.push_back(text_of(record, terminal, params.merge_identical && !by_text));
    leaves.push_back(terminal.leaf);
  }
  if (by_text) cut_where_texts_part(texts);
  for (const TrajectoryCredit& found : credit_of(record, params)) {
    const auto place = std::find(leaves.begin(), leaves.end(), found.leaf) - leaves.begin();
    const Text& text = texts[static_cast<size_t>(place)];
    Expected expected = expected_of(texts, text, params);
    const bool filtered = params.overlong == Overlong::kFilter && found.outcome == Outcome::kIncomplete;
    EXPECT_EQ(filtered ? 0 : expected.trained, found.trained_tokens);
    const std::vector<double> advantages = per_token(found);
    ASSERT_EQ(expected.advantages.size(), advantages.size());
    for (size_t i = 0; i < advantages.size(); ++i) {
      EXPECT_NEAR(expected.advantages[i], advantages[i], 1e-9);
      seen.positive += advantages[i] > 0;
      seen.negative += advantages[i] < 0;
    }
    ++seen.trajectories;
    seen.dead += expected.trained < found.tokens;
    seen.parted += found.path_tokens.size() > found.path.size();
    for (const Place& at : text.places) {
      seen.merged += params.merge_identical && below(texts, at.key).ended > 1;
    }
  }
}

TEST(CreditByValues, IsTheBruteForceOnRandomTrees) {
  RandomStream random(11, RngPurpose::kTests, 3);
  Seen seen;
  for (int trial = 0; trial < 2000; ++trial) {
    SCOPED_TRACE(trial);
    const TreeRecord record = trial % 2 == 0 ? random_tree(random) : random_rollouts(random);
    compare(record, random_credit(random), seen);
    if (HasFailure()) return;
  }
  EXPECT_GT(seen.trajectories, 5000);
  for (const int count : {seen.dead, seen.merged, seen.parted, seen.positive, seen.negative}) EXPECT_GT(count, 300);
}

// The worked tree of docs/learning.md: root – A – {A1 right, A2 wrong}, root – B – {B1 wrong, B2 wrong}, root – C
// wrong.
TreeRecord worked_tree() {
  TreeRecord record;
  const int32_t a = add(record, 0, {10, 11});
  const int32_t b = add(record, 0, {12});
  add(record, 0, {13}, Outcome::kWrong);
  add(record, a, {14}, Outcome::kCorrect);
  add(record, a, {15}, Outcome::kWrong);
  add(record, b, {16}, Outcome::kWrong);
  add(record, b, {17, 18}, Outcome::kWrong);
  return record;
}

TEST(CreditByValues, WorkedTreeOfTheManual) {
  CreditParams params;
  params.credit = Credit::kSubtree;               // V: root −0.6, A 0, B −1
  auto group = credit_of(worked_tree(), params);  // C, A1, A2, B1, B2
  EXPECT_THAT(group[0].advantages, ElementsAre(DoubleEq(-0.4)));
  EXPECT_THAT(group[1].advantages, ElementsAre(DoubleEq(0.6), DoubleEq(1.6)));
  EXPECT_THAT(group[2].advantages, ElementsAre(DoubleEq(0.6), DoubleEq(-0.4)));
  EXPECT_THAT(group[3].advantages, ElementsAre(DoubleEq(-0.4), 0));
  params.credit = Credit::kEdge;
  group = credit_of(worked_tree(), params);
  EXPECT_THAT(group[0].advantages, ElementsAre(DoubleEq(-0.8)));
  EXPECT_THAT(group[1].advantages, ElementsAre(DoubleEq(1.2), DoubleEq(2.6)));
  EXPECT_THAT(group[2].advantages, ElementsAre(DoubleEq(1.2), DoubleEq(-1.4)));
  EXPECT_THAT(group[3].advantages, ElementsAre(DoubleEq(-0.8), 0));
  EXPECT_EQ(3, group[4].trained_tokens);
  params.skip_dead = true;
  EXPECT_EQ(1, credit_of(worked_tree(), params)[4].trained_tokens) << "the step into the dead subtree is judged";
  params.value_prior = 2;  // A: (0 + 2·(−0.6))/(2 + 2) = −0.3
  EXPECT_THAT(credit_of(worked_tree(), params)[1].scores, ElementsAre(DoubleEq(-0.3), DoubleEq(1)));
}

// Two rollouts agree for one and a half steps of two tokens.
TEST(CreditByValues, RolloutsBecomeATreeByTheirPrefixes) {
  TreeRecord record;
  record.kind = RecordKind::kRollouts;
  add(record, add(record, 0, {1, 2}), {3, 4}, Outcome::kCorrect);
  add(record, add(record, 0, {1, 2}), {3, 5}, Outcome::kWrong);
  add(record, add(record, 0, {9, 2}), {3, 4}, Outcome::kWrong);
  CreditParams params;
  params.credit = Credit::kSubtree;
  params.merge_prefixes = true;
  const auto group = credit_of(record, params);
  const double root = -1.0 / 3;
  EXPECT_THAT(group[0].path_tokens, ElementsAre(2, 1, 1));
  EXPECT_THAT(per_token(group[0]), ElementsAre(DoubleEq(-root), DoubleEq(-root), DoubleEq(-root), DoubleEq(1 - root)));
  EXPECT_THAT(per_token(group[1]), ElementsAre(DoubleEq(-root), DoubleEq(-root), DoubleEq(-root), DoubleEq(-1 - root)));
  EXPECT_THAT(per_token(group[2]), ElementsAre(DoubleEq(-1 - root), DoubleEq(-1 - root), 0, 0));
  record.kind = RecordKind::kTree;
  EXPECT_THAT(credit_of(record, params)[0].path_tokens, ElementsAre(2, 2)) << "trees keep their nodes";
}

TEST(CreditByValues, NothingToCompareIsDefined) {
  for (const bool prefixes : {false, true}) {
    for (const AdvantageNorm norm : {AdvantageNorm::kNone, AdvantageNorm::kMean, AdvantageNorm::kMeanStd}) {
      CreditParams params;
      params.credit = Credit::kEdge;
      params.advantage_norm = norm;
      params.merge_identical = true;
      params.merge_prefixes = prefixes;
      params.skip_dead = true;
      params.value_prior = 1;
      EXPECT_TRUE(credit_of(TreeRecord{}, params).empty());
      EXPECT_FALSE(teaches(TreeRecord{}, params));
      for (const Outcome outcome : {Outcome::kCorrect, Outcome::kWrong}) {
        TreeRecord record;
        record.kind = RecordKind::kRollouts;
        for (int i = 0; i < 3; ++i) add(record, add(record, 0, {1, 2}), {3, i}, outcome);
        for (const auto& trajectory : credit_of(record, params)) {
          EXPECT_THAT(trajectory.advantages, ::testing::Each(0.0));
          EXPECT_EQ(outcome == Outcome::kCorrect ? 4 : 0, trajectory.trained_tokens);
        }
        EXPECT_EQ(outcome == Outcome::kCorrect, teaches(record, params)) << "a tree without a solution is all dead";
        params.skip_uniform = true;
        EXPECT_FALSE(teaches(record, params));
        params.skip_uniform = false;
      }
      TreeRecord unrecorded = worked_tree();
      unrecorded.recorded.clear();
      EXPECT_TRUE(credit_of(unrecorded, params).empty());
      EXPECT_FALSE(teaches(unrecorded, params));
      params.terminals = Terminals::kAll;
      EXPECT_TRUE(teaches(unrecorded, params));
    }
  }
}

TEST(CreditByValues, ComparesAllTerminalsWhateverIsTrained) {
  TreeRecord record = worked_tree();
  record.recorded = {record.recorded[1]};  // A1, the right one
  CreditParams params;
  params.credit = Credit::kNode;
  EXPECT_TRUE(is_uniform(record, params));
  params.credit = Credit::kSubtree;
  EXPECT_FALSE(is_uniform(record, params)) << "its values come from the wrong ones too";
}

// Each record goes as it would if its own credit were the only one.
TEST(CreditByValues, RolloutsMayHaveACreditOfTheirOwn) {
  TreeRecord tree = worked_tree();
  TreeRecord rollouts = worked_tree();
  rollouts.kind = RecordKind::kRollouts;
  const auto advantages = [](const TreeRecord& record, const CreditParams& params) {
    std::vector<double> all;
    for (const auto& trajectory : credit_of(record, params)) {
      all.insert(all.end(), trajectory.advantages.begin(), trajectory.advantages.end());
    }
    return all;
  };
  const std::pair<RolloutCredit, Credit> pairs[] = {{RolloutCredit::kOutcome, Credit::kOutcome},
                                                    {RolloutCredit::kSubtree, Credit::kSubtree},
                                                    {RolloutCredit::kEdge, Credit::kEdge}};
  for (const Credit credit : {Credit::kNode, Credit::kSiblings, Credit::kEdge, Credit::kOutcome}) {
    CreditParams alone;
    alone.credit = credit;
    for (const auto& [rollout_credit, same] : pairs) {
      CreditParams params = alone;
      params.rollout_credit = rollout_credit;
      CreditParams only;
      only.credit = same;
      EXPECT_EQ(advantages(tree, params), advantages(tree, alone));
      EXPECT_EQ(advantages(rollouts, params), advantages(rollouts, only));
      EXPECT_EQ(credit_for(rollouts, params), same);
    }
  }
}

TEST(CreditByValues, KeysThatNeedItSaySo) {
  const auto refused = [](const auto& set) {
    CreditParams params;
    EXPECT_NO_THROW(check(params));
    set(params);
    EXPECT_THROW(check(params), Error);
    params.credit = Credit::kOutcome;
    EXPECT_THROW(check(params), Error);
    params.rollout_credit = RolloutCredit::kEdge;
    EXPECT_NO_THROW(check(params));
    params.credit = Credit::kEdge;
    params.rollout_credit = RolloutCredit::kOutcome;
    EXPECT_NO_THROW(check(params));
  };
  refused([](CreditParams& params) { params.merge_identical = true; });
  refused([](CreditParams& params) { params.merge_prefixes = true; });
  refused([](CreditParams& params) { params.skip_dead = true; });
  refused([](CreditParams& params) { params.value_prior = 0.5; });
}

}  // namespace

}  // namespace deepsearch::testing
