// Rounds in a run (docs/rounds.md): which problems are filtered and drawn, what is cached and replayed, at the
// coordinator. The rules are rounds/'s; this ties them to problems, messages and records. Changes at step boundaries
// and between waves of the filter only, so that its bytes are always those of a place where the run can go on.
// One thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "comm/messages.h"
#include "data/language.h"
#include "model/model_config.h"
#include "rounds/problem_order.h"
#include "rounds/state.h"
#include "run/config.h"
#include "run/problem_source.h"
#include "store/metrics.h"

namespace deepsearch {

// What cached tokens belong to: a digest of the language's tokens and the model's end-of-sequence tokens, and one of
// the model's shape.
CacheIdentity cache_identity(const Language& language, const ModelConfig& model);

// Of an item of search work that rounds decide about: what the configuration says about sampling is filled in already.
using WorkItem = AssignMessage::Item;

// What a step's row says about rounds. All zero without them.
struct RoundsRow {
  int64_t round = 0;
  int64_t hard_problems = 0;
  int64_t cached_problems = 0;
  int64_t replayed_groups = 0;      // of the step
  int64_t cached_trajectories = 0;  // in them
  int64_t dropped_trajectories = 0;
  int64_t replayed_tokens = 0;  // of the cached trajectories: not generated
  int64_t saved_tokens = 0;     // against what problems without cached solutions took in the step, on average
};

class RoundsDriver {
 public:
  // A run that begins. `cache_file` is read here (bad_input: damaged, or of another tokenizer or model).
  RoundsDriver(const Config& config, const ProblemSource& problems, const CacheIdentity& identity);

  // Goes on from what bytes() and cache_bytes() gave. bad_input: damage; other problems.
  void restore(const std::string& bytes, const std::string& cache, const std::string& where,
               const std::string& cache_where);
  std::string bytes() const { return state_to_bytes(state_); }
  std::string cache_bytes() const { return cache_to_bytes(state_.cache, identity_); }

  int64_t round() const { return state_.round; }
  int64_t pool() const { return static_cast<int64_t>(pool_.size()); }
  const std::vector<int64_t>& hard() const { return state_.hard; }
  const FilterPass& filter() const { return state_.filter; }
  const Problem& problem(int64_t number) const { return pool_.at(static_cast<size_t>(number)); }

  // The filter is to go on before the next step.
  bool filtering() const { return !state_.filtered; }
  std::vector<WorkItem> wave() const;
  // The groups of that wave, in key order. `next_problem`: problems drawn so far. True: it was the last one.
  bool take_wave(const std::vector<TreeRecord>& groups, int64_t next_problem);
  // Of a wave that was broken off: how many groups from its beginning on are there and were taken.
  int64_t take_part_of_wave(const std::vector<TreeRecord>& groups);
  // The filter left nothing: there is no further step.
  bool exhausted() const { return state_.filtered && state_.hard.empty(); }

  // The problem of the n-th draw since the run began, as a replay group where it has cached solutions.
  void fill(WorkItem& item, int64_t n);
  // At the boundary after a step: what it recorded. The round's last step fills the cache and calls for the next
  // filter.
  RoundsRow step_done(int64_t step, const std::vector<TreeRecord>& grown);

  MetricsRow filter_row(int64_t step, double elapsed, int64_t tokens_generated) const;
  std::string filter_text() const;

 private:
  void begin_filter(std::vector<int64_t> candidates);
  int64_t take_groups(const std::vector<TreeRecord>& groups);

  const Config& config_;
  CacheIdentity identity_;
  std::vector<Problem> pool_;  // all different
  RoundsState state_;
  std::optional<ProblemOrder> order_;  // of the round
};

}  // namespace deepsearch
