#include "run/training.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/error.h"
#include "core/log.h"
#include "core/signals.h"
#include "run/metric_rows.h"
#include "run/setup.h"

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

}  // namespace

Training::Training(const Config& config, const Task& task, const ProblemSource& problems, const World& world,
                   Coordinator& coordinator, Trainer& trainer, RunWriter& store, std::filesystem::path folder,
                   const ModelWeights& start)
    : config_(config),
      task_(task),
      problems_(problems),
      world_(world),
      coordinator_(coordinator),
      trainer_(trainer),
      store_(store),
      folder_(std::move(folder)),
      weights_(std::shared_ptr<void>(), &start),  // not owned: it outlives this
      progress_("training", config.learn.steps, /*enabled=*/true) {}

bool Training::run() {
  coordinator_.publish(weights_, 0);
  if (!evaluate_now()) return false;
  while (step_ < config_.learn.steps) {
    if (!one_step()) return false;
    const bool last = step_ == config_.learn.steps;
    const int64_t every = config_.eval.every;
    if ((last || (every > 0 && step_ % every == 0)) && !evaluate_now()) return false;
    const int64_t save = config_.learn.checkpoint_every;
    if (save > 0 && step_ % save == 0 && !last) save_checkpoint();
  }
  progress_.finish();
  return true;
}

// One step: a batch of trees under one policy version, and the version made from it.
bool Training::one_step() {
  const Stopwatch total;
  StepSeconds seconds;
  StepBatch batch;
  std::vector<TreeRecord> grown;
  if (!grow_batch(batch, grown)) return false;
  seconds.wait = total.seconds();

  const Stopwatch learning;
  store_.flush();  // what a kill while learning cannot take away
  TrainStats stats;
  if (!learn(batch, stats)) return false;
  tokens_trained_ += stats.trained_tokens;
  seconds.learn = learning.seconds();

  const Stopwatch publishing;
  weights_ = std::make_shared<const ModelWeights>(trainer_.weights());
  ++step_;
  coordinator_.publish(weights_, step_);
  seconds.weights = publishing.seconds() + coordinator_.take_weights_seconds();

  seconds.total = total.seconds();
  seconds.logging = store_.seconds_spent() - logged_;
  logged_ = store_.seconds_spent();
  seconds.checkpoint = std::exchange(checkpoint_seconds_, 0);
  if (stats.updates == stats.skipped_updates) ++skipped_steps_;
  store_.append("learner", learner_row(step_, batch, stats, seconds, totals(), skipped_steps_));
  remember(std::move(grown));
  record_search();
  const double per_second = static_cast<double>(coordinator_.tokens_generated() - shown_tokens_) / seconds.total;
  shown_tokens_ = coordinator_.tokens_generated();
  detail_ =
      fmt::format("Pass@1 {:.3f}, solved {:.0f} %, {:.1f} trees/s, {} tokens/s",
                  evaluations_.empty() ? 0 : evaluations_.back().pass_at_1,
                  100.0 * static_cast<double>(batch.solved) / static_cast<double>(std::max<int64_t>(batch.seen, 1)),
                  static_cast<double>(batch.seen) / seconds.total, static_cast<int64_t>(per_second));
  progress_.update(step_, detail_);
  log_debug(
      "step {}: loss {:.4f}, gradient norm {:.3f}, entropy {:.3f}, {} uniform of {}, wait {:.2f} s, learn {:.2f} s",
      step_, stats.loss, stats.grad_norm, stats.policy_entropy, batch.uniform, batch.seen, seconds.wait, seconds.learn);
  if (stats.skipped_updates > 0) {
    log_warning("step {}: {} of {} updates were skipped, their gradient was not finite", step_, stats.skipped_updates,
                stats.updates);
  }
  return true;
}

bool Training::learn(const StepBatch& batch, TrainStats& stats) {
  // A launcher that passes on Ctrl-C gives its ranks a second, less than a large batch takes. A learner that is alone
  // can leave at any micro-batch; several must meet in the sum of their gradients first.
  struct Stopped {};
  const bool alone = world_.n_learners() == 1;
  coordinator_.share_batch(batch.trees, step_ + 1);
  try {
    const auto between = [&] {
      coordinator_.keep_alive();
      if (alone && stop_requested()) throw Stopped();
    };
    stats = trainer_.train(minibatches_of(batch.trees, config_.learn.minibatch_problems, config_.credit), between,
                           /*version=*/step_);
  } catch (const Stopped&) {
    return false;
  }
  return true;
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
    Harvest harvest =
        coordinator_.grow(next_problems(count, place), [this](int64_t) { progress_.update(step_, detail_); });
    if (harvest.interrupted) return false;
    place += count;
    for (TreeMessage& message : harvest.records) grown.push_back(std::move(message.tree));
    batch = choose_batch(grown, wanted, config_.credit);
    if (static_cast<int64_t>(batch.trees.size()) >= wanted) break;
  }
  return true;
}

std::vector<AssignMessage::Item> Training::next_problems(int64_t count, int64_t first_place) {
  std::vector<AssignMessage::Item> items;
  for (int64_t i = 0; i < count; ++i) {
    AssignMessage::Item item;
    item.problem = problems_.problem(Split::kTrain, next_problem_++);
    item.key = {
        .round = 0, .step = step_ + 1, .problem_index = first_place + i, .problem_key = item.problem.key, .attempt = 0};
    item.work = work_of(config_.search.when);
    item.samples = config_.search.group;
    item.temperature = config_.search.temperature;
    item.top_p = config_.search.top_p;
    items.push_back(std::move(item));
  }
  return items;
}

bool Training::evaluate_now() {
  std::vector<AssignMessage::Item> items;
  const int64_t held_out = problems_.size(Split::kTest);
  const int64_t count = held_out < 0 ? config_.eval.problems : std::min(config_.eval.problems, held_out);
  for (int64_t i = 0; i < count; ++i) {
    AssignMessage::Item item;
    item.problem = problems_.problem(Split::kTest, i);
    // Step numbers of evaluations are their own (negative), so that they share no random numbers with training.
    item.key = {.round = 0, .step = -1 - step_, .problem_index = i, .problem_key = item.problem.key, .attempt = 0};
    item.work = AssignMessage::Work::kEvaluate;
    item.samples = config_.eval.samples;
    item.temperature = config_.eval.temperature;
    item.top_p = config_.eval.top_p;
    items.push_back(std::move(item));
  }
  const int64_t before = coordinator_.tokens_generated();
  Harvest harvest = coordinator_.grow(std::move(items), [this](int64_t) { progress_.update(step_, "evaluating"); });
  if (harvest.interrupted) return false;
  evaluation_tokens_ += coordinator_.tokens_generated() - before;
  shown_tokens_ = coordinator_.tokens_generated();
  std::vector<TreeRecord> groups;
  for (TreeMessage& message : harvest.records) groups.push_back(std::move(message.tree));
  const Evaluation evaluation = evaluate(groups, config_.eval.samples);
  evaluations_.push_back(evaluation);
  store_.append("eval", eval_row(step_, evaluation, config_.eval.temperature, totals()));
  store_.flush();
  log_info("step {}: held-out Pass@1 {:.3f}, Pass@{} {:.3f} ({} problems, {:.1f} tokens a response)", step_,
           evaluation.pass_at_1, evaluation.k, evaluation.pass_at_k, evaluation.problems,
           evaluation.response_tokens_mean);
  return true;
}

RunTotals Training::totals() const {
  return {.elapsed = elapsed_.seconds(),
          .tokens_generated = coordinator_.tokens_generated() - evaluation_tokens_,
          .tokens_trained = tokens_trained_};
}

void Training::remember(std::vector<TreeRecord> grown) {
  // Tokens are not needed for the search table; trees of a few steps may wait for their ranks' reports.
  for (TreeRecord& tree : grown) {
    tree.tokens = {};
    tree.logprobs = {};
    tree.entropies = {};
    tree.token_versions = {};
    tree.events = {};
    if (config_.store.trees) store_.add_problem(tree.problem, "train");
  }
  unreported_[step_] = std::move(grown);
}

void Training::record_search() {
  for (const ReportMessage& report : coordinator_.take_reports()) {
    const int rank = world_.search_ranks().at(static_cast<size_t>(report.search_index));
    std::vector<const TreeRecord*> grown;
    for (const TreeRecord& tree : unreported_[report.step]) {
      if (tree.made_by_rank == rank) grown.push_back(&tree);
    }
    store_.append("search", search_row(report, rank, grown));
  }
  // Two steps back every report has come: a rank reports before it takes the next policy.
  unreported_.erase(unreported_.begin(), unreported_.lower_bound(step_ - 1));
}

void Training::save_checkpoint() {
  const Stopwatch watch;
  const std::filesystem::path folder = folder_ / "checkpoints" / fmt::format("step-{:06}", step_);
  save_policy(folder, *weights_, task_);
  checkpoint_seconds_ += watch.seconds();
  log_info("step {}: saved checkpoints/{}", step_, folder.filename().string());
}

}  // namespace deepsearch
