#include "run/rounds_driver.h"

#include <algorithm>
#include <numeric>
#include <unordered_set>
#include <utility>

#include "core/digest.h"
#include "core/error.h"
#include "core/files.h"
#include "rounds/replay_group.h"
#include "store/metrics.h"

namespace deepsearch {

namespace {

// No step of training or evaluation has this number, so that the filter shares no random numbers with them.
constexpr int64_t kFilterStep = -(int64_t{1} << 40);
constexpr uint64_t kCacheFileBytes = uint64_t{1} << 40;

// The whole of the training file, or so many generated problems without doubles.
std::vector<Problem> pool_of(const Config& config, const ProblemSource& problems) {
  std::vector<Problem> pool;
  std::unordered_set<uint64_t> keys;
  const auto add = [&](Problem problem) {
    if (keys.insert(problem.key).second) pool.push_back(std::move(problem));
  };
  for (const Problem& problem : problems.training_file()) add(problem);
  if (!pool.empty()) return pool;
  for (int64_t i = 0; i < config.rounds.pool; ++i) add(problems.problem(Split::kTrain, i));
  return pool;
}

uint64_t digest_of_pool(const std::vector<Problem>& pool) {
  Digest digest;
  for (const Problem& problem : pool) digest.update(&problem.key, sizeof problem.key);
  return digest.value();
}

int64_t responses_correct(const TreeRecord& group) {
  return std::count_if(group.recorded.begin(), group.recorded.end(),
                       [](const RecordedLeaf& leaf) { return leaf.outcome == Outcome::kCorrect; });
}

}  // namespace

CacheIdentity cache_identity(const Language& language, const ModelConfig& model) {
  Digest words;
  for (const std::string& word : language.token_bytes()) {
    words.update(word);
    words.update("\n");
  }
  Digest shape;
  shape.update(family_name(model.family));
  for (const Token token : model.eos_tokens) words.update(&token, sizeof token);
  for (const int64_t size : {model.vocab_size, model.hidden_size, model.intermediate_size, model.n_layers,
                             model.n_heads, model.n_kv_heads}) {
    shape.update(&size, sizeof size);
  }
  return {.vocabulary = words.value(), .model = shape.value()};
}

RoundsDriver::RoundsDriver(const Config& config, const ProblemSource& problems, const CacheIdentity& identity)
    : config_(config), identity_(identity), pool_(pool_of(config, problems)), state_(config.rounds) {
  state_.pool_digest = digest_of_pool(pool_);
  if (!config.rounds.cache_file.empty()) {
    state_.cache = cache_from_bytes(read_file(config.rounds.cache_file, kCacheFileBytes),
                                    "[rounds].cache_file " + config.rounds.cache_file, identity,
                                    static_cast<int64_t>(config.rounds.cache_mb * (int64_t{1} << 20)));
  }
  std::vector<int64_t> all(pool_.size());
  std::iota(all.begin(), all.end(), 0);
  begin_filter(std::move(all));
}

void RoundsDriver::restore(const std::string& bytes, const std::string& cache, const std::string& where,
                           const std::string& cache_where) {
  RoundsState state(config_.rounds);
  state_from_bytes(bytes, where, state);
  if (state.pool_digest != state_.pool_digest) {
    bad_input("{}: of other training problems than this run's ([rounds].pool, [problems].train_file, [task])", where);
  }
  const auto outside = [this](int64_t number) { return number < 0 || number >= pool(); };
  if (std::any_of(state.hard.begin(), state.hard.end(), outside) ||
      std::any_of(state.filter.candidates.begin(), state.filter.candidates.end(), outside)) {
    bad_input("{}: a problem that is not among the {} of the pool", where, pool());
  }
  state.cache = cache_from_bytes(cache, cache_where, identity_,
                                 static_cast<int64_t>(config_.rounds.cache_mb * (int64_t{1} << 20)));
  state_ = std::move(state);
  order_.reset();
}

void RoundsDriver::begin_filter(std::vector<int64_t> candidates) {
  state_.filtered = false;
  state_.filter = {.candidates = std::move(candidates)};
  order_.reset();
}

std::vector<WorkItem> RoundsDriver::wave() const {
  std::vector<WorkItem> items;
  for (const int64_t number : state_.filter.next_wave(config_.rounds.wave)) {
    WorkItem item;
    item.problem = problem(number);
    item.key = {.round = state_.round,
                .step = kFilterStep,
                .problem_index = number,
                .problem_key = item.problem.key,
                .attempt = 0};
    item.work = AssignMessage::Work::kEvaluate;
    item.samples = config_.rounds.filter_samples;
    item.temperature = config_.search.temperature;
    item.top_p = config_.search.top_p;
    items.push_back(std::move(item));
  }
  return items;
}

// Those that the wave begins with, and how many they are.
int64_t RoundsDriver::take_groups(const std::vector<TreeRecord>& groups) {
  const std::vector<int64_t> numbers = state_.filter.next_wave(config_.rounds.wave);
  size_t taken = 0;
  while (taken < std::min(groups.size(), numbers.size()) && groups[taken].key.problem_index == numbers[taken]) {
    state_.filter.correct.push_back(static_cast<int32_t>(responses_correct(groups[taken++])));
  }
  return static_cast<int64_t>(taken);
}

int64_t RoundsDriver::take_part_of_wave(const std::vector<TreeRecord>& groups) {
  // A filter that is through is so by its last wave only.
  std::vector<TreeRecord> part = groups;
  if (state_.filter.correct.size() + part.size() >= state_.filter.candidates.size() && !part.empty()) part.pop_back();
  return take_groups(part);
}

bool RoundsDriver::take_wave(const std::vector<TreeRecord>& groups, int64_t next_problem) {
  const size_t wanted = state_.filter.next_wave(config_.rounds.wave).size();
  if (groups.size() != wanted || take_groups(groups) != static_cast<int64_t>(wanted)) {
    failure("the filter asked for {} groups of rollouts, and {} came, or others", wanted, groups.size());
  }
  if (!state_.filter.done()) return false;
  state_.filtered = true;
  state_.hard = state_.filter.hard(config_.rounds.filter_samples, config_.rounds.max_pass_rate);
  state_.first_problem = next_problem;
  return true;
}

void RoundsDriver::fill(WorkItem& item, int64_t n) {
  if (!order_) {
    order_.emplace(static_cast<uint64_t>(config_.run.seed), state_.round, state_.hard, pool(), config_.rounds.mix);
  }
  item.problem = problem(order_->problem(n - state_.first_problem));
  item.key.round = state_.round;
  item.key.problem_key = item.problem.key;
  if (!config_.rounds.replay) return;
  const SearchParams& search = config_.search;
  item.cached = state_.cache.first(item.problem.key, search.trajectories, search.max_depth * search.step_tokens);
  if (item.cached.empty()) return;
  item.work = AssignMessage::Work::kReplay;
  item.samples = search.trajectories;
}

RoundsRow RoundsDriver::step_done(int64_t step, const std::vector<TreeRecord>& grown) {
  RoundsRow row{.round = state_.round,
                .hard_problems = static_cast<int64_t>(state_.hard.size()),
                .cached_problems = state_.cache.problems()};
  int64_t replay_generated = 0;
  int64_t other_generated = 0;
  std::unordered_set<int64_t> others;  // places in the batch
  for (const TreeRecord& record : grown) {
    for (const RecordedLeaf& leaf : record.recorded) {
      row.cached_trajectories += leaf.cached ? 1 : 0;
      row.dropped_trajectories += leaf.dropped != Dropped::kNo ? 1 : 0;
    }
    if (record.kind == RecordKind::kReplay) {
      ++row.replayed_groups;
      row.replayed_tokens += cached_tokens(record);
      replay_generated += record.tokens_generated;
    } else {
      others.insert(record.key.problem_index);
      other_generated += record.tokens_generated;
    }
    state_.trajectories.add(record);
  }
  if (!others.empty()) {
    row.saved_tokens = row.replayed_groups * other_generated / static_cast<int64_t>(others.size()) - replay_generated;
  }
  state_.replayed_groups += row.replayed_groups;
  state_.replayed_tokens += row.replayed_tokens;
  state_.saved_tokens += row.saved_tokens;
  if (step % config_.rounds.steps != 0) return row;
  if (config_.rounds.replay) state_.trajectories.move_to(state_.cache, config_.rounds.max_pass_rate);
  state_.trajectories = RoundTrajectories();
  ++state_.round;
  if (state_.round < config_.rounds.count) begin_filter(state_.hard);
  return row;
}

MetricsRow RoundsDriver::filter_row(int64_t step, double elapsed, int64_t tokens_generated) const {
  const int64_t samples = config_.rounds.filter_samples;
  const std::vector<int64_t> histogram = state_.filter.histogram(samples);
  return {{"step", step},
          {"round", state_.round},
          {"elapsed", elapsed},
          {"tokens_generated", tokens_generated},
          {"problems", state_.filter.candidates.size()},
          {"samples", samples},
          {"hard_problems", state_.hard.size()},
          {"unsolved_problems", histogram.front()},
          {"always_solved_problems", histogram.back()},
          {"pass_rate_mean", state_.filter.mean_pass_rate(samples)},
          {"cached_problems", state_.cache.problems()},
          {"cached_solutions", state_.cache.solutions()},
          {"cache_bytes", state_.cache.bytes()},
          {"evicted_solutions", state_.cache.evicted()},
          {"replayed_groups", state_.replayed_groups},
          {"replayed_tokens", state_.replayed_tokens},
          {"saved_tokens", state_.saved_tokens}};
}

std::string RoundsDriver::filter_text() const {
  const int64_t samples = config_.rounds.filter_samples;
  std::string counts;
  const std::vector<int64_t> histogram = state_.filter.histogram(samples);
  for (size_t passed = 0; passed < histogram.size(); ++passed) {
    counts += fmt::format("{}{} with {}", passed == 0 ? "" : ", ", histogram[passed], passed);
  }
  return fmt::format(
      "round {}: {} of {} problems are hard (Pass1@{} up to {:.0f} %; correct responses: {}); {} cached solutions of "
      "{} problems",
      state_.round, state_.hard.size(), state_.filter.candidates.size(), samples, 100 * config_.rounds.max_pass_rate,
      counts, state_.cache.solutions(), state_.cache.problems());
}

}  // namespace deepsearch
