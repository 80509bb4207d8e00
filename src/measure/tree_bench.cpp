#include "measure/tree_bench.h"

#include <algorithm>
#include <span>
#include <utility>

#include "core/error.h"
#include "core/rng.h"
#include "core/timer.h"
#include "search/selection.h"
#include "search/tree.h"

namespace deepsearch {

namespace {

// Every response is wrong, at once.
class Wrong : public Verifier {
 public:
  Verdict verify(const Problem&, TokenSpan, bool) const override {
    return {.outcome = Outcome::kWrong, .extracted = {}, .why = {}};
  }
};

// Steps of full length, their tokens and entropies drawn by the request's own key.
Expansion answer(const ExpansionRequest& request) {
  Expansion expansion;
  expansion.tree = request.tree;
  expansion.node = request.node;
  RandomStream random(request.sampling_key, RngPurpose::kTests, 0);
  for (int32_t child = 0; child < request.n_children; ++child) {
    Step step;
    for (int32_t i = 0; i < request.max_tokens; ++i) {
      step.tokens.push_back(static_cast<Token>(3 + random.below(32000)));
      step.logprobs.push_back(-1.0F);
      step.entropies.push_back(static_cast<float>(random.below(1000)) / 500.0F);
    }
    expansion.children.push_back(std::move(step));
  }
  expansion.tokens_generated = int64_t{request.n_children} * request.max_tokens;
  return expansion;
}

const Node& at(std::span<const Node> nodes, int32_t id) {
  return nodes[static_cast<size_t>(id)];
}

double score_of(std::span<const Node> nodes, const SearchParams& params, const Node& node) {
  if (params.order == Order::kDeepest) return node.depth;
  return frontier_score(params, at(nodes, node.parent).mean(), node.entropy, node.depth, node.mean());
}

// The whole tree in pre-order; of the frontier the first of the best.
int32_t walk_everything(std::span<const Node> nodes, const SearchParams& params) {
  std::vector<int32_t> stack = {0};
  int32_t best = -1;
  double best_score = 0;
  while (!stack.empty()) {
    const int32_t id = stack.back();
    stack.pop_back();
    const Node& node = at(nodes, id);
    if (id > 0) {
      const double score = score_of(nodes, params, node);
      if (node.frontier && (best < 0 || score > best_score)) {
        best = id;
        best_score = score;
      }
    }
    stack.insert(stack.end(), node.children.rbegin(), node.children.rend());
  }
  return best;
}

int32_t select(std::span<const Node> nodes, const SearchParams& params, std::vector<Scored>& candidates) {
  if (params.order == Order::kDeepest) {
    list_depths(nodes, candidates);
  } else {
    list_frontier(nodes, params, params.frontier_only, candidates);
  }
  return first_best(candidates);
}

// UCT goes down one path: a level's open children, then the best one's.
int32_t select_by_walk(std::span<const Node> nodes, const SearchParams& params, std::vector<Scored>& candidates) {
  int32_t node = 0;
  while (!at(nodes, node).frontier) {
    list_open_children(nodes, node, params.uct_c, candidates);
    node = first_best(candidates);
  }
  return node;
}

// Mean seconds of `work`, repeated until it has taken a hundredth of a second.
template <class Work>
double seconds_of(Work work) {
  const Stopwatch watch;
  int64_t times = 0;
  do {
    work();
    ++times;
  } while (watch.seconds() < 0.01);
  return watch.seconds() / static_cast<double>(times);
}

TreeBenchRow row_of(const Tree& tree, const SearchParams& params, double expansion_seconds) {
  const std::span<const Node> nodes = tree.nodes();
  TreeBenchRow row{.rule = {}, .nodes = static_cast<int64_t>(nodes.size()), .expansion_seconds = expansion_seconds};
  row.frontier = std::count_if(nodes.begin(), nodes.end(), [](const Node& node) { return node.frontier; });
  std::vector<Scored> candidates;
  int32_t chosen = -1;
  int32_t walked = -1;
  if (params.order == Order::kUct) {
    row.select_seconds = seconds_of([&] { chosen = select_by_walk(nodes, params, candidates); });
  } else {
    row.select_seconds = seconds_of([&] { chosen = select(nodes, params, candidates); });
  }
  row.walk_seconds = seconds_of([&] { walked = walk_everything(nodes, params); });
  if (params.order != Order::kUct && chosen != walked) {
    failure("bench tree: the selection chose node {}, a walk over the whole tree {}", chosen, walked);
  }
  return row;
}

// Grows one tree through all sizes.
void bench_order(const TreeBenchParams& params, Order order, const std::string& rule, std::vector<TreeBenchRow>& rows) {
  SearchParams search;
  search.order = order;
  search.width = params.width;
  search.step_tokens = params.step_tokens;
  search.max_depth = params.max_depth;
  search.trajectories = params.sizes.back();  // never enough
  const Wrong verifier;
  Problem problem;
  problem.prompt_tokens.assign(64, Token{3});
  Tree tree(std::move(problem), {}, search, verifier, /*seed=*/1, /*handle=*/1);
  double seconds = 0;
  int64_t expansions = 0;
  size_t next = 0;
  while (next < params.sizes.size() && !tree.done()) {
    const double start = now_seconds();
    const ExpansionRequest request = tree.next_request().value();
    const double asked = now_seconds();
    Expansion expansion = answer(request);
    const double answered = now_seconds();
    tree.apply(std::move(expansion));
    const auto size = static_cast<int64_t>(tree.nodes().size());
    if (10 * size >= 9 * params.sizes[next]) {
      seconds += asked - start + now_seconds() - answered;
      ++expansions;
    }
    if (size < params.sizes[next]) continue;
    rows.push_back(row_of(tree, search, seconds / static_cast<double>(expansions)));
    rows.back().rule = rule;
    seconds = 0;
    expansions = 0;
    ++next;
  }
}

}  // namespace

std::vector<TreeBenchRow> bench_tree(const TreeBenchParams& params) {
  std::vector<TreeBenchRow> rows;
  bench_order(params, Order::kFrontier, "frontier", rows);
  bench_order(params, Order::kDeepest, "deepest", rows);
  bench_order(params, Order::kUct, "uct", rows);
  return rows;
}

}  // namespace deepsearch
