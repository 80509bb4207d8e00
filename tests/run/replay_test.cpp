// Replay: what the engine gives a text that it has just sampled is what it sampled it with.
#include <cmath>

#include <gtest/gtest.h>

#include "engine/engine.h"
#include "rounds/replay_group.h"
#include "run/config.h"
#include "run/domain.h"
#include "run/setup.h"
#include "run/verification.h"
#include "search/forest.h"

namespace deepsearch {
namespace {

TEST(Replay, RecomputedLogProbsAreTheSampled) {
  const Config config =
      read_config("", {"task.name=bag", "task.sizes=[6]", "search.max_depth=0", "search.step_tokens=0",
                       "learn.overlong_penalty=0", "model.hidden_size=32", "run.seed=5"});
  const Domain domain = make_domain(config);
  const std::shared_ptr<const Task>& task = domain.task;
  const ModelWeights weights = start_weights(config, *domain.language);
  const std::unique_ptr<Verifier> verifier = make_verifier(config.verify, domain);
  const std::unique_ptr<Engine> engine = make_engine(config.engine, weights.config, 5, 0);
  engine->set_weights(weights, 3);
  Forest forest(*engine, *verifier, config.search, {.seed = 5});
  const Problem problem = task->problem(Split::kTrain, 1);
  forest.add_rollouts(problem, {.step = 1, .problem_key = problem.key}, 60);
  while (forest.growing() > 0) forest.pump();
  const std::vector<TreeRecord> records = forest.take_finished();
  const TreeRecord& sampled = records.at(0);

  std::vector<std::vector<Token>> texts;
  for (const RecordedLeaf& leaf : sampled.recorded) {
    texts.push_back(problem.prompt_tokens);
    const std::vector<Token> response = trajectory_tokens(sampled, leaf.leaf);
    texts.back().insert(texts.back().end(), response.begin(), response.end());
  }
  const std::vector<Scores> scores = engine->score(texts);
  std::vector<ScoredSolution> cached;
  int64_t tokens = 0;
  for (size_t i = 0; i < texts.size(); ++i) {
    const auto n = static_cast<std::ptrdiff_t>(texts[i].size() - problem.prompt_tokens.size());
    tokens += n;
    cached.push_back({.tokens = {texts[i].end() - n, texts[i].end()},
                      .logprobs = {scores[i].logprobs.end() - n, scores[i].logprobs.end()},
                      .entropies = {scores[i].entropies.end() - n, scores[i].entropies.end()}});
  }
  ASSERT_GT(tokens, 100);
  // As one group, both ways: the sampled rollouts behind the same as if they came from the cache.
  const TreeRecord group = make_replay_group(sampled, cached, config.search, 3);
  ASSERT_EQ(group.recorded.size(), 2 * sampled.recorded.size());
  constexpr float kTolerance = 1e-5F;  // fp32, other shapes of the same sums
  for (size_t i = 0; i < sampled.recorded.size(); ++i) {
    const std::vector<int32_t> mine = path_to(group, group.recorded[i].leaf);
    const std::vector<int32_t> theirs = path_to(group, group.recorded[i + sampled.recorded.size()].leaf);
    ASSERT_EQ(mine.size(), theirs.size());
    for (size_t step = 0; step < mine.size(); ++step) {
      const NodeRecord& a = group.nodes[static_cast<size_t>(mine[step])];
      const NodeRecord& b = group.nodes[static_cast<size_t>(theirs[step])];
      ASSERT_EQ(a.n_tokens, b.n_tokens);
      EXPECT_NEAR(a.entropy, b.entropy, kTolerance);
      EXPECT_NEAR(a.logprob, b.logprob, 10 * kTolerance);
      for (int32_t t = 0; t < a.n_tokens; ++t) {
        const auto at_a = static_cast<size_t>(a.first_token + t);
        const auto at_b = static_cast<size_t>(b.first_token + t);
        EXPECT_EQ(group.tokens[at_a], group.tokens[at_b]);
        EXPECT_NEAR(group.logprobs[at_a], group.logprobs[at_b], kTolerance);
        EXPECT_NEAR(group.entropies[at_a], group.entropies[at_b], kTolerance);
        EXPECT_LT(group.logprobs[at_a], 0);
      }
    }
  }
}

}  // namespace
}  // namespace deepsearch
