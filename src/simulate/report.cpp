#include "simulate/report.h"

#include <algorithm>
#include <cmath>

#include "search/forest.h"
#include "simulate/workload.h"

namespace deepsearch {

namespace {

// Of one tree after the other on one engine: seconds and tokens.
class Alone {
 public:
  Alone(const ClusterParams& params, const Workload& workload, const SearchParams& search)
      : search_(search),
        workload_(workload),
        engine_(workload.script(), simulated_engine(params), 0),
        forest_(engine_, workload, search, {.seed = static_cast<uint64_t>(params.cluster.seed)}) {}

  void grow(int64_t index) {
    begin(index, search_.when == When::kAlways);
    while (forest_.growing() > 0) {
      if (const int64_t steps = engine_.start(); steps > 0) engine_.run(steps);
      forest_.pump();
      for (const TreeRecord& record : forest_.take_finished()) {
        const bool failed = record.kind == RecordKind::kRollouts && !has_correct(record);
        if (search_.when == When::kGroupFailed && failed) begin(index, /*tree=*/true);
      }
    }
  }
  double seconds() const { return engine_.now(); }
  const TimedCounters& counters() const { return engine_.counters(); }

 private:
  void begin(int64_t index, bool tree) {
    Problem problem = workload_.problem(index);
    const TreeKey key{.round = 0, .step = 0, .problem_index = index, .problem_key = problem.key, .attempt = 0};
    if (tree) {
      forest_.add_tree(std::move(problem), key);
    } else {
      forest_.add_rollouts(std::move(problem), key, search_.group);
    }
  }

  const SearchParams& search_;
  const Workload& workload_;
  TimedEngine engine_;
  Forest forest_;
};

// How much of the periods lies in [begin, end).
double overlap(const std::vector<BusyPeriod>& busy, double begin, double end) {
  double sum = 0;
  auto period = std::partition_point(busy.begin(), busy.end(), [&](const BusyPeriod& p) { return p.end <= begin; });
  for (; period != busy.end() && period->begin < end; ++period) {
    sum += std::min(period->end, end) - std::max(period->begin, begin);
  }
  return sum;
}

double first_in(const std::vector<BusyPeriod>& busy, double begin, double end) {
  const auto period =
      std::partition_point(busy.begin(), busy.end(), [&](const BusyPeriod& p) { return p.end <= begin; });
  return period == busy.end() ? end : std::clamp(period->begin, begin, end);
}

double share_of(double part, double whole) {
  return whole > 0 ? part / whole : 0;
}

// When 95 % of the trees were there.
double nearly_all(const StepTrace& step) {
  const auto last = static_cast<size_t>(std::ceil(0.95 * static_cast<double>(step.finished.size())));
  return step.finished[std::max<size_t>(last, 1) - 1];
}

}  // namespace

std::vector<IdealStep> ideal_steps(const ClusterParams& params) {
  const Workload workload(params);
  const SearchParams search = simulated_search(params);
  const LatencyModel engine = simulated_engine(params);
  const double token_seconds = engine.step_seconds / static_cast<double>(engine.max_batch) + engine.sequence_seconds;
  std::vector<IdealStep> steps;
  int64_t problem = 0;
  for (int64_t i = 0; i < params.cluster.steps; ++i) {
    Alone alone(params, workload, search);
    IdealStep step;
    double before = 0;
    for (int64_t j = 0; j < params.cluster.problems; ++j) {
      alone.grow(problem++);
      step.longest_seconds = std::max(step.longest_seconds, alone.seconds() - before);
      before = alone.seconds();
    }
    const TimedCounters& counters = alone.counters();
    step.work_seconds = (static_cast<double>(counters.tokens_generated) * token_seconds +
                         static_cast<double>(counters.tokens_prefilled) * engine.prefill_token_seconds) /
                        static_cast<double>(params.cluster.search_ranks);
    step.sequence_tokens =
        static_cast<double>(counters.tokens_generated) * static_cast<double>(params.workload.token_scale);
    step.mean_tree_seconds = before / static_cast<double>(params.cluster.problems);
    steps.push_back(step);
  }
  return steps;
}

ClusterFigures figures_of(const ClusterParams& params, const ClusterTrace& trace, const std::vector<IdealStep>& ideal) {
  ClusterFigures f;
  const auto steps = static_cast<double>(trace.steps.size());
  const auto ranks = static_cast<double>(trace.ranks.size());
  double searching = 0;
  double until_95 = 0;
  std::vector<double> busy(trace.ranks.size());
  std::vector<double> busy_95(trace.ranks.size());
  for (size_t i = 0; i < trace.steps.size(); ++i) {
    const StepTrace& step = trace.steps[i];
    const double cut = nearly_all(step);
    searching += step.searched() - step.begin;
    until_95 += cut - step.begin;
    f.step_seconds += (step.end - step.begin) / steps;
    f.learning += (step.learn_end - step.searched()) / steps;
    f.publishing += (step.end - step.learn_end) / steps;
    f.ideal_seconds += ideal[i].seconds() / steps;
    for (size_t r = 0; r < trace.ranks.size(); ++r) {
      const std::vector<BusyPeriod>& periods = trace.ranks[r].busy;
      const double early = overlap(periods, step.begin, cut);
      const double all = overlap(periods, step.begin, step.searched());
      busy_95[r] += early;
      busy[r] += all;
      const double start = std::min(first_in(periods, step.begin, step.searched()), cut) - step.begin;
      f.decoding += all / ranks / steps;
      f.starting += start / ranks / steps;
      f.starved += (cut - step.begin - early - start) / ranks / steps;
      f.tail += (step.searched() - cut - (all - early)) / ranks / steps;
    }
  }
  f.search_seconds = searching / steps;
  f.ratio = f.search_seconds / f.ideal_seconds;
  f.busy_min = f.whole_min = 1;
  for (size_t r = 0; r < trace.ranks.size(); ++r) {
    f.busy_mean += share_of(busy_95[r], until_95) / ranks;
    f.whole_mean += share_of(busy[r], searching) / ranks;
    f.busy_min = std::min(f.busy_min, share_of(busy_95[r], until_95));
    f.whole_min = std::min(f.whole_min, share_of(busy[r], searching));
  }
  TimedCounters all;
  SharingCounters sharing;
  double late = 0;
  for (const RankTrace& rank : trace.ranks) {
    all.tokens_generated += rank.engine.tokens_generated;
    all.busy_seconds += rank.engine.busy_seconds;
    all.running_seconds += rank.engine.running_seconds;
    all.waiting_seconds += rank.engine.waiting_seconds;
    sharing.tokens_helped += rank.sharing.tokens_helped;
    sharing.tokens_resent += rank.sharing.tokens_resent;
    late += rank.late_seconds;
  }
  const auto tokens = static_cast<double>(all.tokens_generated);
  f.batch = share_of(all.running_seconds, all.busy_seconds);
  f.waiting = share_of(all.waiting_seconds, all.busy_seconds);
  f.tokens_per_second = share_of(tokens * static_cast<double>(params.workload.token_scale), searching);
  f.messages_per_second = share_of(static_cast<double>(trace.messages_in + trace.messages_out), searching);
  f.coordinator_busy = share_of(trace.coordinator_seconds, searching);
  f.leases = static_cast<double>(trace.leases_made) / steps;
  f.lent_share = share_of(static_cast<double>(sharing.tokens_helped), tokens);
  f.resent_share = share_of(static_cast<double>(sharing.tokens_resent), tokens);
  f.messages = static_cast<double>(trace.messages) / steps;
  f.messages_received = static_cast<double>(trace.messages_received) / steps;
  f.gigabytes = 1e-9 * static_cast<double>(trace.bytes) / steps;
  f.late_share = share_of(late, all.busy_seconds);
  return f;
}

}  // namespace deepsearch
