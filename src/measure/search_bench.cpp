#include "measure/search_bench.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <utility>
#include <vector>

#include "core/rng.h"
#include "core/timer.h"
#include "search/forest.h"

namespace deepsearch {

namespace {

constexpr int64_t kGroup = 16;  // rollouts sampled together

TreeKey key_of(const Problem& problem, int64_t index, int64_t attempt) {
  return {.round = 0, .step = 0, .problem_index = index, .problem_key = problem.key, .attempt = attempt};
}

int64_t chain_tokens(const TreeRecord& group, int32_t leaf) {
  int64_t tokens = 0;
  for (int32_t node = leaf; node > 0; node = group.nodes[static_cast<size_t>(node)].parent) {
    tokens += group.nodes[static_cast<size_t>(node)].n_tokens;
  }
  return tokens;
}

// One problem answered by rollouts, one after the other as far as counting goes.
struct Attempt {
  Problem problem;
  int64_t index = 0;
  int64_t groups = 0;
  int64_t tokens = 0;
  bool solved = false;
};

void count_group(const TreeRecord& group, Attempt& attempt, int64_t max_tokens) {
  for (const RecordedLeaf& leaf : group.recorded) {
    if (attempt.solved || attempt.tokens >= max_tokens) return;
    attempt.tokens += chain_tokens(group, leaf.leaf);
    attempt.solved = leaf.outcome == Outcome::kCorrect;
  }
}

std::vector<Attempt> run_rollouts(const Config& config, const Task& task, const Verifier& verifier, Engine& engine,
                                  int64_t problems, int64_t max_tokens, const std::function<void(int64_t)>& progress) {
  Forest forest(engine, verifier, config.search, {.seed = static_cast<uint64_t>(config.run.seed)});
  std::vector<Attempt> attempts;
  for (int64_t i = 0; i < problems; ++i) {
    attempts.push_back({.problem = task.problem(Split::kTest, static_cast<uint64_t>(i)), .index = i});
    forest.add_rollouts(attempts.back().problem, key_of(attempts.back().problem, i, 0), kGroup);
  }
  int64_t done = 0;
  while (forest.growing() > 0) {
    forest.pump();
    for (const TreeRecord& group : forest.take_finished()) {
      Attempt& attempt = attempts[static_cast<size_t>(group.key.problem_index)];
      count_group(group, attempt, max_tokens);
      if (attempt.solved || attempt.tokens >= max_tokens) {
        progress(++done);
      } else {
        forest.add_rollouts(attempt.problem, key_of(attempt.problem, attempt.index, ++attempt.groups), kGroup);
      }
    }
  }
  return attempts;
}

std::vector<TreeRecord> run_trees(const Config& config, const Task& task, const Verifier& verifier, Engine& engine,
                                  int64_t problems, int64_t max_tokens, const std::function<void(int64_t)>& progress) {
  SearchParams params = config.search;
  params.token_budget = max_tokens;
  Forest forest(engine, verifier, params, {.seed = static_cast<uint64_t>(config.run.seed), .first_handle = 1ULL << 40});
  for (int64_t i = 0; i < problems; ++i) {
    const Problem problem = task.problem(Split::kTest, static_cast<uint64_t>(i));
    forest.add_tree(problem, key_of(problem, i, 0));
  }
  std::vector<TreeRecord> trees;
  while (forest.growing() > 0) {
    forest.pump();
    for (TreeRecord& tree : forest.take_finished()) trees.push_back(std::move(tree));
    progress(static_cast<int64_t>(trees.size()));
  }
  std::sort(trees.begin(), trees.end(), [](const TreeRecord& a, const TreeRecord& b) { return a.key < b.key; });
  return trees;
}

}  // namespace

double SearchCost::tokens_per_solution() const {
  if (solved == 0) return std::numeric_limits<double>::infinity();
  return static_cast<double>(tokens) / static_cast<double>(solved);
}

SearchBenchResult bench_search(const Config& config, const Task& task, const Verifier& verifier, Engine& engine,
                               int64_t problems, int64_t max_tokens, const std::function<void(int64_t)>& progress) {
  SearchBenchResult result;
  const Stopwatch rollouts_watch;
  const auto attempts = run_rollouts(config, task, verifier, engine, problems, max_tokens, progress);
  result.rollouts.seconds = rollouts_watch.seconds();
  const Stopwatch tree_watch;
  Config until_solved = config;
  until_solved.search.stop_when_solved = true;
  const auto trees = run_trees(until_solved, task, verifier, engine, problems, max_tokens,
                               [&](int64_t done) { progress(problems + done); });
  result.tree.seconds = tree_watch.seconds();
  result.rollouts.problems = result.tree.problems = problems;
  for (size_t i = 0; i < attempts.size(); ++i) {
    const bool solved = has_correct(trees[i]);
    result.rollouts.tokens += attempts[i].tokens;
    result.rollouts.solved += attempts[i].solved ? 1 : 0;
    result.tree.tokens += trees[i].tokens_generated;
    result.tree.solved += solved ? 1 : 0;
    result.saved_by_tree += solved && !attempts[i].solved ? 1 : 0;
  }
  return result;
}

uint64_t tree_signature(const Config& config, const Task& task, const Verifier& verifier, Engine& engine,
                        int64_t trees) {
  Config plain = config;
  plain.search.stop_when_solved = false;  // whole trees
  uint64_t hash = 0;
  for (const TreeRecord& tree : run_trees(plain, task, verifier, engine, trees, 0, [](int64_t) {})) {
    for (const NodeRecord& node : tree.nodes) {
      hash = mix_all(hash, node.parent, node.visits, std::bit_cast<uint64_t>(node.value),
                     std::bit_cast<uint64_t>(node.entropy));
    }
    for (size_t i = 0; i < tree.tokens.size(); ++i) {
      hash = mix_all(hash, tree.tokens[i], std::bit_cast<uint32_t>(tree.logprobs[i]));
    }
  }
  return hash;
}

}  // namespace deepsearch
