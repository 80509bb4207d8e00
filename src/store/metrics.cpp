#include "store/metrics.h"

#include <algorithm>

#include "core/error.h"
#include "store/schema.h"

namespace deepsearch {
namespace {

struct Metric {
  const char* name;
  const char* units;
  const char* description;
};

const std::vector<Metric> kShared = {
    {"step", "optimisation steps", "step the row belongs to; of an evaluation: steps done before it"},
    {"round", "", "round of filter, search and learning"},
    {"elapsed", "s", "wall time since the run began, earlier attempts of a resumed run included"},
    {"tokens_generated", "tokens",
     "sampled; learner and eval: by the whole run so far, search: by the rank in this step"},
    {"tokens_trained", "tokens", "response tokens that went through the loss, by the whole run so far"},
    {"cost", "tokens", "tokens_generated + 3 x tokens_trained, the cost rule of comparisons"},
    {"problems", "problems", "different problems in the row"},
    {"trees", "trees", "trees and groups of rollouts; search: trees only"},
    {"seconds_total", "s", "wall time of the step"},
    {"reward_mean", "", "mean reward of the trajectories"},
    {"samples", "samples", "responses per problem"},
    {"hard_problems", "problems", "of the round's hard set"},
    {"cached_problems", "problems", "that have cached solutions"},
    {"replayed_groups", "groups", "with cached solutions; learner: of this step, rounds: of the whole run so far"},
    {"replayed_tokens", "tokens", "of the cached solutions in them, which were not generated"},
    {"saved_tokens", "tokens",
     "that replayed groups took less than problems without cached solutions did in the same step, on average"},
};
const std::vector<Metric> kLearner = {
    {"policy_version", "optimisation steps", "version the step made"},
    {"trajectories", "trajectories", "trained on"},
    {"trained_tokens", "tokens", "response tokens in this step's loss"},
    {"row_tokens", "tokens", "prompts included, one row a trajectory: what the step takes without packing"},
    {"computed_tokens", "tokens", "that the learner's network computed"},
    {"loss", "", "mean over the step's tokens"},
    {"policy_loss", "", "part of the loss that is the policy gradient"},
    {"policy_entropy", "nats per token", "mean entropy of the policy at the trained tokens"},
    {"grad_norm", "", "global gradient norm before clipping"},
    {"clip_fraction", "fraction", "of the tokens whose ratio was clipped"},
    {"clip_low_fraction", "fraction", "of the tokens held by 1 - clip_low"},
    {"clip_high_fraction", "fraction", "of the tokens held by 1 + clip_high"},
    {"dual_clip_fraction", "fraction", "of the tokens bounded by the dual clip"},
    {"approx_kl", "nats per token", "mean of ln pi_behaviour - ln pi over the tokens"},
    {"reference_kl", "nats per token", "estimate of KL(pi, reference policy); 0 without one"},
    {"ratio_mean", "", "mean rho over the tokens"},
    {"ratio_std", "", "its deviation"},
    {"ratio_min", "", "smallest rho of a token"},
    {"ratio_max", "", "largest rho of a token"},
    {"importance_mean", "", "mean weight of recomputed against the sampler's probabilities; 1 without"},
    {"mismatch_kl", "nats per token",
     "between the behaviour log-probabilities and the learner's before its first update"},
    {"mismatch_mean", "nats", "mean |difference| of those log-probabilities"},
    {"mismatch_max", "nats", "largest |difference| of those log-probabilities"},
    {"lr", "", "learning rate of the step"},
    {"advantage_mean", "", "over the trained tokens"},
    {"advantage_std", "", "over the trained tokens"},
    {"positive_fraction", "fraction", "of the trained tokens with a positive advantage"},
    {"solved_fraction", "fraction", "of the problems with a correct trajectory"},
    {"uniform_fraction", "fraction", "of the trees whose recorded trajectories all have one reward"},
    {"skipped_steps", "steps", "steps without an update so far (nothing to learn, gradient not finite)"},
    {"skipped_updates", "updates", "of this step, their loss or gradient not finite"},
    {"hand_over_ratio", "",
     "tokens of a mixed group of rollouts over those of a solved tree, before the step ([search].hand_over_gain); −1: "
     "unknown"},
    {"dropped_problems", "problems", "whose trees were too old by [learn].max_staleness"},
    {"staleness", "optimisation steps", "largest age of a policy that sampled a trained token"},
    {"staleness_mean", "optimisation steps", "mean age of the policies that sampled the trained tokens"},
    {"dropped_trajectories", "trajectories", "left out by the safeguard in this step"},
    {"cached_trajectories", "trajectories", "taken from the solution cache in this step"},
    {"seconds_wait", "s", "waiting for trees"},
    {"seconds_learn", "s", "forward, backward and optimiser"},
    {"seconds_sync", "s", "of these, learner 0's wait for gradients and weights of other learners"},
    {"seconds_weights", "s", "sending weights to the search ranks"},
    {"seconds_logging", "s", "writing HDF5 and text logs"},
    {"seconds_checkpoint", "s", "writing checkpoints"},
    {"learn_tokens_per_second", "tokens/s", "row_tokens over seconds_learn"},
    {"model_tflops", "TFLOP/s", "of forward and backward over seconds_learn, all learners"},
    {"model_flop_utilization", "fraction", "of what the learners' devices can do at most; 0 where that is not known"},
};
const std::vector<Metric> kSearch = {
    {"rank", "", "world rank"},
    {"groups", "groups", "groups of plain rollouts"},
    {"tokens_prefilled", "tokens", "prompt and prefix tokens computed without sampling"},
    {"tokens_recomputed", "tokens", "computed again: evicted, dropped at new weights, or run for their logits"},
    {"prefix_tokens", "tokens", "that expansions continued from: what would be computed without a KV cache"},
    {"nodes_evicted", "nodes", "whose KV was given up under memory pressure"},
    {"kv_bytes_peak", "bytes", "most KV held at once since the start"},
    {"expansions_lent", "expansions", "of its trees, made by other ranks"},
    {"expansions_helped", "expansions", "made for trees of other ranks"},
    {"seconds_generating", "s", "inside the engine"},
    {"seconds_helping", "s", "inside the engine, with nothing but work for other ranks"},
    {"seconds_verifying", "s", "inside the verifier"},
    {"seconds_bookkeeping", "s", "selection, backup, records"},
    {"seconds_waiting", "s", "without work"},
    {"tree_depth_mean", "nodes", "mean depth of recorded terminals"},
    {"tree_entropy_mean", "nats per token", "mean entropy of recorded trajectories"},
    {"tree_reward_mean", "", "mean reward of recorded trajectories"},
    {"tree_iterations_mean", "expansions", "mean per tree"},
    {"tree_seconds_mean", "s", "mean wall time of a tree"},
    {"tokens_per_second", "tokens/s", "tokens_generated over seconds_total"},
};
const std::vector<Metric> kEval = {
    {"pass_at_1", "fraction", "mean correctness of a sample"},
    {"pass_at_k", "fraction", "of the problems, unbiased estimate for k of the samples"},
    {"k", "samples", "the k of pass_at_k"},
    {"temperature", "", "of sampling"},
    {"response_tokens_mean", "tokens", "mean length of a response"},
    {"truncated_fraction", "fraction", "of the responses that were cut off"},
    {"entropy_mean", "nats per token", "mean over responses of their mean token entropy"},
    {"split_test", "", "1: held-out problems, 0: training problems"},
};

const std::vector<Metric> kRounds = {
    {"unsolved_problems", "problems", "without a correct response"},
    {"always_solved_problems", "problems", "all of whose responses were correct"},
    {"pass_rate_mean", "fraction", "of the responses that were correct: mean Pass1@K"},
    {"cached_solutions", "trajectories", "in the replay cache"},
    {"cache_bytes", "bytes", "of the replay cache"},
    {"evicted_solutions", "trajectories", "that the replay cache gave up so far, being full"},
};

const std::map<std::string, std::vector<std::string>> kTables = {
    {"learner",
     {"step",
      "round",
      "policy_version",
      "problems",
      "trees",
      "trajectories",
      "trained_tokens",
      "row_tokens",
      "computed_tokens",
      "loss",
      "policy_loss",
      "policy_entropy",
      "grad_norm",
      "clip_fraction",
      "clip_low_fraction",
      "clip_high_fraction",
      "dual_clip_fraction",
      "approx_kl",
      "reference_kl",
      "ratio_mean",
      "ratio_std",
      "ratio_min",
      "ratio_max",
      "importance_mean",
      "mismatch_kl",
      "mismatch_mean",
      "mismatch_max",
      "lr",
      "advantage_mean",
      "advantage_std",
      "positive_fraction",
      "reward_mean",
      "solved_fraction",
      "uniform_fraction",
      "skipped_steps",
      "skipped_updates",
      "dropped_problems",
      "hand_over_ratio",
      "staleness",
      "staleness_mean",
      "dropped_trajectories",
      "cached_trajectories",
      "hard_problems",
      "cached_problems",
      "replayed_groups",
      "replayed_tokens",
      "saved_tokens",
      "seconds_wait",
      "seconds_learn",
      "seconds_sync",
      "seconds_weights",
      "seconds_logging",
      "seconds_checkpoint",
      "seconds_total",
      "learn_tokens_per_second",
      "model_tflops",
      "model_flop_utilization",
      "elapsed",
      "tokens_generated",
      "tokens_trained",
      "cost"}},
    {"search",
     {"step",
      "rank",
      "trees",
      "groups",
      "tokens_generated",
      "tokens_prefilled",
      "tokens_recomputed",
      "prefix_tokens",
      "nodes_evicted",
      "kv_bytes_peak",
      "expansions_lent",
      "expansions_helped",
      "seconds_total",
      "seconds_generating",
      "seconds_helping",
      "seconds_verifying",
      "seconds_bookkeeping",
      "seconds_logging",
      "seconds_waiting",
      "tree_depth_mean",
      "tree_entropy_mean",
      "tree_reward_mean",
      "tree_iterations_mean",
      "tree_seconds_mean",
      "tokens_per_second"}},
    {"eval",
     {"step", "elapsed", "tokens_generated", "tokens_trained", "cost", "pass_at_1", "pass_at_k", "k", "problems",
      "samples", "temperature", "reward_mean", "response_tokens_mean", "truncated_fraction", "entropy_mean",
      "split_test"}},
    {"rounds",
     {"step", "round", "elapsed", "tokens_generated", "problems", "samples", "hard_problems", "unsolved_problems",
      "always_solved_problems", "pass_rate_mean", "cached_problems", "cached_solutions", "cache_bytes",
      "evicted_solutions", "replayed_groups", "replayed_tokens", "saved_tokens"}},
};
const std::map<std::string, std::string> kTableDescriptions = {
    {"learner", "one row an optimisation step"},
    {"search", "one row a step and search rank: where its time went, and how its trees look"},
    {"eval", "one row an evaluation"},
    {"rounds", "one row a round: what its filter found"},
};

}  // namespace

const std::map<std::string, MetricDoc>& metric_docs() {
  static const std::map<std::string, MetricDoc> docs = [] {
    std::map<std::string, MetricDoc> all;
    for (const auto* metrics : {&kShared, &kLearner, &kSearch, &kEval, &kRounds}) {
      for (const Metric& metric : *metrics) all[metric.name] = MetricDoc{metric.units, metric.description};
    }
    return all;
  }();
  return docs;
}

const std::vector<std::string>& metric_columns(const std::string& table) {
  const auto found = kTables.find(table);
  if (found == kTables.end()) failure("no metrics table '{}'; there are learner, search, eval and rounds", table);
  return found->second;
}

const std::vector<std::string>& metric_tables() {
  static const std::vector<std::string> names = {"learner", "search", "eval", "rounds"};
  return names;
}

TableSchema metrics_schema(const std::string& table, const std::vector<std::string>& columns) {
  metric_columns(table);  // the table is known
  TableSchema schema{"/metrics/" + table, kTableDescriptions.at(table), 256, 0, {}};
  for (const std::string& name : columns) {
    const auto doc = metric_docs().find(name);
    if (doc == metric_docs().end()) failure("metrics table '{}': no column '{}' in store/metrics.cpp", table, name);
    const bool repeated = std::count(columns.begin(), columns.end(), name) > 1;
    if (repeated) failure("metrics table '{}': the column '{}' is named twice", table, name);
    schema.columns.push_back({name, ColumnKind::kFloat64, 8, {}, doc->second.units, doc->second.description});
  }
  if (schema.columns.empty()) failure("metrics table '{}': no columns", table);
  return schema;
}

}  // namespace deepsearch
