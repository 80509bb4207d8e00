// The simulated cluster: nothing is lost, nothing is grown twice, trees are those of one rank alone, and the same
// parameters give the same trace.
#include <algorithm>
#include <map>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "simulate/cluster_simulation.h"
#include "simulate/report.h"

namespace deepsearch {
namespace {

ClusterParams small_cluster(int64_t ranks, int64_t problems) {
  ClusterParams params;
  params.cluster.search_ranks = ranks;
  params.cluster.problems = problems;
  params.cluster.steps = 2;
  params.workload.median_tokens = 600;
  params.workload.problem_spread = 1.2;
  params.workload.token_scale = 64;
  check(params);
  return params;
}

// What a tree is, whoever grew it.
using Trees = std::map<std::pair<int64_t, RecordKind>, std::vector<Token>>;

struct Grown {  // by one simulated cluster
  ClusterTrace trace;
  Trees trees;
  int64_t records = 0;
  int64_t tokens = 0;
};

Grown run(const ClusterParams& params, bool share) {
  Grown grown;
  grown.trace = ClusterSimulation(params, share).run([&grown](const TreeRecord& record) {
    ++grown.records;
    grown.tokens += record.tokens_generated;
    grown.trees[{record.key.problem_index, record.kind}] = record.tokens;
  });
  return grown;
}

TEST(ClusterSimulation, EveryTreeIsFinishedOnceAndTheSameHoweverItIsShared) {
  ClusterParams params = small_cluster(5, 40);
  const Grown alone = run(small_cluster(1, 40), true);
  const Grown shared = run(params, true);
  const Grown unshared = run(params, false);
  EXPECT_EQ(shared.records, 80);
  EXPECT_EQ(shared.trees.size(), 80U);
  EXPECT_EQ(shared.trees, alone.trees);
  EXPECT_EQ(unshared.trees, alone.trees);
  int64_t helped = 0;
  int64_t decoded = 0;
  for (const RankTrace& rank : shared.trace.ranks) {
    helped += rank.sharing.expansions_helped;
    decoded += rank.engine.tokens_generated;
  }
  EXPECT_GT(helped, 10);
  EXPECT_EQ(decoded, shared.tokens);  // nothing is generated twice or in vain
  for (const Grown* one : {&alone, &shared, &unshared}) {
    EXPECT_EQ(one->trace.messages, one->trace.messages_received);
    ASSERT_EQ(one->trace.steps.size(), 2U);
    for (const StepTrace& step : one->trace.steps) {
      EXPECT_EQ(step.finished.size(), 40U);
      EXPECT_TRUE(std::is_sorted(step.finished.begin(), step.finished.end()));
      EXPECT_LT(step.begin, step.finished.front());
      EXPECT_LT(step.searched(), step.learn_end);
      EXPECT_LT(step.learn_end, step.end);
    }
  }
}

TEST(ClusterSimulation, GroupsThatFailAreHandedOverToTrees) {
  ClusterParams params = small_cluster(3, 30);
  params.search.when = When::kGroupFailed;
  params.search.group = 4;
  params.workload.correct = 0.2;
  const Grown shared = run(params, true);
  const int64_t groups = std::count_if(shared.trees.begin(), shared.trees.end(),
                                       [](const auto& tree) { return tree.first.second == RecordKind::kRollouts; });
  EXPECT_EQ(groups, 60);
  EXPECT_GT(shared.records, 60 + 10);  // 0.8⁴ = 41 % fail
  EXPECT_LT(shared.records, 120);
}

TEST(ClusterSimulation, IsDeterministic) {
  const ClusterParams params = small_cluster(4, 32);
  const Grown a = run(params, true);
  const Grown b = run(params, true);
  EXPECT_EQ(a.trace.messages, b.trace.messages);
  EXPECT_EQ(a.trace.steps.back().end, b.trace.steps.back().end);
  EXPECT_EQ(a.trace.steps.back().finished, b.trace.steps.back().finished);
  ClusterParams other = params;
  other.cluster.seed = 2;
  EXPECT_NE(a.trace.steps.back().end, run(other, true).trace.steps.back().end);
}

TEST(ClusterSimulation, FiguresAddUpAndNothingBeatsTheIdeal) {
  for (const int64_t ranks : {1, 3, 8}) {
    const ClusterParams params = small_cluster(ranks, 16 * ranks);
    const std::vector<IdealStep> ideal = ideal_steps(params);
    for (const bool share : {true, false}) {
      const ClusterFigures f = figures_of(params, run(params, share).trace, ideal);
      EXPECT_GE(f.ratio, 1.0);
      EXPECT_LE(f.busy_min, f.busy_mean);
      EXPECT_LE(f.busy_mean, 1 + 1e-9);
      EXPECT_NEAR(f.decoding + f.starting + f.starved + f.tail + f.learning + f.publishing, f.step_seconds,
                  1e-9 * f.step_seconds);
      EXPECT_NEAR(f.decoding, f.whole_mean * f.search_seconds, 1e-9 * f.step_seconds);
    }
  }
}

TEST(ClusterParams, WhatCannotBeSimulatedIsRefused) {
  const auto complaint = [](const std::vector<std::string>& overrides) {
    try {
      read_cluster("", overrides);
    } catch (const Error& error) {
      EXPECT_EQ(error.exit_code(), kExitBadInput);
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_THAT(complaint({"search.branch_rollouts=4"}), ::testing::HasSubstr("[search].branch_rollouts = 4"));
  EXPECT_THAT(complaint({"search.hand_over_gain=2.0"}), ::testing::HasSubstr("[search].hand_over_gain = 2"));
  EXPECT_THAT(complaint({"workload.token_scale=100"}), ::testing::HasSubstr("does not divide [search].step_tokens"));
  EXPECT_THAT(complaint({"cluster.search_ranks=0"}), ::testing::HasSubstr("search_ranks"));
  EXPECT_THAT(complaint({"cluster.ranks=3"}), ::testing::HasSubstr("unknown key"));
  EXPECT_THAT(complaint({"search.max_depth=0"}), ::testing::HasSubstr("max_depth"));
  EXPECT_THAT(complaint({"cluster.steps=16777216", "cluster.problems=16777216"}),
              ::testing::HasSubstr("more problems than a simulation can name"));
  EXPECT_EQ(complaint({}), "");
}

}  // namespace
}  // namespace deepsearch
