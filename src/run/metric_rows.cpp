#include "run/metric_rows.h"

#include <algorithm>

namespace deepsearch {

namespace {

double phase(const ReportMessage& report, const std::string& name) {
  for (size_t i = 0; i < report.phases.size() && i < report.phase_seconds.size(); ++i) {
    if (report.phases[i] == name) return report.phase_seconds[i];
  }
  return 0;
}

double cost(const RunTotals& totals) {
  return static_cast<double>(totals.tokens_generated) + 3.0 * static_cast<double>(totals.tokens_trained);
}

// Means over a rank's trees, as in the paper's search table.
struct TreeMeans {
  double depth = 0, entropy = 0, reward = 0, iterations = 0, seconds = 0;
};

TreeMeans means_of(const std::vector<const TreeRecord*>& grown) {
  TreeMeans means;
  double trees = 0;
  double leaves = 0;
  for (const TreeRecord* tree : grown) {
    if (tree->kind != RecordKind::kTree) continue;
    ++trees;
    means.iterations += tree->iterations;
    means.seconds += tree->seconds;
    for (const RecordedLeaf& leaf : tree->recorded) {
      ++leaves;
      means.depth += tree->nodes[static_cast<size_t>(leaf.leaf)].depth;
      means.entropy += leaf.entropy;
      means.reward += leaf.reward;
    }
  }
  const double by_tree = 1 / std::max(trees, 1.0);
  const double by_leaf = 1 / std::max(leaves, 1.0);
  return {means.depth * by_leaf, means.entropy * by_leaf, means.reward * by_leaf, means.iterations * by_tree,
          means.seconds * by_tree};
}

// Model FLOP utilisation of the learning part of a step.
double utilization(const TrainStats& stats, const StepSeconds& seconds) {
  return stats.peak_flops > 0 ? stats.flops / std::max(seconds.learn, 1e-9) / stats.peak_flops : 0;
}

std::vector<std::string> names_of(const MetricsRow& row) {
  std::vector<std::string> names;
  for (const auto& [name, value] : row) names.push_back(name);
  return names;
}

}  // namespace

MetricsRow learner_row(int64_t step, const StepBatch& batch, const TrainStats& stats, const StepSeconds& seconds,
                       const RunTotals& totals, int64_t skipped_steps, const RoundsRow& rounds) {
  double trajectories = 0;
  double reward = 0;
  for (const TreeRecord& tree : batch.trees) {
    trajectories += static_cast<double>(tree.recorded.size());
    for (const RecordedLeaf& leaf : tree.recorded) reward += leaf.reward;
  }
  const double seen = std::max<double>(1, static_cast<double>(batch.seen));
  return {{"step", step},
          {"round", rounds.round},
          {"policy_version", step},
          {"problems", batch.seen},
          {"trees", batch.trees.size()},
          {"trajectories", trajectories},
          {"trained_tokens", stats.trained_tokens},
          {"row_tokens", stats.row_tokens},
          {"computed_tokens", stats.computed_tokens},
          {"loss", stats.loss},
          {"policy_loss", stats.policy_loss},
          {"policy_entropy", stats.policy_entropy},
          {"grad_norm", stats.grad_norm},
          {"clip_fraction", stats.clip_fraction},
          {"clip_low_fraction", stats.clip_low_fraction},
          {"clip_high_fraction", stats.clip_high_fraction},
          {"dual_clip_fraction", stats.dual_clip_fraction},
          {"approx_kl", stats.approx_kl},
          {"reference_kl", stats.reference_kl},
          {"ratio_mean", stats.ratio_mean},
          {"ratio_std", stats.ratio_std},
          {"ratio_min", stats.ratio_min},
          {"ratio_max", stats.ratio_max},
          {"importance_mean", stats.importance_mean},
          {"mismatch_kl", stats.mismatch_kl},
          {"mismatch_mean", stats.mismatch_mean},
          {"mismatch_max", stats.mismatch_max},
          {"lr", stats.lr},
          {"advantage_mean", stats.advantage_mean},
          {"advantage_std", stats.advantage_std},
          {"positive_fraction", stats.positive_fraction},
          {"reward_mean", reward / std::max(trajectories, 1.0)},
          {"solved_fraction", static_cast<double>(batch.solved) / seen},
          {"uniform_fraction", static_cast<double>(batch.uniform) / seen},
          {"skipped_steps", skipped_steps},
          {"skipped_updates", stats.skipped_updates},
          {"dropped_problems", batch.dropped},
          {"hand_over_ratio", batch.hand_over_ratio},
          {"dropped_trajectories", rounds.dropped_trajectories},
          {"cached_trajectories", rounds.cached_trajectories},
          {"hard_problems", rounds.hard_problems},
          {"cached_problems", rounds.cached_problems},
          {"replayed_groups", rounds.replayed_groups},
          {"replayed_tokens", rounds.replayed_tokens},
          {"saved_tokens", rounds.saved_tokens},
          {"staleness", stats.staleness_max},
          {"staleness_mean", stats.staleness_mean},
          {"seconds_wait", seconds.wait},
          {"seconds_learn", seconds.learn},
          {"seconds_sync", stats.seconds_sync},
          {"seconds_weights", seconds.weights},
          {"seconds_logging", seconds.logging},
          {"seconds_checkpoint", seconds.checkpoint},
          {"seconds_total", seconds.total},
          {"learn_tokens_per_second", static_cast<double>(stats.row_tokens) / std::max(seconds.learn, 1e-9)},
          {"model_tflops", 1e-12 * stats.flops / std::max(seconds.learn, 1e-9)},
          {"model_flop_utilization", utilization(stats, seconds)},
          {"elapsed", totals.elapsed},
          {"tokens_generated", totals.tokens_generated},
          {"tokens_trained", totals.tokens_trained},
          {"cost", cost(totals)}};
}

MetricsRow eval_row(int64_t step, const Evaluation& evaluation, double temperature, const RunTotals& totals) {
  return {{"step", step},
          {"elapsed", totals.elapsed},
          {"tokens_generated", totals.tokens_generated},
          {"tokens_trained", totals.tokens_trained},
          {"cost", cost(totals)},
          {"pass_at_1", evaluation.pass_at_1},
          {"pass_at_k", evaluation.pass_at_k},
          {"k", evaluation.k},
          {"problems", evaluation.problems},
          {"samples", evaluation.samples},
          {"temperature", temperature},
          {"reward_mean", evaluation.reward_mean},
          {"response_tokens_mean", evaluation.response_tokens_mean},
          {"truncated_fraction", evaluation.truncated_fraction},
          {"entropy_mean", evaluation.entropy_mean},
          {"split_test", 1}};
}

MetricsRow search_row(const ReportMessage& report, int rank, const std::vector<const TreeRecord*>& grown) {
  const TreeMeans means = means_of(grown);
  double total = 0;
  for (const double seconds : report.phase_seconds) total += seconds;
  return {{"step", report.step},
          {"rank", rank},
          {"trees", report.trees},
          {"groups", report.groups},
          {"tokens_generated", report.tokens_generated},
          {"tokens_prefilled", report.tokens_prefilled},
          {"tokens_recomputed", report.tokens_recomputed},
          {"prefix_tokens", report.prefix_tokens},
          {"nodes_evicted", report.nodes_evicted},
          {"kv_bytes_peak", report.kv_bytes_peak},
          {"expansions_lent", report.expansions_lent},
          {"expansions_helped", report.expansions_helped},
          {"seconds_total", total},
          {"seconds_generating", phase(report, "generating")},
          {"seconds_bookkeeping", phase(report, "bookkeeping")},
          {"seconds_logging", phase(report, "logging")},
          {"seconds_helping", phase(report, "helping")},
          {"seconds_waiting", phase(report, "waiting")},
          {"tree_depth_mean", means.depth},
          {"tree_entropy_mean", means.entropy},
          {"tree_reward_mean", means.reward},
          {"tree_iterations_mean", means.iterations},
          {"tree_seconds_mean", means.seconds},
          {"tokens_per_second", static_cast<double>(report.tokens_generated) / std::max(total, 1e-9)}};
}

std::map<std::string, std::vector<std::string>> metric_row_tables() {
  return {{"learner", names_of(learner_row(0, {}, {}, {}, {}, 0))},
          {"search", names_of(search_row({}, 0, {}))},
          {"eval", names_of(eval_row(0, {}, 0, {}))}};
}

}  // namespace deepsearch
