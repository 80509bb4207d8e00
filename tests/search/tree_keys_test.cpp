// Single keys of [search], budgets, and what a tree does with a generator that breaks its contract.
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "search/grow.h"

namespace deepsearch::testing {

namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// A step of given tokens; `entropy` per token. Ends with the end-of-sequence token when `eos`.
Step step(std::vector<Token> tokens, double entropy = 0.5, bool eos = false) {
  Step made;
  made.tokens = std::move(tokens);
  if (eos) made.tokens.push_back(kEosToken);
  made.logprobs.assign(made.tokens.size(), -0.25F);
  made.entropies.assign(made.tokens.size(), static_cast<float>(entropy));
  made.finish = eos ? Finish::kEos : Finish::kLength;
  return made;
}

// Token 100 + something decides: 101 correct, 102 incomplete when cut, else wrong; 66 is an illegal step, 77 solves.
Outcome by_last_word(TokenSpan response, bool ended) {
  const Token last = ended ? response[response.size() - 2] : response.back();
  if (last == 101) return Outcome::kCorrect;
  return last == 102 && !ended ? Outcome::kIncomplete : Outcome::kWrong;
}
StepState by_step(TokenSpan response) {
  const Token last = response.back() == kEosToken ? response[response.size() - 2] : response.back();
  if (last == 66) return StepState::kDead;
  return last == 77 ? StepState::kSolved : StepState::kAlive;
}
RuleVerifier checked() {
  return RuleVerifier(by_last_word, by_step);
}

SearchParams pair_params() {
  SearchParams params;
  params.max_depth = 4;
  params.step_tokens = 3;
  params.width = 2;
  params.trajectories = 3;
  return params;
}

struct Driven {
  TreeRecord record;
  std::vector<ExpansionRequest> requests;
};

// Grows on a script; where the script has no answer the tree is cancelled.
Driven on_script(ScriptedGenerator& generator, const SearchParams& params, const Verifier& verifier) {
  Tree tree(test_problem(), {}, params, verifier, 1, 3);
  std::vector<Expansion> came;
  while (!tree.done()) {
    while (auto request = tree.next_request()) generator.submit(std::move(*request));
    if (!generator.unanswered.empty()) tree.cancel();
    came.clear();
    generator.poll(came);
    for (Expansion& expansion : came) tree.apply(std::move(expansion));
  }
  return {tree.finish(), generator.requests};
}

std::vector<int32_t> expanded_order(const TreeRecord& record) {
  std::vector<int32_t> order;
  for (const SearchEvent& event : record.events) {
    if (event.kind == EventKind::kExpand) order.push_back(event.node);
  }
  return order;
}

std::vector<int32_t> recorded_leaves(const TreeRecord& record) {
  std::vector<int32_t> leaves;
  for (const RecordedLeaf& leaf : record.recorded) leaves.push_back(leaf.leaf);
  return leaves;
}

TEST(TreeKeys, RequestNamesPathAndPrefix) {
  ScriptedGenerator generator;
  generator.script(0, {step({10, 11, 12}), step({13, 14, 15})});
  generator.script(1, {step({20, 21}), step({22, 23, 24})});
  SearchParams params = pair_params();
  params.temperature = 0.6;
  params.top_p = 0.95;
  const Driven driven = on_script(generator, params, checked());
  ASSERT_EQ(2U, driven.requests.size());
  const ExpansionRequest& root = driven.requests[0];
  EXPECT_EQ(3U, root.tree);
  EXPECT_EQ(2, root.n_children);
  EXPECT_EQ(1, root.first_child);
  EXPECT_EQ(3, root.max_tokens);
  EXPECT_FLOAT_EQ(0.6F, root.temperature);
  EXPECT_FLOAT_EQ(0.95F, root.top_p);
  EXPECT_THAT(root.prefix, ElementsAre(7, 8, 9));
  const ExpansionRequest& second = driven.requests[1];
  EXPECT_EQ(1, second.node);
  EXPECT_EQ(3, second.first_child);
  EXPECT_THAT(second.prefix, ElementsAre(7, 8, 9, 10, 11, 12));
  ASSERT_EQ(2U, second.path.size());
  EXPECT_EQ(0, second.path[0].node);
  EXPECT_EQ(3, second.path[0].n_tokens);
  EXPECT_EQ(1, second.path[1].node);
  EXPECT_EQ(3, second.path[1].n_tokens);
  EXPECT_NE(root.sampling_key, second.sampling_key);
}

TEST(TreeKeys, SamplingKeysAreDistinctAndDependOnSeedKeyAndKind) {
  const SearchParams params = small_params();
  const RuleVerifier verifier = hashed_verifier();
  std::set<uint64_t> keys;
  int64_t requests = 0;
  const auto first_key = [&](uint64_t seed, TreeKey key) {
    Tree tree(test_problem(), key, params, verifier, seed, 1);
    return tree.next_request()->sampling_key;
  };
  for (uint64_t seed : {1, 2}) {
    for (int64_t i = 0; i < 3; ++i) {
      for (const TreeKey& key : {TreeKey{.round = i}, TreeKey{.step = i + 10}, TreeKey{.problem_index = i + 20},
                                 TreeKey{.problem_key = static_cast<uint64_t>(i) + 30}, TreeKey{.attempt = i + 40}}) {
        keys.insert(first_key(seed, key));
        ++requests;
      }
    }
  }
  EXPECT_EQ(requests, static_cast<int64_t>(keys.size()));
  EXPECT_NE(tree_hash(1, RecordKind::kTree, {}), tree_hash(1, RecordKind::kRollouts, {}));
}

TEST(TreeKeys, IllegalChildrenAreRecordedByDefault) {
  ScriptedGenerator generator;
  generator.script(0, {step({66}), step({10})});
  const TreeRecord record = on_script(generator, pair_params(), checked()).record;
  EXPECT_THAT(recorded_leaves(record), ElementsAre(1));
  EXPECT_EQ(Outcome::kWrong, record.nodes[1].outcome);
  EXPECT_EQ(-1, record.nodes[1].value);
}

TEST(TreeKeys, PruneRecordsAnIllegalChildOnlyWhereNoneIsAlive) {
  ScriptedGenerator generator;
  generator.script(0, {step({66}), step({10})});
  generator.script(2, {step({66}, 0.5), step({66}, 0.25)});
  SearchParams params = pair_params();
  params.illegal = Illegal::kPrune;
  const TreeRecord record = on_script(generator, params, checked()).record;
  // Node 1 is dead beside a living one: a terminal, wrong, never recorded, not even to fill a place at the end.
  EXPECT_TRUE(record.nodes[1].terminal);
  EXPECT_EQ(Outcome::kWrong, record.nodes[1].outcome);
  EXPECT_EQ(0, record.nodes[1].visits);
  EXPECT_EQ(StopReason::kExhausted, record.stop_reason);
  EXPECT_THAT(recorded_leaves(record), ElementsAre(4, 3));  // the more confident mistake, then the leftover
  EXPECT_TRUE(record.recorded[1].leftover);
  // With its illegal sibling pruned, the expansion met no terminal: the local rule goes on below node 2.
  EXPECT_THAT(expanded_order(record), ElementsAre(0, 2));
  EXPECT_EQ(EventKind::kSelectLocal, record.events[1].kind);
}

TEST(TreeKeys, PruneLeavesAnIllegalChildOutBesideACorrectOneAndKnowsItByItsEndToo) {
  ScriptedGenerator generator;
  generator.script(0, {step({66}, 0.5, true), step({77})});
  SearchParams params = pair_params();
  params.illegal = Illegal::kPrune;
  const TreeRecord record = on_script(generator, params, checked()).record;
  EXPECT_THAT(recorded_leaves(record), ElementsAre(2));
  EXPECT_EQ(Outcome::kCorrect, record.recorded[0].outcome);
  EXPECT_EQ(StopReason::kExhausted, record.stop_reason);
}

TEST(TreeKeys, PruneRecordsAnOrdinaryMistakeBesideALivingChild) {
  ScriptedGenerator generator;
  generator.script(0, {step({12}, 0.5, true), step({10})});
  SearchParams params = pair_params();
  params.illegal = Illegal::kPrune;
  EXPECT_THAT(recorded_leaves(on_script(generator, params, checked()).record), ElementsAre(1));
}

TEST(TreeKeys, SolvedStepsAreCorrectTerminals) {
  ScriptedGenerator generator;
  generator.script(0, {step({77}), step({10})});
  SearchParams params = pair_params();
  params.stop_when_solved = true;
  const TreeRecord record = on_script(generator, params, checked()).record;
  EXPECT_EQ(StopReason::kSolved, record.stop_reason);
  EXPECT_EQ(1, record.iterations);
  EXPECT_THAT(recorded_leaves(record), ElementsAre(1));
  EXPECT_EQ(1.0, record.recorded[0].reward);
}

TEST(TreeKeys, StopWhenSolvedDoesNotStopAtMistakes) {
  SearchParams params = small_params();
  params.stop_when_solved = true;
  const RuleVerifier verifier = hashed_verifier();
  int64_t solved = 0;
  for (uint64_t seed = 0; seed < 50; ++seed) {
    const TreeRecord record = grow(params, seed, verifier);
    int64_t correct = 0;
    for (const RecordedLeaf& leaf : record.recorded) correct += leaf.outcome == Outcome::kCorrect ? 1 : 0;
    EXPECT_EQ(record.stop_reason == StopReason::kSolved ? 1 : 0, correct);
    EXPECT_EQ(record.stop_reason == StopReason::kSolved, has_correct(record));
    solved += correct;
  }
  EXPECT_GT(solved, 10);
}

TEST(TreeKeys, DeepestExpandsTheDeepestFirstInPreOrder) {
  ScriptedGenerator generator;
  generator.script(0, {step({10}), step({11})});
  generator.script(1, {step({66}), step({12})});
  generator.script(4, {step({66}), step({66})});
  generator.script(2, {step({13}), step({14})});
  generator.script(7, {step({15}), step({16})});
  SearchParams params = pair_params();
  params.order = Order::kDeepest;
  params.illegal = Illegal::kPrune;
  params.trajectories = 10;
  const TreeRecord record = on_script(generator, params, checked()).record;
  EXPECT_THAT(expanded_order(record), ElementsAre(0, 1, 4, 2, 7));
}

TEST(TreeKeys, DistinctChildrenMayBeFewerAndAreNotAskedForAgain) {
  SearchParams params = small_params();
  params.distinct_children = true;
  params.step_tokens = 1;
  params.width = 6;
  const RuleVerifier verifier = hashed_verifier();
  int64_t short_expansions = 0;
  for (uint64_t seed = 0; seed < 30; ++seed) {
    // Three words and the end: never six different children.
    for (int64_t batch : {1, 3}) {
      params.frontier_batch = batch;
      const TreeRecord record = grow(params, seed, verifier, {.eos_probability = 0.1, .vocabulary = 3});
      std::map<int32_t, std::set<Token>> words;
      std::map<int32_t, int64_t> children;
      for (size_t id = 1; id < record.nodes.size(); ++id) {
        const NodeRecord& node = record.nodes[id];
        ASSERT_GE(node.parent, 0);
        ASSERT_LT(node.parent, static_cast<int32_t>(id));
        ++children[node.parent];
        EXPECT_TRUE(words[node.parent].insert(record.tokens[static_cast<size_t>(node.first_token)]).second);
      }
      for (const auto& [node, count] : children) short_expansions += count < params.width ? 1 : 0;
      std::set<int32_t> expanded;
      for (const int32_t node : expanded_order(record)) EXPECT_TRUE(expanded.insert(node).second);
      EXPECT_GT(record.tokens_generated, static_cast<int64_t>(record.tokens.size()));
    }
  }
  EXPECT_GT(short_expansions, 30);
}

TEST(TreeKeys, TokenBudgetEndsTheTreeAfterTheExpansionThatSpendsIt) {
  SearchParams params = small_params();
  params.trajectories = 1000;
  params.max_depth = 50;
  const RuleVerifier verifier = hashed_verifier();
  for (int64_t budget : {1, 50, 200, 1000}) {
    params.token_budget = budget;
    const TreeRecord record = grow(params, 1, verifier);
    EXPECT_EQ(StopReason::kBudget, record.stop_reason);
    EXPECT_GE(record.tokens_generated, budget);
    EXPECT_LT(record.tokens_generated, budget + params.width * params.step_tokens);
    for (const RecordedLeaf& leaf : record.recorded) EXPECT_FALSE(leaf.leftover);
  }
}

TEST(TreeKeys, WidthDecaysWithDepth) {
  SearchParams params;
  params.width_decay = true;
  params.width = 3;
  params.max_depth = 8;  // floor(8/3) = 2 levels a step
  params.min_width = 1;
  params.decay = 1;
  std::vector<int64_t> widths;
  for (int64_t depth = 0; depth < 8; ++depth) widths.push_back(width_at(params, depth));
  EXPECT_THAT(widths, ElementsAre(3, 3, 2, 2, 1, 1, 1, 1));
  params.max_depth = 2;  // floor(2/3) = 0: at least 1
  EXPECT_EQ(2, width_at(params, 1));
  params.width_decay = false;
  EXPECT_EQ(3, width_at(params, 7));
}

TEST(TreeKeys, LocalTiesFollowTheEntropy) {
  for (const auto& [tie, expected] :
       {std::pair{LocalTie::kFirst, 1}, std::pair{LocalTie::kEntropyLow, 2}, std::pair{LocalTie::kEntropyHigh, 3}}) {
    ScriptedGenerator generator;
    generator.script(0, {step({10}, 0.5), step({11}, 0.25), step({12}, 0.75)});
    SearchParams params = pair_params();
    params.width = 3;
    params.local_tie = tie;
    on_script(generator, params, checked());
    ASSERT_EQ(1U, generator.unanswered.size());
    EXPECT_EQ(expected, generator.unanswered[0].node);
  }
}

TEST(TreeKeys, RandomLocalTiesReachEveryChild) {
  std::set<int32_t> chosen;
  for (uint64_t seed = 0; seed < 40; ++seed) {
    SearchParams params = small_params();
    params.local_tie = LocalTie::kRandom;
    const RuleVerifier verifier = checked();
    Tree tree(test_problem(), {}, params, verifier, seed, 3);
    RandomGenerator generator({.eos_probability = 0});
    generator.submit(*tree.next_request());
    std::vector<Expansion> came;
    generator.poll(came);
    tree.apply(std::move(came[0]));
    chosen.insert(tree.next_request()->node);
  }
  EXPECT_EQ((std::set<int32_t>{1, 2, 3}), chosen);
}

TEST(TreeKeys, EntropyIsExactOrSampledAndMayLeaveTheEndOut) {
  for (const bool exact : {true, false}) {
    for (const bool count_eos : {true, false}) {
      Step ending = step({10}, 0.5, true);
      ending.logprobs = {-1.0F, -3.0F};
      ending.entropies = {0.5F, 0.25F};
      ScriptedGenerator generator;
      generator.script(0, {ending, ending});
      SearchParams params = pair_params();
      params.entropy = exact ? EntropyKind::kExact : EntropyKind::kSampled;
      params.count_final_eos = count_eos;
      const TreeRecord record = on_script(generator, params, checked()).record;
      const double expected = exact ? (count_eos ? 0.375 : 0.5) : (count_eos ? 2.0 : 1.0);
      EXPECT_EQ(expected, record.recorded.at(0).entropy);
      EXPECT_EQ(expected, record.nodes[1].entropy);
      EXPECT_EQ(-4.0, record.nodes[1].logprob);
    }
  }
}

TEST(TreeKeys, EndedWithoutAnswerIsWrongNotIncomplete) {
  const RuleVerifier verifier([](TokenSpan, bool) { return Outcome::kIncomplete; });
  SearchParams params = small_params();
  params.incomplete_reward = -0.5;
  const TreeRecord record = grow(params, 4, verifier);
  int64_t wrong = 0;
  int64_t incomplete = 0;
  for (const NodeRecord& node : record.nodes) {
    if (!node.terminal) continue;
    const bool ended = record.tokens[static_cast<size_t>(node.first_token + node.n_tokens - 1)] == kEosToken;
    EXPECT_EQ(ended ? Outcome::kWrong : Outcome::kIncomplete, node.outcome);
    (ended ? wrong : incomplete) += 1;
  }
  EXPECT_GT(wrong, 0);
  EXPECT_GT(incomplete, 0);
  for (const RecordedLeaf& leaf : record.recorded) {
    EXPECT_EQ(leaf.outcome == Outcome::kWrong ? -1.0 : -0.5, leaf.reward);
  }
}

TEST(TreeKeys, CancelKeepsWhatWasRecordedAndIgnoresWhatComesLate) {
  ScriptedGenerator generator;
  generator.script(0, {step({12}, 0.5, true), step({10})});
  const RuleVerifier verifier = checked();
  Tree tree(test_problem(), {}, pair_params(), verifier, 1, 3);
  generator.submit(*tree.next_request());
  std::vector<Expansion> came;
  generator.poll(came);
  tree.apply(came[0]);
  const ExpansionRequest late = *tree.next_request();
  EXPECT_FALSE(tree.next_request().has_value());
  tree.cancel();
  tree.cancel();
  EXPECT_TRUE(tree.done());
  Expansion expansion;
  expansion.tree = 3;
  expansion.node = late.node;
  tree.apply(expansion);
  const TreeRecord record = tree.finish();
  EXPECT_EQ(StopReason::kCancelled, record.stop_reason);
  EXPECT_EQ(3U, record.nodes.size());
  EXPECT_THAT(recorded_leaves(record), ElementsAre(1));
  EXPECT_EQ(EventKind::kStop, record.events.back().kind);
}

TEST(TreeKeys, OldestPolicyVersionIsTheRecords) {
  ScriptedGenerator generator;
  std::vector<Step> children = {step({12}, 0.5, true), step({12}, 0.5, true)};
  children[0].policy_version = 7;
  children[1].policy_version = 5;
  generator.script(0, std::move(children));
  EXPECT_EQ(5, on_script(generator, pair_params(), checked()).record.policy_version);
}

// A generator that breaks its contract is named, not believed.
TEST(TreeKeys, MalformedExpansionsAreErrors) {
  const RuleVerifier verifier = checked();
  const auto error_of = [&](const std::function<void(Expansion&)>& spoil) -> std::string {
    Tree tree(test_problem(), {}, pair_params(), verifier, 1, 3);
    const ExpansionRequest request = *tree.next_request();
    Expansion expansion;
    expansion.tree = request.tree;
    expansion.node = request.node;
    expansion.children = {step({10}), step({11})};
    spoil(expansion);
    try {
      tree.apply(std::move(expansion));
    } catch (const Error& error) {
      EXPECT_EQ(kExitFailure, error.exit_code());
      return error.what();
    }
    return "";
  };
  EXPECT_EQ("", error_of([](Expansion&) {}));
  EXPECT_THAT(error_of([](Expansion& e) { e.tree = 4; }), HasSubstr("not asked for"));
  EXPECT_THAT(error_of([](Expansion& e) { e.node = 1; }), HasSubstr("not asked for"));
  EXPECT_THAT(error_of([](Expansion& e) { e.children.pop_back(); }), HasSubstr("too few"));
  EXPECT_THAT(error_of([](Expansion& e) { e.children.push_back(step({12})); }), HasSubstr("too many"));
  EXPECT_THAT(error_of([](Expansion& e) { e.children[0] = step({}); }), HasSubstr("without tokens"));
  EXPECT_THAT(error_of([](Expansion& e) { e.children[0] = step({1, 3, 4, 5}); }), HasSubstr("step_tokens"));
  EXPECT_THAT(error_of([](Expansion& e) { e.children[0].logprobs.pop_back(); }), HasSubstr("log-prob"));
  EXPECT_THAT(error_of([](Expansion& e) { e.children[1].entropies.clear(); }), HasSubstr("lacks entropies"));
  EXPECT_THAT(error_of([](Expansion& e) { e.children[1].logprobs[0] = std::nanf(""); }), HasSubstr("no number"));
  EXPECT_THAT(error_of([](Expansion& e) { e.children[1].entropies[0] = INFINITY; }), HasSubstr("no number"));
}

TEST(TreeKeys, ParametersThatCannotGrowATreeAreBadInput) {
  const RuleVerifier verifier = checked();
  const auto code_of = [&](const std::function<void(SearchParams&)>& spoil) {
    SearchParams params = pair_params();
    spoil(params);
    try {
      const Tree tree(test_problem(), {}, params, verifier, 1, 3);
    } catch (const Error& error) {
      return error.exit_code();
    }
    return 0;
  };
  EXPECT_EQ(0, code_of([](SearchParams&) {}));
  EXPECT_EQ(kExitBadInput, code_of([](SearchParams& p) { p.max_depth = 0; }));
  EXPECT_EQ(kExitBadInput, code_of([](SearchParams& p) { p.step_tokens = 0; }));
  EXPECT_EQ(kExitBadInput, code_of([](SearchParams& p) { p.width = 0; }));
  EXPECT_EQ(kExitBadInput, code_of([](SearchParams& p) { p.trajectories = 0; }));
  EXPECT_EQ(kExitBadInput, code_of([](SearchParams& p) { p.width_decay = true, p.min_width = 9; }));
}

}  // namespace

}  // namespace deepsearch::testing
