#include "run/coordinator.h"

#include <algorithm>
#include <iterator>
#include <span>
#include <tuple>
#include <utility>

#include "core/activity.h"
#include "core/error.h"
#include "core/log.h"
#include "core/progress.h"
#include "core/signals.h"
#include "core/timer.h"
#include "run/flat_weights.h"

namespace deepsearch {

Coordinator::Coordinator(World& world, Mailbox& mailbox, const RanksParams& params, SearchWorker* local, DType sent_as)
    : world_(world),
      mailbox_(mailbox),
      params_(params),
      local_(local),
      sent_as_(sent_as),
      channel_(world),
      watchdog_(world, now_seconds()),
      dispatcher_(world.search_ranks(),
                  {.problems_in_flight = params.problems_in_flight, .share = params.share && world.n_search() > 1}) {
  mailbox_.on_arrival([this](int from, const AnyMessage& message) {
    const auto* heartbeat = std::get_if<HeartbeatMessage>(&message);
    heartbeat != nullptr ? watchdog_.heard(from, *heartbeat, now_seconds()) : watchdog_.heard(from, now_seconds());
  });
  while_waiting_.emplace([this] { give_signs_of_life(); }, params.heartbeat_seconds);
}

Coordinator::~Coordinator() {
  mailbox_.on_arrival(nullptr);
}

std::vector<int> Coordinator::others() const {
  std::vector<int> ranks;
  for (int rank = 0; rank < world_.size(); ++rank) {
    if (rank != world_.rank()) ranks.push_back(rank);
  }
  return ranks;
}

std::vector<int> Coordinator::other_learners() const {
  std::vector<int> learners;
  for (const int rank : world_.learner_ranks()) {
    if (rank != world_.rank()) learners.push_back(rank);
  }
  return learners;
}

void Coordinator::dispatch() {
  const Decisions decisions = dispatcher_.decide();
  for (const Assignment& assignment : decisions.assignments) assign(assignment.rank, assignment.count);
  for (const ShareOrder& order : decisions.shares) {
    mailbox_.send(order.donor, ShareMessage{.helper = order.helper, .on = order.on, .helper_load = order.helper_load});
  }
}

void Coordinator::assign(int rank, int64_t count) {
  AssignMessage message;
  message.policy_version = policy_version_;
  for (; count > 0; --count) {
    message.items.push_back(std::move(queue_.front()));
    queue_.pop_front();
  }
  mailbox_.send(rank, message);
}

void Coordinator::handle(Envelope&& envelope) {
  if (auto* tree = std::get_if<TreeMessage>(&envelope.message)) {
    if (tree->last) {
      dispatcher_.finished(envelope.from);
      awaited_.erase(tree->tree.key);
    }
    tokens_generated_ += tree->tree.tokens_generated;
    records_.push_back(std::move(*tree));
  } else if (auto* report = std::get_if<ReportMessage>(&envelope.message)) {
    if (report->last) ++goodbyes_;
    if (!report->last) reports_.push_back(std::move(*report));
  } else if (auto* heartbeat = std::get_if<HeartbeatMessage>(&envelope.message)) {
    if (heartbeat->stopping != 0) request_stop(heartbeat->stopping);
  } else if (const auto* control = std::get_if<ControlMessage>(&envelope.message)) {
    if (control->command == ControlMessage::Command::kHalted) halting_.erase(envelope.from);
    if (control->command == ControlMessage::Command::kSaved) {
      saving_.erase(envelope.from);
      if (save_error_.empty() && !control->why.empty()) {
        save_error_ = fmt::format("{}: {}", world_.describe_rank(envelope.from), control->why);
      }
    }
  } else if (const auto* told = std::get_if<LoadMessage>(&envelope.message)) {
    dispatcher_.told(envelope.from, told->load);
  } else if (local_ == nullptr || !local_->handle(envelope)) {
    nobody_takes(world_, envelope);
  }
}

// Takes everything that has arrived; with `wait`, sleeps a moment for the first of it.
void Coordinator::listen(bool wait) {
  constexpr double kPatience = 0.05;  // seconds between looks at the stop flag and the watchdog
  constexpr double kSending = 0.001;  // … while weights are on their way
  move_weights();
  std::optional<Envelope> envelope = wait ? mailbox_.wait(sending_ ? kSending : kPatience) : mailbox_.receive();
  while (envelope) {
    handle(std::move(*envelope));
    envelope = mailbox_.receive();
  }
  report_progress();
}

void Coordinator::add(std::vector<AssignMessage::Item> items) {
  dispatcher_.queued(static_cast<int64_t>(items.size()));
  std::move(items.begin(), items.end(), std::back_inserter(queue_));
  dispatch();
}

void Coordinator::serve() {
  dispatch();
  const bool worked = local_ != nullptr && local_->pump();
  listen(/*wait=*/!worked);
  abort_if_silent();
}

Harvest Coordinator::grow(std::vector<AssignMessage::Item> items, const std::function<void(int64_t)>& progress) {
  enter_phase("growing trees");
  std::set<TreeKey> wanted;
  for (const AssignMessage::Item& item : items) wanted.insert(item.key);
  awaited_ = wanted;
  dispatcher_.queued(static_cast<int64_t>(items.size()));
  queue_.insert(queue_.begin(), std::make_move_iterator(items.begin()), std::make_move_iterator(items.end()));
  Harvest harvest;
  while (!awaited_.empty() && !harvest.interrupted) {
    serve();
    progress(static_cast<int64_t>(wanted.size() - awaited_.size()));
    harvest.interrupted = stop_requested();
  }
  const auto others_work = std::stable_partition(
      records_.begin(), records_.end(), [&](const TreeMessage& record) { return !wanted.contains(record.tree.key); });
  harvest.records.assign(std::make_move_iterator(others_work), std::make_move_iterator(records_.end()));
  records_.erase(others_work, records_.end());
  std::sort(harvest.records.begin(), harvest.records.end(), [](const TreeMessage& a, const TreeMessage& b) {
    return std::tie(a.tree.key, b.tree.kind) < std::tie(b.tree.key, a.tree.kind);  // groups (the larger kind) first
  });
  return harvest;
}

void Coordinator::cancel(const std::vector<TreeKey>& keys) {
  const std::set<TreeKey> ended(keys.begin(), keys.end());
  const auto waiting = static_cast<int64_t>(
      std::erase_if(queue_, [&](const AssignMessage::Item& item) { return ended.contains(item.key); }));
  dispatcher_.withdrawn(waiting);
  if (waiting < static_cast<int64_t>(keys.size())) {
    mailbox_.send_all(world_.search_ranks(), CancelMessage{.keys = keys});
  }
}

void Coordinator::abort_if_silent() {
  const double now = now_seconds();
  watchdog_.listened(now);
  watchdog_.heard(world_.rank(), now);
  if (const auto silent = watchdog_.silent(now)) world_.abort(current_activity().phase, silent->text, kExitFailure);
}

// Also called in the middle of sums and files (core/activity.h): messages are taken in, not handled.
void Coordinator::give_signs_of_life() {
  if (world_.size() == 1) return;
  mailbox_.take_in();
  mailbox_.send_all(others(), sign_of_life(world_));
  last_sign_ = now_seconds();
  abort_if_silent();
}

void Coordinator::keep_alive() {
  listen(/*wait=*/false);
  dispatch();
  if (now_seconds() - last_sign_ > params_.heartbeat_seconds) give_signs_of_life();
}

void Coordinator::log_throughput(double seconds) const {
  const double waited = std::max(seconds, 1e-9);
  const double busy = local_ == nullptr ? 0 : local_->engine().counters().busy_seconds;
  log_info("{} tokens in {} ({:.0f} a second), {:.1f} % of the time in this rank's engine",
           format_count(tokens_generated_), format_duration(seconds), static_cast<double>(tokens_generated_) / waited,
           100 * busy / waited);
}

void Coordinator::move_weights() {
  if (!sending_ || !channel_.progress()) return;
  sending_ = false;
  weights_seconds_ += channel_.seconds();
  log_debug("policy version {}: {} to {} search ranks in {:.3f} s", policy_version_,
            format_bytes(static_cast<uint64_t>(channel_.bytes())), world_.n_search(), channel_.seconds());
}

void Coordinator::finish_weights() {
  if (!sending_) return;
  enter_phase("sending weights");
  while (sending_) listen(/*wait=*/true);
}

void Coordinator::publish(std::shared_ptr<const ModelWeights> weights, int64_t policy_version) {
  if (local_ != nullptr) {
    policy_version_ = policy_version;
    local_->set_weights(*weights, policy_version);
    return;
  }
  finish_weights();
  policy_version_ = policy_version;
  std::vector<std::span<const std::byte>> parts;
  std::shared_ptr<const void> owner;
  if (sent_as_ == DType::kF32) {
    for (const HostTensor& tensor : weights->tensors) parts.push_back(std::as_bytes(std::span(tensor.values)));
    owner = std::move(weights);
  } else {
    const auto flat = std::make_shared<FlatWeights>(weights->config, sent_as_);
    flat->fill(*weights);
    for (const auto part : flat->parts()) parts.emplace_back(part);
    owner = flat;
  }
  WeightsMessage message;
  message.policy_version = policy_version;
  message.precision = precision_of(sent_as_);
  for (const auto part : parts) message.bytes += static_cast<int64_t>(part.size());
  mailbox_.send_all(world_.search_ranks(), message);
  channel_.start_send(std::move(parts), std::move(owner));
  sending_ = true;
  listen(/*wait=*/false);
}

void Coordinator::share_batch(const std::vector<TreeRecord>& trees, int64_t step, double progress) {
  enter_phase("learning");
  if (local_ != nullptr) local_->suspend();
  const std::vector<int> learners = other_learners();
  if (learners.empty()) return;
  for (const TreeRecord& tree : trees) {
    TreeMessage message;
    message.tree = tree;
    mailbox_.send_all(learners, message);
    report_progress();
  }
  ControlMessage learn;
  learn.command = ControlMessage::Command::kLearn;
  learn.step = step;
  learn.progress = progress;
  mailbox_.send_all(learners, learn);
}

void Coordinator::save(const std::filesystem::path& folder, int64_t step) {
  enter_phase("saving a checkpoint");
  if (local_ != nullptr) local_->flush();
  const std::vector<int> all = others();
  saving_ = std::set<int>(all.begin(), all.end());
  ControlMessage save;
  save.command = ControlMessage::Command::kSave;
  save.step = step;
  save.why = folder.string();
  mailbox_.send_all(all, save);
}

std::string Coordinator::saved() {
  constexpr double kLongest = 0.3;  // as in halt()
  const Stopwatch watch;
  const auto learns = [this](int rank) {
    const std::vector<int> learners = other_learners();
    return std::find(learners.begin(), learners.end(), rank) != learners.end();
  };
  while (!saving_.empty()) {
    const bool hurry = stop_requested() && watch.seconds() > kLongest;
    if (hurry && std::none_of(saving_.begin(), saving_.end(), learns)) break;
    listen(/*wait=*/true);
  }
  return std::exchange(save_error_, {});
}

std::set<int> Coordinator::halt() {
  if (local_ != nullptr) local_->drop_trees();
  queue_.clear();
  dispatcher_.clear();
  ControlMessage halt;
  halt.command = ControlMessage::Command::kHalt;
  for (const int rank : world_.search_ranks()) {
    if (rank == world_.rank()) continue;
    mailbox_.send(rank, halt);
    halting_.insert(rank);
  }
  constexpr double kLongest = 0.3;  // a launcher that stops a job may kill it soon after
  const Stopwatch watch;
  while (!halting_.empty() && watch.seconds() < kLongest) listen(/*wait=*/true);
  return halting_;
}

void Coordinator::stop_all(const std::string& why) {
  enter_phase("ending");
  while_waiting_.reset();
  ControlMessage stop;
  stop.command = ControlMessage::Command::kStop;
  stop.why = why;
  mailbox_.send_all(others(), stop);
  // Until every search rank has said goodbye: what it sent before is then here, and no send is left without a receiver.
  constexpr double kLongest = 5;
  const Stopwatch watch;
  const int expected = world_.n_search() - (local_ != nullptr ? 1 : 0);
  while ((goodbyes_ < expected || sending_) && watch.seconds() < kLongest) listen(/*wait=*/true);
  mailbox_.flush(kLongest);
}

std::vector<ReportMessage> Coordinator::take_reports(bool wait) {
  listen(wait && reports_.empty());
  return std::exchange(reports_, {});
}

}  // namespace deepsearch
