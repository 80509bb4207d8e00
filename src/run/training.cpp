#include "run/training.h"

#include <algorithm>
#include <cmath>
#include <csignal>
#include <utility>

#include "core/activity.h"
#include "core/error.h"
#include "core/log.h"
#include "core/memory.h"
#include "core/signals.h"
#include "core/timer.h"
#include "run/metric_rows.h"

namespace deepsearch {

namespace {

AssignMessage::Work work_of(When when) {
  switch (when) {
    case When::kAlways:
      return AssignMessage::Work::kTree;
    case When::kGroupFailed:
      return AssignMessage::Work::kHandOver;
    case When::kNever:
      break;
  }
  return AssignMessage::Work::kGroup;
}

double mean_correct(const TreeRecord& group) {
  const auto correct = std::count_if(group.recorded.begin(), group.recorded.end(),
                                     [](const RecordedLeaf& leaf) { return leaf.outcome == Outcome::kCorrect; });
  return static_cast<double>(correct) / static_cast<double>(std::max<size_t>(group.recorded.size(), 1));
}

}  // namespace

Training::Training(const Config& config, const Language& language, const ProblemSource& problems, const World& world,
                   Coordinator& coordinator, Trainer& trainer, RunWriter& store, const std::filesystem::path& folder,
                   RunState state, std::vector<TreeRecord> finished, RoundsDriver* rounds)
    : config_(config),
      problems_(problems),
      world_(world),
      coordinator_(coordinator),
      trainer_(trainer),
      store_(store),
      rounds_(rounds),
      state_(std::move(state)),
      hand_over_(config.search.hand_over_gain, state_.hand_over),
      finished_(std::move(finished)),
      weights_(std::make_shared<const ModelWeights>(trainer.weights())),
      first_step_(state_.step),
      earlier_tokens_(state_.tokens_generated),
      checkpoints_(config, language, coordinator, folder, state_.checkpoint_seconds),
      budget_(TimeBudget::of_run(config.run.time_limit, state_.checkpoint_seconds)),
      shown_tokens_(state_.tokens_generated),
      progress_(config.learn.budget_amount > 0 ? "training, steps" : "training", config.learn.steps, /*enabled=*/true) {
  progress_.start_at(share_done());
  if (config.learn.max_staleness == 0) return;
  stream_.emplace(config, coordinator, finished_,
                  [this](int64_t problem, TreeKey key) { return make_item(problem, key); });
}

bool Training::run() {
  coordinator_.publish(weights_, state_.step);
  next_problem_ = state_.next_problem;
  if (stream_ && state_.step < config_.learn.steps) stream_->restore(state_.pending, state_.step);
  if (evaluation_due() && !evaluate_now()) return false;
  while (!at_end()) {
    if (config_.run.stop_after > 0 && state_.step >= config_.run.stop_after) {
      request_stop(SIGUSR2);
      return false;
    }
    if (budget_.stopping()) return false;
    if (rounds_ != nullptr && rounds_->filtering()) {
      if (!filter_wave() || budget_.stopping()) return false;
      if (checkpoints_.due_by_time()) save_checkpoint(/*may_fail=*/true);
      continue;
    }
    if (!one_step() || budget_.stopping()) return false;
    if (evaluation_due() && !evaluate_now()) return false;
    if (checkpoints_.due(state_.step) && !at_end()) save_checkpoint(/*may_fail=*/true);
  }
  if (evaluation_due() && !evaluate_now()) return false;
  if (const std::string why = why_ended(); !why.empty()) {
    log_info("the run ends after {} of {} steps: {}", state_.step, config_.learn.steps, why);
  }
  progress_.finish();
  return true;
}

bool Training::at_end() const {
  return is_spent(config_.learn, spending()) || reached_target() || (rounds_ != nullptr && rounds_->exhausted());
}

bool Training::reached_target() const {
  return config_.eval.stop_at > 0 && !state_.evaluations.empty() &&
         state_.evaluations.back().pass_at_1 >= config_.eval.stop_at;
}

std::string Training::why_ended() const {
  if (state_.step >= config_.learn.steps) return "";
  if (budget_progress(config_.learn, spending()) >= 1) {
    return "its budget is spent, " + budget_text(config_.learn, spending());
  }
  if (reached_target()) {
    return fmt::format("held-out Pass@1 is {:.3f}, [eval].stop_at {}", state_.evaluations.back().pass_at_1,
                       config_.eval.stop_at);
  }
  return fmt::format("the hard set of round {} is empty, every problem passes more than {:.0f} % of {} samples",
                     rounds_->round(), 100 * config_.rounds.max_pass_rate, config_.rounds.filter_samples);
}

Spending Training::spending() const {
  return {.steps = state_.step,
          .tokens_generated = state_.tokens_generated - state_.evaluation_tokens,
          .tokens_trained = state_.tokens_trained,
          .device_seconds = state_.device_seconds + elapsed_.seconds() * world_.size()};
}

// By steps, or by the budget where that one is nearer its end.
double Training::share_done() const {
  const double steps = static_cast<double>(state_.step) / static_cast<double>(config_.learn.steps);
  return std::min(1.0, std::max(steps, budget_progress(config_.learn, spending())));
}

void Training::show_progress(const std::string& detail) {
  const bool by_steps = config_.learn.budget_amount <= 0;
  progress_.update(state_.step, detail, by_steps ? -1 : share_done());
}

bool Training::filter_wave() {
  const FilterPass& pass = rounds_->filter();
  std::vector<TreeRecord> groups;
  const std::string detail = fmt::format("filtering for round {}: {} of {} problems", rounds_->round(),
                                         pass.correct.size(), pass.candidates.size());
  if (!grow(rounds_->wave(), detail, groups)) return false;
  const bool last = rounds_->take_wave(groups, state_.next_problem);
  ++waves_;
  state_.tokens_generated = tokens_generated();
  shown_tokens_ = state_.tokens_generated;
  if (config_.store.trees() && rounds_->round() == 0) {
    for (const TreeRecord& group : groups) store_.add_problem(group.problem, "train", mean_correct(group));
  }
  if (!last) return true;
  store_.append("rounds", rounds_->filter_row(state_.step, elapsed(), totals().tokens_generated));
  store_.flush();
  log_info("step {}: {}", state_.step, rounds_->filter_text());
  return true;
}

// One step: a batch of trees under one policy version, and the version made from it.
bool Training::one_step() {
  const Stopwatch total;
  StepSeconds seconds;
  StepBatch batch;
  std::vector<TreeRecord> grown;
  if (!(stream_ ? gather_batch(batch, grown) : grow_batch(batch, grown))) return false;
  seconds.wait = total.seconds();

  const Stopwatch learning;
  store_.flush();  // what a kill while learning cannot take away
  TrainStats stats;
  if (!learn(batch, stats)) {
    unfinished_ = std::move(grown);
    return false;
  }
  seconds.learn = learning.seconds();

  // The boundary: from here on the step counts.
  const Stopwatch publishing;
  weights_ = std::make_shared<const ModelWeights>(trainer_.weights());
  ++state_.step;
  state_.next_problem = next_problem_;
  state_.tokens_generated = tokens_generated();
  if (stream_) state_.pending = stream_->pending();
  state_.tokens_trained += stats.trained_tokens;
  state_.learn_seconds = seconds.learn;
  if (stats.updates == stats.skipped_updates) ++state_.skipped_steps;
  finished_.clear();
  reports_ = 0;
  coordinator_.publish(weights_, state_.step);
  if (stream_) {  // search goes on at once
    stream_->published();
    if (!at_end()) stream_->begin(state_.step, next_problem_);
  }
  seconds.weights = publishing.seconds() + coordinator_.take_weights_seconds();

  seconds.total = total.seconds();
  seconds.logging = store_.seconds_spent() - logged_;
  logged_ = store_.seconds_spent();
  seconds.checkpoint = std::exchange(checkpoint_seconds_, 0);
  batch.hand_over_ratio = hand_over_.ratio();
  hand_over_.step_done(grown);
  state_.hand_over = hand_over_.tally();
  const RoundsRow rounds = rounds_ != nullptr ? rounds_->step_done(state_.step, grown) : RoundsRow();
  report_step(batch, stats, seconds, rounds);
  remember(std::move(grown));
  record_search();
  return true;
}

void Training::report_step(const StepBatch& batch, const TrainStats& stats, const StepSeconds& seconds,
                           const RoundsRow& rounds) {
  store_.append("learner", learner_row(state_.step, batch, stats, seconds, totals(), state_.skipped_steps, rounds));
  const double per_second = static_cast<double>(state_.tokens_generated - shown_tokens_) / seconds.total;
  shown_tokens_ = state_.tokens_generated;
  detail_ =
      fmt::format("Pass@1 {:.3f}, solved {:.0f} %, {:.1f} trees/s, {} tokens/s",
                  state_.evaluations.empty() ? 0 : state_.evaluations.back().pass_at_1,
                  100.0 * static_cast<double>(batch.solved) / static_cast<double>(std::max<int64_t>(batch.seen, 1)),
                  static_cast<double>(batch.seen) / seconds.total, static_cast<int64_t>(per_second));
  show_progress(detail_);
  log_debug(
      "step {}: loss {:.4f}, gradient norm {:.3f}, entropy {:.3f}, {} uniform of {}, wait {:.2f} s, learn {:.2f} s",
      state_.step, stats.loss, stats.grad_norm, stats.policy_entropy, batch.uniform, batch.seen, seconds.wait,
      seconds.learn);
  if (stats.skipped_updates > 0) {
    log_warning("step {}: {} of {} updates were skipped, their gradient was not finite", state_.step,
                stats.skipped_updates, stats.updates);
  }
}

bool Training::learn(const StepBatch& batch, TrainStats& stats) {
  // The first step of an attempt is tried in any case: an estimate from one slow moment must not end every attempt.
  if (budget_.stopping(state_.step > first_step_ ? state_.learn_seconds : 0)) return false;
  // A launcher that passes on Ctrl-C gives its ranks a second, less than a large batch takes. A learner that is alone
  // can leave at any micro-batch, back to the state at the boundary; several must meet in the sum of their gradients
  // first, and end the step.
  struct Stopped {};
  constexpr double kNear = 0.3;  // seconds to the step's end that are worth waiting for
  if (world_.n_learners() == 1 && config_.run.hold_state) held_ = trainer_.optimizer_state();
  const double progress = budget_progress(config_.learn, spending());
  trainer_.set_progress(progress);
  coordinator_.share_batch(batch.trees, state_.step + 1, progress);
  const Stopwatch watch;
  const auto keep_alive = [&] {
    coordinator_.keep_alive();
    if (stream_) stream_->tend(state_.step, next_problem_);
  };
  // Layers of the network and waits for other learners come round more often than micro-batches.
  constexpr double kOften = 0.005;
  const WhileWaiting meanwhile(keep_alive, kOften);
  try {
    const auto between = [&] {
      keep_alive();
      const bool near = std::abs(state_.learn_seconds - watch.seconds()) < kNear;
      if (budget_.stopping() && held_ && !near) throw Stopped();
    };
    stats = trainer_.train(minibatches_of(batch.trees, config_.learn.minibatch_problems, config_.credit), between,
                           /*version=*/state_.step);
  } catch (const Stopped&) {
    return false;
  }
  held_.reset();
  if (world_.searches()) trainer_.give_back_memory();
  return true;
}

bool Training::grow(std::vector<AssignMessage::Item> items, const std::string& detail, std::vector<TreeRecord>& grown) {
  std::vector<TreeRecord> trees = finished_.take(items, config_.search.branch_rollouts > 0);
  for (const TreeRecord& tree : trees) earlier_tokens_ += tree.tokens_generated;
  Harvest harvest = coordinator_.grow(std::move(items), [&](int64_t) {
    show_progress(detail);
    budget_.stopping();
  });
  for (TreeMessage& message : harvest.records) trees.push_back(std::move(message.tree));
  sort_by_key(trees);
  for (TreeRecord& tree : trees) grown.push_back(std::move(tree));
  if (harvest.interrupted) unfinished_ = std::move(grown);
  return !harvest.interrupted;
}

bool Training::grow_batch(StepBatch& batch, std::vector<TreeRecord>& grown) {
  const int64_t wanted = config_.learn.problems;
  const int64_t waves = config_.credit.skip_uniform ? 1 + config_.learn.refill_waves : 1;
  int64_t place = 0;
  for (int64_t wave = 0; wave < waves; ++wave) {
    // A wave makes up for what the waves before it left out, by the share that was useful so far.
    const auto useful = static_cast<int64_t>(batch.trees.size());
    const int64_t missing = wanted - useful;
    const double share = wave == 0 ? 1.0 : std::max(0.2, static_cast<double>(useful) / static_cast<double>(batch.seen));
    const auto count = std::min(wanted, static_cast<int64_t>(std::ceil(static_cast<double>(missing) / share)));
    std::vector<AssignMessage::Item> items;
    for (int64_t i = 0; i < count; ++i) {
      items.push_back(make_item(next_problem_++, {.round = 0, .step = state_.step + 1, .problem_index = place++}));
    }
    if (!grow(std::move(items), detail_, grown)) return false;
    batch = choose_batch(grown, wanted, config_.credit);
    if (static_cast<int64_t>(batch.trees.size()) >= wanted) break;
  }
  return true;
}

// The same from the stream: problems of several versions.
bool Training::gather_batch(StepBatch& batch, std::vector<TreeRecord>& used) {
  const auto between = [&] {
    show_progress(detail_);
    budget_.stopping();
  };
  if (stream_->gather(state_.step + 1, state_.step, next_problem_, between, batch, used)) return true;
  unfinished_ = std::move(used);
  return false;
}

AssignMessage::Item Training::make_item(int64_t problem, TreeKey key) {
  AssignMessage::Item item;
  item.key = key;
  item.work = work_of(config_.search.when);
  const bool in_vain = item.work == AssignMessage::Work::kHandOver && !hand_over_.wanted(key.problem_index);
  if (in_vain) item.work = AssignMessage::Work::kGroup;
  item.samples = config_.search.group;
  item.temperature = config_.search.temperature;
  item.top_p = config_.search.top_p;
  if (rounds_ != nullptr) {
    rounds_->fill(item, problem);
  } else {
    item.problem = problems_.problem(Split::kTrain, problem);
    item.key.problem_key = item.problem.key;
  }
  return item;
}

bool Training::evaluation_due() const {
  if (state_.evaluated_step == state_.step) return false;
  const int64_t every = config_.eval.every;
  return state_.step == 0 || at_end() || (every > 0 && state_.step % every == 0);
}

bool Training::evaluate_now() {
  std::vector<AssignMessage::Item> items;
  const int64_t held_out = problems_.size(Split::kTest);
  const int64_t count = held_out < 0 ? config_.eval.problems : std::min(config_.eval.problems, held_out);
  for (int64_t i = 0; i < count; ++i) {
    AssignMessage::Item item;
    item.problem = problems_.problem(Split::kTest, i);
    // Step numbers of evaluations are their own (negative), so that they share no random numbers with training.
    item.key = {
        .round = 0, .step = -1 - state_.step, .problem_index = i, .problem_key = item.problem.key, .attempt = 0};
    item.work = AssignMessage::Work::kEvaluate;
    item.samples = config_.eval.samples;
    item.temperature = config_.eval.temperature;
    item.top_p = config_.eval.top_p;
    items.push_back(std::move(item));
  }
  std::vector<TreeRecord> groups;
  if (!grow(std::move(items), "evaluating", groups)) return false;
  for (const TreeRecord& group : groups) state_.evaluation_tokens += group.tokens_generated;
  state_.tokens_generated = tokens_generated();
  shown_tokens_ = state_.tokens_generated;
  const Evaluation evaluation = evaluate(groups, config_.eval.samples);
  state_.evaluations.push_back(evaluation);
  state_.evaluated_step = state_.step;
  store_.append("eval", eval_row(state_.step, evaluation, config_.eval.temperature, totals()));
  store_.flush();
  log_info("step {}: held-out Pass@1 {:.3f}, Pass@{} {:.3f} ({} problems, {:.1f} tokens a response)", state_.step,
           evaluation.pass_at_1, evaluation.k, evaluation.pass_at_k, evaluation.problems,
           evaluation.response_tokens_mean);
  return true;
}

// What waits in the stream counts when it is used.
int64_t Training::tokens_generated() const {
  const int64_t all = earlier_tokens_ + coordinator_.tokens_generated();
  return stream_ ? all + stream_->earlier_tokens() - stream_->held_tokens() : all;
}

RunTotals Training::totals() const {
  return {.elapsed = elapsed(),
          .tokens_generated = state_.tokens_generated - state_.evaluation_tokens,
          .tokens_trained = state_.tokens_trained};
}

void Training::remember(std::vector<TreeRecord> grown) {
  // Tokens are not needed for the search table; trees of a few steps may wait for their ranks' reports.
  for (TreeRecord& tree : grown) {
    give_back(tree.tokens);
    give_back(tree.logprobs);
    give_back(tree.entropies);
    give_back(tree.token_versions);
    give_back(tree.events);
    if (config_.store.trees()) store_.add_problem(tree.problem, "train");
  }
  unreported_[state_.step] = std::move(grown);
}

void Training::record_search(bool wait) {
  for (const ReportMessage& report : coordinator_.take_reports(wait)) {
    const int rank = world_.search_ranks().at(static_cast<size_t>(report.search_index));
    std::vector<const TreeRecord*> grown;
    for (const TreeRecord& tree : unreported_[report.step]) {
      if (tree.made_by_rank == rank) grown.push_back(&tree);
    }
    store_.append("search", search_row(report, rank, grown));
    if (report.step == state_.step) ++reports_;
  }
  // Two steps back every report has come: a rank reports before it takes the next policy.
  unreported_.erase(unreported_.begin(), unreported_.lower_bound(state_.step - 1));
}

void Training::save_checkpoint(bool may_fail) {
  const Place now{state_.step, state_.evaluated_step, waves_};
  std::vector<TreeRecord> trees = std::move(unfinished_);
  if (stream_) {
    for (TreeRecord& tree : stream_->finished()) trees.push_back(std::move(tree));
  } else {  // came after the work was interrupted
    for (TreeMessage& message : coordinator_.take_records()) trees.push_back(std::move(message.tree));
  }
  std::erase_if(trees, [this](const TreeRecord& tree) { return lost_.contains(tree.made_by_rank); });
  trees.insert(trees.end(), finished_.rest().begin(), finished_.rest().end());
  if (saved_ == now && trees.empty()) return;
  const Stopwatch watch;
  // What run.h5 says about the steps before must be there whenever the checkpoint is.
  constexpr double kPatience = 5;
  while (state_.step > first_step_ && reports_ < world_.n_search() && watch.seconds() < kPatience) {
    record_search(/*wait=*/true);
  }
  store_.flush();
  RunState state = state_;
  state.elapsed = elapsed();
  state.device_seconds = spending().device_seconds;
  if (rounds_ != nullptr) {
    state.rounds = rounds_->bytes();
    state.cache = rounds_->cache_bytes();
  }
  state.checkpoint_seconds = checkpoints_.seconds();
  const OptimizerState own = held_ ? *held_ : trainer_.optimizer_state();
  const bool written = checkpoints_.save(state, *weights_, own, trees, may_fail);
  checkpoint_seconds_ += watch.seconds();
  if (!written) return;
  budget_.took_checkpoint(checkpoints_.seconds());
  saved_ = now;
}

}  // namespace deepsearch
