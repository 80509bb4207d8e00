// Lengths along a path are those of whole responses, and a function of the request alone.
#include "simulate/workload.h"

#include <algorithm>
#include <cmath>

#include <gtest/gtest.h>

#include "search/forest.h"
#include "simulate/polled_engine.h"

namespace deepsearch {
namespace {

ClusterParams params_with(int64_t token_scale, int64_t step_tokens) {
  ClusterParams params;
  params.workload.token_scale = token_scale;
  params.search.step_tokens = step_tokens;
  params.search.max_depth = 4096;
  check(params);
  return params;
}

// Simulated tokens of each of n rollouts.
std::vector<double> lengths(const ClusterParams& params, int64_t problem, int64_t n) {
  const Workload workload(params);
  testing::ScriptEngine engine(workload.script());
  Forest forest(engine, workload, simulated_search(params), {.seed = 1});
  forest.add_rollouts(workload.problem(problem), {.problem_index = problem}, n);
  while (forest.growing() > 0) forest.pump();
  std::vector<double> found;
  const TreeRecord record = std::move(forest.take_finished().front());
  for (const RecordedLeaf& leaf : record.recorded) {
    found.push_back(static_cast<double>(trajectory_tokens(record, leaf.leaf).size()));
  }
  return found;
}

// Mean and deviation of the logarithms.
std::pair<double, double> log_moments(const std::vector<double>& values) {
  double sum = 0;
  double squares = 0;
  for (const double value : values) {
    sum += std::log(value);
    squares += std::log(value) * std::log(value);
  }
  const double mean = sum / static_cast<double>(values.size());
  return {mean, std::sqrt(squares / static_cast<double>(values.size()) - mean * mean)};
}

TEST(Workload, ResponsesAreLogNormalHoweverTheyAreCutIntoSteps) {
  for (const int64_t step : {int64_t{64}, int64_t{512}, int64_t{65536}}) {
    SCOPED_TRACE(step);
    const ClusterParams params = params_with(4, step);
    const Workload workload(params);
    const auto [mean, deviation] = log_moments(lengths(params, 3, 4000));
    // Standard errors: 0.4/√4000 = 0.0063 and 0.0045; lengths are rounded up to tokens of 4.
    EXPECT_NEAR(mean + std::log(4.0), std::log(workload.median_tokens(3)), 0.03);
    EXPECT_NEAR(deviation, params.workload.response_spread, 0.02);
  }
}

TEST(Workload, MediansAreLogNormalOverProblems) {
  const ClusterParams params;
  const Workload workload(params);
  std::vector<double> medians;
  for (int64_t i = 0; i < 4000; ++i) medians.push_back(workload.median_tokens(i));
  const auto [mean, deviation] = log_moments(medians);
  EXPECT_NEAR(mean, std::log(params.workload.median_tokens), 0.04);
  EXPECT_NEAR(deviation, params.workload.problem_spread, 0.03);
}

TEST(Workload, TheShareOfRightAnswersIsThatAskedFor) {
  ClusterParams params = params_with(16, 256);
  params.workload.correct = 0.3;
  const Workload workload(params);
  const Problem problem = workload.problem(7);
  int right = 0;
  for (Token i = 0; i < 4000; ++i) {
    const std::vector<Token> response = {i, 0, 0};
    right += workload.verify(problem, response, true).outcome == Outcome::kCorrect ? 1 : 0;
    EXPECT_EQ(workload.verify(problem, response, false).outcome, Outcome::kIncomplete);
  }
  EXPECT_NEAR(right / 4000.0, 0.3, 0.03);
}

}  // namespace
}  // namespace deepsearch
