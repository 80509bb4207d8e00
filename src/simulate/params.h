// cluster.toml: what `deepsearch simulate` takes a cluster to be. Seconds are simulated ones; tokens are real tokens,
// of which `[workload].token_scale` are decoded together as one simulated token.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/config_visitor.h"
#include "search/params.h"
#include "simulate/latency_model.h"

namespace deepsearch {

// [cluster]: how many of what.
struct ClusterShape {
  int64_t search_ranks = 2;
  int64_t problems = 64;  // of a step
  int64_t steps = 1;
  int64_t problems_in_flight = 64;  // as [ranks].problems_in_flight of a run
  int64_t seed = 1;

  void describe(ConfigVisitor& v);
};

// [engine]: what a decode step takes.
struct EngineCost {
  double step_seconds = 0.008;
  double sequence_seconds = 2e-5;
  double prefill_token_seconds = 1e-5;
  int64_t max_batch = 256;

  void describe(ConfigVisitor& v);
};

// [workload]: how long responses are, and how often they are right.
struct WorkloadParams {
  double median_tokens = 1500;   // of a response, over problems
  double problem_spread = 0.6;   // deviation of the logarithm of a problem's median
  double response_spread = 0.4;  // … of a response's length about its problem's median
  double correct = 0.3;          // probability that a response which ended is right
  int64_t prompt_tokens = 192;
  int64_t token_scale = 64;

  void describe(ConfigVisitor& v);
};

// [network]: between any two ranks.
struct NetworkParams {
  double latency_seconds = 2e-6;
  double bandwidth_gbs = 12.5;
  double message_seconds = 2e-5;  // the coordinator's work for a message it takes or sends
  double tree_seconds = 1e-4;     // … and more for a finished tree

  void describe(ConfigVisitor& v);
};

// [learner]: the step's other half.
struct LearnerCost {
  double tokens_per_second = 200000;  // of all learner ranks together, over the tokens of recorded trajectories
  double weights_gb = 3.1;            // published to every search rank after a step

  void describe(ConfigVisitor& v);
};

// [real]: the same cluster as processes on this machine (`--real`).
struct RealTimeParams {
  double time_scale = 0.05;  // seconds on the wall a simulated second takes

  void describe(ConfigVisitor& v);
};

struct ClusterParams {
  ClusterShape cluster;
  EngineCost engine;
  WorkloadParams workload;
  SearchParams search;
  NetworkParams network;
  LearnerCost learner;
  RealTimeParams real;

  void describe(ConfigVisitor& v);
};

// Reads and checks; bad_input for what cannot be simulated. `path` "": defaults.
ClusterParams read_cluster(const std::string& path, const std::vector<std::string>& overrides);
void check(const ClusterParams& params);

// In simulated tokens: [search] with its token counts divided by token_scale, and the engine with its times multiplied.
SearchParams simulated_search(const ClusterParams& params);
LatencyModel simulated_engine(const ClusterParams& params);

}  // namespace deepsearch
