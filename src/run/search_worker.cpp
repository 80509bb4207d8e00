#include "run/search_worker.h"

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

#include "core/error.h"
#include "core/log.h"
#include "core/progress.h"
#include "search/branch_rollouts.h"

namespace deepsearch {

using Work = AssignMessage::Work;

SearchWorker::SearchWorker(World& world, Mailbox& mailbox, const Config& config, const Verifier& verifier,
                           const ModelConfig& model, PartWriter* part, std::unique_ptr<Engine> engine)
    : world_(world),
      mailbox_(mailbox),
      config_(config),
      model_(model),
      channel_(world),
      part_(part),
      engine_(engine ? std::move(engine)
                     : make_engine(config.engine, model, static_cast<uint64_t>(config.run.seed), world.rank(),
                                   world.ranks_on_host())),
      sharing_(*engine_, world.rank(), *this),
      forest_(sharing_, verifier, config.search,
              {.seed = static_cast<uint64_t>(config.run.seed),
               .made_by_rank = world.rank(),
               .first_handle = SharingGenerator::first_handle(world.rank())}) {}

bool SearchWorker::handle(Envelope& envelope) {
  AnyMessage& message = envelope.message;
  if (const auto* assign = std::get_if<AssignMessage>(&message)) {
    on_assign(*assign);
  } else if (const auto* weights = std::get_if<WeightsMessage>(&message)) {
    on_weights(*weights);
  } else if (const auto* share = std::get_if<ShareMessage>(&message)) {
    sharing_.share(share->helper, share->on, share->helper_load);
  } else if (auto* asked = std::get_if<ExpandMessage>(&message)) {
    sharing_.on_expand(envelope.from, std::move(asked->shared));
  } else if (auto* came = std::get_if<ExpandedMessage>(&message)) {
    sharing_.on_expanded(envelope.from, std::move(came->expansion));
  } else if (const auto* done = std::get_if<ForgetMessage>(&message)) {
    sharing_.on_forget(done->tree);
  } else if (const auto* ended = std::get_if<CancelMessage>(&message)) {
    cancel(ended->keys);
  } else {
    return false;
  }
  return true;
}

void SearchWorker::expand(int helper, SharedRequest request) {
  mailbox_.send(helper, ExpandMessage{.shared = std::move(request)});
}

void SearchWorker::expanded(int owner, Expansion expansion) {
  mailbox_.send(owner, ExpandedMessage{.expansion = std::move(expansion)});
}

void SearchWorker::forget(int helper, uint64_t tree) {
  mailbox_.send(helper, ForgetMessage{.tree = tree});
}

void SearchWorker::tell_load(bool always) {
  if (!config_.ranks.share || world_.n_search() == 1) return;
  const Load& now = sharing_.load();
  if (!always && !load_.due(now)) return;
  mailbox_.send(world_.coordinator_rank(), LoadMessage{.load = now});
  load_.told(now);
}

void SearchWorker::on_assign(const AssignMessage& message) {
  if (message.policy_version <= version_) {
    assign(message);
  } else if (receiving()) {
    deferred_.push_back(message);
  } else {
    failure("assigned work for policy version {}, but this rank has version {} and no newer one is announced",
            message.policy_version, version_);
  }
}

void SearchWorker::assign(const AssignMessage& message) {
  const bool evaluating = !message.items.empty() && message.items.front().work == Work::kEvaluate;
  if (evaluating_ && !evaluating && !works_for_training()) {
    take_report(0);  // dropped, the time too
    tokens_evaluating_ = 0;
  }
  evaluating_ = evaluating;
  // Replay groups first: while nothing is in flight their solutions can be scored at once.
  for (const bool replays : {true, false}) {
    for (const AssignMessage::Item& item : message.items) {
      if ((item.work == Work::kReplay) == replays) start(running_[item.key] = {.item = item, .handle = 0}, item.work);
    }
  }
  tell_load(/*always=*/true);
}

// Whether anything since the last report was training's, or still is: search that runs ahead goes on beside
// evaluations.
bool SearchWorker::works_for_training() const {
  return trees_done_ > trees_reported_ || groups_done_ > groups_reported_ ||
         std::any_of(running_.begin(), running_.end(),
                     [](const auto& entry) { return entry.second.item.work != Work::kEvaluate; });
}

void SearchWorker::report_step(int64_t next_version) {
  if (version_ < 0 || next_version <= 0) return;
  flush();  // whoever has the report may reckon on the trees before it
  mailbox_.send(world_.coordinator_rank(), take_report(next_version));
}

void SearchWorker::set_weights(const WeightSource& weights, int64_t policy_version) {
  report_step(policy_version);
  swap_in(weights, policy_version);
}

void SearchWorker::swap_in(const WeightSource& weights, int64_t policy_version) {
  const ScopedPhase phase(phases_, "weights");
  engine_->set_weights(weights, policy_version);
  version_ = policy_version;
  sharing_.set_version(policy_version);
}

void SearchWorker::on_weights(const WeightsMessage& message) {
  report_step(message.policy_version);
  announced_.push_back(message);
  receive_weights();
}

void SearchWorker::receive_weights() {
  while (receiving()) {
    const WeightsMessage& next = announced_.front();
    if (!taking_) {
      const DType type = type_of(next.precision);
      if (!incoming_ || incoming_->type() != type) incoming_ = std::make_shared<FlatWeights>(model_, type);
      if (next.bytes != incoming_->bytes()) {
        failure("policy version {} has {} bytes, this rank's model {}", next.policy_version, next.bytes,
                incoming_->bytes());
      }
      channel_.start_receive(incoming_->parts(), incoming_);
      taking_ = true;
    }
    if (!channel_.progress()) return;
    swap_in(*incoming_, next.policy_version);
    announced_.pop_front();
    taking_ = false;
    for (const AssignMessage& message : std::exchange(deferred_, {})) on_assign(message);
  }
}

SearchParams SearchWorker::params_of(const AssignMessage::Item& item) const {
  SearchParams params = config_.search;
  params.temperature = item.temperature;
  params.top_p = item.top_p;
  return params;
}

// Whether rollouts from this tree's solution follow it.
bool SearchWorker::branches(const Running& running, const TreeRecord& record) const {
  const Work work = running.item.work;
  return config_.search.branch_rollouts > 0 && (work == Work::kTree || work == Work::kHandOver) &&
         record.kind == RecordKind::kTree && record.stop_reason != StopReason::kCancelled &&
         first_solution(record) >= 0;
}

void SearchWorker::start(Running& running, Work work) {
  const AssignMessage::Item& item = running.item;
  const SearchParams params = params_of(item);
  if (work == Work::kReplay) {
    start_replay(running, params);
  } else if (work == Work::kTree) {
    running.handle = forest_.add_tree(item.problem, item.key, params);
  } else {
    running.handle = forest_.add_rollouts(item.problem, item.key, item.samples, params);
  }
}

// The first places are the cached solutions', and only the others are sampled.
void SearchWorker::start_replay(Running& running, const SearchParams& params) {
  const AssignMessage::Item& item = running.item;
  Replay& replay = replays_[item.key] = {};
  unscored_.push_back(item.key);
  const int64_t sampled = item.samples - static_cast<int64_t>(item.cached.size());
  if (sampled > 0) {
    running.handle = forest_.add_rollouts(item.problem, item.key, sampled, params);
    return;
  }
  TreeRecord nothing;
  nothing.kind = RecordKind::kRollouts;
  nothing.key = item.key;
  nothing.problem = item.problem;
  nothing.made_by_rank = world_.rank();
  replay.rollouts = std::move(nothing);
}

// Only while the engine has nothing else in flight; so many groups at a time that messages do not wait for long.
bool SearchWorker::score_cached() {
  if (unscored_.empty() || engine_->in_flight() > 0) return false;
  const ScopedPhase phase(phases_, "generating");
  constexpr int64_t kTokensAtOnce = 1 << 16;
  std::vector<std::vector<Token>> texts;
  std::vector<TreeKey> keys;
  for (int64_t tokens = 0; !unscored_.empty() && tokens < kTokensAtOnce; unscored_.pop_front()) {
    keys.push_back(unscored_.front());
    const AssignMessage::Item& item = running_.at(keys.back()).item;
    for (const std::vector<Token>& solution : item.cached) {
      texts.push_back(item.problem.prompt_tokens);
      texts.back().insert(texts.back().end(), solution.begin(), solution.end());
      tokens += static_cast<int64_t>(texts.back().size());
    }
  }
  const std::vector<Scores> scores = engine_->score(texts);
  size_t text = 0;
  for (const TreeKey& key : keys) {
    const AssignMessage::Item& item = running_.at(key).item;
    std::vector<ScoredSolution>& cached = replays_.at(key).cached.emplace();
    for (const std::vector<Token>& solution : item.cached) {
      const Scores& values = scores[text++];
      // The first token of a text has no score: those of the solution are the last ones.
      const auto n = static_cast<std::ptrdiff_t>(solution.size());
      cached.push_back({.tokens = solution,
                        .logprobs = {values.logprobs.end() - n, values.logprobs.end()},
                        .entropies = {values.entropies.end() - n, values.entropies.end()}});
    }
    join_replay(key);
  }
  return true;
}

void SearchWorker::join_replay(TreeKey key) {
  const auto found = replays_.find(key);
  Replay& replay = found->second;
  if (!replay.rollouts || !replay.cached) return;
  TreeRecord group = make_replay_group(std::move(*replay.rollouts), *replay.cached, config_.search, version_);
  replays_.erase(found);
  running_.erase(key);
  ++groups_done_;
  deliver(Work::kReplay, /*last=*/true, std::move(group));
}

bool SearchWorker::pump() {
  const bool computed = computes();
  if (score_cached()) {
    // Whatever else waits to be scored comes before anything is in flight.
  } else if (forest_.growing() > 0) {
    forest_.pump();  // also when all of it is with helpers: what they sent is taken in
    for (TreeRecord& record : forest_.take_finished()) finish(std::move(record));
  } else if (computed) {
    const ScopedPhase phase(phases_, "helping");
    sharing_.poll(nothing_);
  } else if (appended_.seconds() > config_.store.flush_seconds) {
    flush();
  }
  tell_load(/*always=*/false);
  return computed;
}

void SearchWorker::flush() {
  if (!unflushed_) return;
  const ScopedPhase phase(phases_, "logging");
  part_->flush();
  unflushed_ = false;
}

const char* SearchWorker::phase() const {
  if (computes()) return forest_.growing() > 0 ? "searching" : "helping";
  if (forest_.growing() > 0) return "waiting for helpers";
  return receiving() ? "taking weights" : "waiting for work";
}

void SearchWorker::finish(TreeRecord&& record) {
  const auto found = running_.find(record.key);
  if (found == running_.end()) failure("a finished tree of problem {} that was never assigned", record.problem.id);
  const Work work = found->second.item.work;
  if (work == Work::kReplay) {
    replays_.at(record.key).rollouts = std::move(record);
    join_replay(found->first);
    return;
  }
  // The oldest that took part.
  record.policy_version = record.token_versions.empty()
                              ? version_
                              : *std::min_element(record.token_versions.begin(), record.token_versions.end());
  if (work == Work::kEvaluate) {
    tokens_evaluating_ += record.tokens_generated;
  } else {
    (record.kind == RecordKind::kTree ? trees_done_ : groups_done_) += 1;
  }
  if (branches(found->second, record)) {
    Running& running = found->second;
    running.handle =
        forest_.add_branch(running.item.problem, running.item.key, steps_of(record, first_solution(record)),
                           config_.search.branch_rollouts, params_of(running.item));
    running.tree = std::move(record);
    return;
  }
  if (found->second.tree) deliver(work, /*last=*/false, std::move(*found->second.tree));
  const bool hand_over = work == Work::kHandOver && record.kind == RecordKind::kRollouts && !has_correct(record) &&
                         record.stop_reason != StopReason::kCancelled;
  if (hand_over) {
    start(found->second, Work::kTree);
  } else {
    running_.erase(found);
  }
  deliver(work, !hand_over, std::move(record));
}

void SearchWorker::deliver(Work work, bool last, TreeRecord&& record) {
  if (safeguard_ && work != Work::kEvaluate && safeguard_->apply(record) > 0) {
    log_info("step {}, problem {} of the batch ({}): of {} recorded trajectories the safeguard dropped {}",
             record.key.step, record.key.problem_index, record.problem.id, record.recorded.size(),
             dropped_text(record).empty() ? "none, but others of the tree" : dropped_text(record));
  }
  if (part_ != nullptr && work != Work::kEvaluate) {
    const ScopedPhase phase(phases_, "logging");
    part_->append(record);
    unflushed_ = true;
    appended_.restart();
  }
  const ScopedPhase phase(phases_, "sending");
  TreeMessage message;
  message.work = work;
  message.last = last;
  message.tree = std::move(record);
  mailbox_.send(world_.coordinator_rank(), message);
}

ReportMessage SearchWorker::take_report(int64_t step) {
  phases_.add("generating", forest_.generator_seconds() - generating_reported_);
  phases_.add("bookkeeping", forest_.bookkeeping_seconds() - bookkeeping_reported_);
  generating_reported_ = forest_.generator_seconds();
  bookkeeping_reported_ = forest_.bookkeeping_seconds();
  const EngineCounters& now = engine_->counters();
  ReportMessage report;
  report.step = step;
  report.search_index = world_.search_index();
  report.trees = trees_done_ - trees_reported_;
  report.groups = groups_done_ - groups_reported_;
  const int64_t generated = now.tokens_generated - reported_.tokens_generated;
  const int64_t evaluating = std::min(generated, tokens_evaluating_);  // some were generated before the last report
  report.tokens_generated = generated - evaluating;
  tokens_evaluating_ -= evaluating;
  report.tokens_prefilled = now.tokens_prefilled - reported_.tokens_prefilled;
  report.tokens_recomputed = now.tokens_recomputed - reported_.tokens_recomputed;
  report.prefix_tokens = now.prefix_tokens - reported_.prefix_tokens;
  report.nodes_evicted = now.nodes_evicted - reported_.nodes_evicted;
  report.kv_bytes_peak = now.kv_bytes_peak;
  const SharingCounters& shared = sharing_.counters();
  report.expansions_lent = shared.expansions_lent - shared_reported_.expansions_lent;
  report.expansions_helped = shared.expansions_helped - shared_reported_.expansions_helped;
  shared_reported_ = shared;
  if (report.nodes_evicted > 0) {
    log_warning(
        "the KV cache of {} was full: {} nodes were evicted ({} tokens) since the last report, {} sequences "
        "preempted; [engine].kv_memory_mb or fewer trees at once would help",
        format_bytes(static_cast<uint64_t>(now.kv_bytes_limit)), report.nodes_evicted,
        now.tokens_evicted - reported_.tokens_evicted, now.sequences_preempted - reported_.sequences_preempted);
  }
  for (const auto& [name, entry] : phases_.entries()) {
    report.phases.push_back(name);
    report.phase_seconds.push_back(entry.seconds);
  }
  phases_ = PhaseTimes();
  reported_ = now;
  trees_reported_ = trees_done_;
  groups_reported_ = groups_done_;
  return report;
}

void SearchWorker::cancel(const std::vector<TreeKey>& keys) {
  for (const TreeKey& key : keys) {
    const auto found = running_.find(key);
    if (found != running_.end()) forest_.cancel(found->second.handle);
  }
  for (TreeRecord& record : forest_.take_finished()) finish(std::move(record));
}

void SearchWorker::drop_trees() {
  flush();
  forest_.cancel_all();
  forest_.take_finished();
  sharing_.drop_foreign();
  running_.clear();
  replays_.clear();
  unscored_.clear();
  deferred_.clear();
}

void SearchWorker::drop_all(double patience_seconds) {
  drop_trees();
  const Stopwatch watch;
  while (receiving() && watch.seconds() < patience_seconds) {
    receive_weights();
    std::this_thread::sleep_for(std::chrono::microseconds(100));
  }
}

}  // namespace deepsearch
