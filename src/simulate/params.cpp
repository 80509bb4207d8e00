#include "simulate/params.h"

#include <limits>

#include "core/config.h"
#include "core/error.h"

namespace deepsearch {

namespace {

constexpr double kAny = std::numeric_limits<double>::infinity();
constexpr double kLittle = 1e-9;  // of what must be more than nothing

}  // namespace

void ClusterShape::describe(ConfigVisitor& v) {
  v.field({.key = "search_ranks", .unit = "ranks", .meaning = "ranks that search", .min = 1, .max = 65536},
          search_ranks);
  v.field({.key = "problems", .unit = "problems", .meaning = "trees of a step", .min = 1, .max = 1 << 24}, problems);
  v.field({.key = "steps", .unit = "steps", .meaning = "steps to simulate", .min = 1, .max = 1 << 24}, steps);
  v.field({.key = "problems_in_flight",
           .unit = "problems",
           .meaning = "problems a rank works on at a time, as [ranks].problems_in_flight of a run",
           .min = 1,
           .max = 65536},
          problems_in_flight);
  v.field({.key = "seed", .unit = "", .meaning = "names all random numbers", .min = 0}, seed);
}

void EngineCost::describe(ConfigVisitor& v) {
  v.field({.key = "step_seconds",
           .unit = "s",
           .meaning = "a decode step of the batch, whatever its size",
           .min = kLittle,
           .max = 1e6},
          step_seconds);
  v.field({.key = "sequence_seconds",
           .unit = "s",
           .meaning = "and for each sequence in the batch, a decode step",
           .min = 0,
           .max = 1e6},
          sequence_seconds);
  v.field({.key = "prefill_token_seconds",
           .unit = "s",
           .meaning = "a token of a prefix whose KV is not there",
           .min = 0,
           .max = 1e6},
          prefill_token_seconds);
  v.field({.key = "max_batch", .unit = "sequences", .meaning = "decoded together", .min = 1, .max = 1 << 20},
          max_batch);
}

void WorkloadParams::describe(ConfigVisitor& v) {
  v.field({.key = "median_tokens",
           .unit = "tokens",
           .meaning = "median response of the median problem (log-normal)",
           .min = 1,
           .max = 1e9},
          median_tokens);
  v.field({.key = "problem_spread",
           .unit = "",
           .meaning = "standard deviation of the logarithm of a problem's median response",
           .min = 0,
           .max = 5},
          problem_spread);
  v.field({.key = "response_spread",
           .unit = "",
           .meaning = "standard deviation of the logarithm of a response's length about its problem's median",
           .min = 0.01,
           .max = 5},
          response_spread);
  v.field({.key = "correct",
           .unit = "",
           .meaning = "probability that a response which ended by itself is right",
           .min = 0,
           .max = 1},
          correct);
  v.field({.key = "prompt_tokens", .unit = "tokens", .meaning = "of a problem", .min = 1, .max = 1 << 24},
          prompt_tokens);
  v.field({.key = "token_scale",
           .unit = "tokens",
           .meaning = "decoded together as one simulated token: larger is coarser and faster",
           .min = 1,
           .max = 65536},
          token_scale);
}

void NetworkParams::describe(ConfigVisitor& v) {
  v.field({.key = "latency_seconds", .unit = "s", .meaning = "of a message between two ranks", .min = 0, .max = 1e6},
          latency_seconds);
  v.field({.key = "bandwidth_gbs", .unit = "GB/s", .meaning = "in and out of each rank", .min = 1e-6, .max = kAny},
          bandwidth_gbs);
  v.field({.key = "message_seconds",
           .unit = "s",
           .meaning = "the coordinator's work for each message that it takes or sends",
           .min = 0,
           .max = 1e6},
          message_seconds);
  v.field(
      {.key = "tree_seconds", .unit = "s", .meaning = "and more for each finished tree it takes", .min = 0, .max = 1e6},
      tree_seconds);
}

void LearnerCost::describe(ConfigVisitor& v) {
  v.field({.key = "tokens_per_second",
           .unit = "tokens/s",
           .meaning = "learnt by all learner ranks together, of recorded trajectories (common prefixes once)",
           .min = 1e-3,
           .max = kAny},
          tokens_per_second);
  v.field({.key = "weights_gb",
           .unit = "GB",
           .meaning = "published to the search ranks after each step, passed on from rank to rank",
           .min = 0,
           .max = 1e6},
          weights_gb);
}

void RealTimeParams::describe(ConfigVisitor& v) {
  v.field({.key = "time_scale",
           .unit = "",
           .meaning = "with --real: seconds on the wall a simulated second takes",
           .min = 1e-6,
           .max = 1e3},
          time_scale);
}

void ClusterParams::describe(ConfigVisitor& v) {
  v.table({.key = "cluster", .meaning = "How many of what."}, [this](ConfigVisitor& t) { cluster.describe(t); });
  v.table({.key = "engine", .meaning = "What a search rank's decode step takes."},
          [this](ConfigVisitor& t) { engine.describe(t); });
  v.table({.key = "workload", .meaning = "How long responses are, and how often they are right."},
          [this](ConfigVisitor& t) { workload.describe(t); });
  v.table({.key = "search", .meaning = "The trees that are grown: the keys of a run's [search]."},
          [this](ConfigVisitor& t) { search.describe(t); });
  v.table({.key = "network", .meaning = "Between any two ranks."}, [this](ConfigVisitor& t) { network.describe(t); });
  v.table({.key = "learner", .meaning = "The other half of a step."},
          [this](ConfigVisitor& t) { learner.describe(t); });
  v.table({.key = "real", .meaning = "The same cluster as processes of this machine."},
          [this](ConfigVisitor& t) { real.describe(t); });
}

ClusterParams read_cluster(const std::string& path, const std::vector<std::string>& overrides) {
  ClusterParams params;
  load_config(path, overrides, [&params](ConfigVisitor& v) { params.describe(v); });
  check(params);
  return params;
}

void check(const ClusterParams& params) {
  check(params.search);
  if (params.search.branch_rollouts > 0) {
    bad_input("[search].branch_rollouts = {}: a simulation has no rollouts from a solution's way; set it to 0",
              params.search.branch_rollouts);
  }
  if (params.search.hand_over_gain > 0) {
    bad_input("[search].hand_over_gain = {}: a simulation hands every failed group over; set it to 0",
              params.search.hand_over_gain);
  }
  const int64_t scale = params.workload.token_scale;
  if (params.search.step_tokens % scale != 0) {
    bad_input("[workload].token_scale = {} does not divide [search].step_tokens = {}", scale,
              params.search.step_tokens);
  }
  if (params.cluster.problems * params.cluster.steps >= std::numeric_limits<Token>::max()) {
    bad_input("[cluster]: {} steps of {} problems are more problems than a simulation can name", params.cluster.steps,
              params.cluster.problems);
  }
}

SearchParams simulated_search(const ClusterParams& params) {
  const int64_t scale = params.workload.token_scale;
  SearchParams search = params.search;
  search.step_tokens /= scale;
  search.token_budget = (search.token_budget + scale - 1) / scale;
  return search;
}

LatencyModel simulated_engine(const ClusterParams& params) {
  const auto scale = static_cast<double>(params.workload.token_scale);
  return {.step_seconds = params.engine.step_seconds * scale,
          .sequence_seconds = params.engine.sequence_seconds * scale,
          .prefill_token_seconds = params.engine.prefill_token_seconds * scale,
          .max_batch = params.engine.max_batch};
}

}  // namespace deepsearch
