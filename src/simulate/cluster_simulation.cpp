#include "simulate/cluster_simulation.h"

#include <cmath>
#include <numeric>
#include <utility>

#include "core/error.h"
#include "simulate/cluster_rank.h"

namespace deepsearch {

namespace {

constexpr int64_t kEnvelope = 64;    // bytes of a message beside what it carries
constexpr int64_t kTokenBytes = 12;  // token, log-probability, entropy
constexpr int64_t kNodeBytes = 80;   // of a record
constexpr int64_t kChildBytes = 48;  // of an expansion
constexpr int64_t kPathBytes = 8;    // a node of a request's path
constexpr int64_t kProblemBytes = 200;

std::vector<int> first_ranks(int64_t n) {
  std::vector<int> ranks(static_cast<size_t>(n));
  std::iota(ranks.begin(), ranks.end(), 0);
  return ranks;
}

}  // namespace

ClusterSimulation::ClusterSimulation(const ClusterParams& params, bool share)
    : params_(params),
      search_(simulated_search(params)),
      engine_(simulated_engine(params)),
      workload_(params),
      dispatcher_(first_ranks(params.cluster.search_ranks),
                  {.problems_in_flight = params.cluster.problems_in_flight, .share = share}),
      network_(params.network, params.cluster.search_ranks + 1) {
  for (int rank = 0; rank < params.cluster.search_ranks; ++rank) {
    ranks_.push_back(std::make_unique<Rank>(*this, rank));
  }
}

ClusterSimulation::~ClusterSimulation() = default;

void ClusterSimulation::schedule(double time, Event::Kind kind, int rank, uint64_t what) {
  events_.push({.time = time, .serial = next_serial_++, .kind = kind, .rank = rank, .what = what});
}

int64_t ClusterSimulation::bytes_of(const Payload& payload) const {
  const int64_t scale = params_.workload.token_scale;
  int64_t bytes = kEnvelope;
  if (const auto* assign = std::get_if<Assign>(&payload)) {
    bytes += std::ssize(assign->problems) * (kProblemBytes + 4 * params_.workload.prompt_tokens);
  } else if (const auto* shared = std::get_if<SharedRequest>(&payload)) {
    bytes += 4 * scale * std::ssize(shared->request.prefix) + kPathBytes * std::ssize(shared->request.path);
  } else if (const auto* expansion = std::get_if<Expansion>(&payload)) {
    for (const Step& step : expansion->children) bytes += kChildBytes + kTokenBytes * scale * std::ssize(step.tokens);
  } else if (const auto* finished = std::get_if<Finished>(&payload)) {
    // Beside its tokens: the policy version that made each.
    bytes += kNodeBytes * std::ssize(finished->record->nodes) +
             (kTokenBytes + 4) * scale * std::ssize(finished->record->tokens);
  }
  return bytes;
}

void ClusterSimulation::send(int from, int to, Message&& message, double when) {
  const int64_t bytes = bytes_of(message.payload);
  ++trace_.messages;
  trace_.bytes += bytes;
  size_t place = post_.size();
  if (free_post_.empty()) {
    post_.emplace_back(std::move(message));
  } else {
    place = free_post_.back();
    free_post_.pop_back();
    post_[place] = std::move(message);
  }
  schedule(network_.arrival(from, to, bytes, when), Event::Kind::kArrival, to, place);
}

ClusterTrace ClusterSimulation::run(const Seen& seen) {
  seen_ = seen;
  begin_step(0);
  while (!events_.empty()) {
    const Event event = events_.top();
    events_.pop();
    switch (event.kind) {
      case Event::Kind::kArrival: {
        Message message = std::move(post_[event.what]);
        free_post_.push_back(event.what);
        ++trace_.messages_received;
        arrived(event.rank, std::move(message), event.time);
        break;
      }
      case Event::Kind::kRank:
        ranks_[static_cast<size_t>(event.rank)]->wake(event.what, event.time);
        break;
      case Event::Kind::kCoordinator:
        coordinate(event.time);
        break;
      case Event::Kind::kLearnt:
        learnt(event.time);
        break;
      case Event::Kind::kPublished:
        published(event.time);
        break;
    }
  }
  if (std::ssize(trace_.steps) != params_.cluster.steps || trace_.steps.back().end == 0) {
    failure("the simulation came to rest in step {} of {}", trace_.steps.size(), params_.cluster.steps);
  }
  for (const auto& rank : ranks_) trace_.ranks.push_back(rank->trace());
  trace_.leases_made = dispatcher_.leases_made();
  return std::move(trace_);
}

void ClusterSimulation::arrived(int to, Message&& message, double now) {
  if (to != coordinator()) {
    ranks_[static_cast<size_t>(to)]->arrived(std::move(message), now);
    return;
  }
  inbox_.push_back(std::move(message));
  if (coordinating_) return;
  coordinating_ = true;
  schedule(std::max(now, free_at_), Event::Kind::kCoordinator, to, 0);
}

// Takes all that has come, decides once, and sends what follows.
void ClusterSimulation::coordinate(double now) {
  coordinating_ = false;
  double done = now;
  trace_.messages_in += std::ssize(inbox_);
  while (!inbox_.empty()) {
    Message message = std::move(inbox_.front());
    inbox_.pop_front();
    done += params_.network.message_seconds;
    if (std::holds_alternative<Finished>(message.payload)) done += params_.network.tree_seconds;
    handle(std::move(message), done);
  }
  carry_out(dispatcher_.decide(), done);
  trace_.coordinator_seconds += done - now;
  free_at_ = done;
}

void ClusterSimulation::handle(Message&& message, double now) {
  if (const auto* load = std::get_if<Load>(&message.payload)) {
    dispatcher_.told(message.from, *load);
  } else if (auto* finished = std::get_if<Finished>(&message.payload)) {
    StepTrace& step = trace_.steps.back();
    step.trained_tokens += trained_tokens(*finished->record) * params_.workload.token_scale;
    if (seen_) seen_(*finished->record);
    if (!finished->last) return;
    dispatcher_.finished(message.from);
    step.finished.push_back(now);
    if (std::ssize(step.finished) < params_.cluster.problems) return;
    const double learning = static_cast<double>(step.trained_tokens) / params_.learner.tokens_per_second;
    schedule(now + learning, Event::Kind::kLearnt, coordinator(), 0);
  }
}

void ClusterSimulation::begin_step(double now) {
  trace_.steps.push_back({.begin = now, .finished = {}});
  dispatcher_.queued(params_.cluster.problems);
  double done = std::max(now, free_at_);
  const double before = done;
  carry_out(dispatcher_.decide(), done);
  trace_.coordinator_seconds += done - before;
  free_at_ = done;
}

void ClusterSimulation::carry_out(const Decisions& decisions, double& now) {
  for (const Assignment& assignment : decisions.assignments) {
    Assign assign;
    for (int64_t i = 0; i < assignment.count; ++i) assign.problems.push_back(next_problem_++);
    now += params_.network.message_seconds;
    ++trace_.messages_out;
    send(coordinator(), assignment.rank, {.from = coordinator(), .payload = std::move(assign)}, now);
  }
  for (const ShareOrder& order : decisions.shares) {
    now += params_.network.message_seconds;
    ++trace_.messages_out;
    send(coordinator(), order.donor,
         {.from = coordinator(), .payload = Share{order.helper, order.on, order.helper_load}}, now);
  }
}

// The weights are passed on from rank to rank in pieces: every link carries them once.
void ClusterSimulation::learnt(double now) {
  trace_.steps.back().learn_end = now;
  const double hops = std::log2(static_cast<double>(ranks_.size()) + 1);
  const double publishing =
      params_.learner.weights_gb / params_.network.bandwidth_gbs + hops * params_.network.latency_seconds;
  schedule(now + publishing, Event::Kind::kPublished, coordinator(), 0);
}

void ClusterSimulation::published(double now) {
  trace_.steps.back().end = now;
  ++version_;
  for (const auto& rank : ranks_) rank->set_version(version_);
  if (std::ssize(trace_.steps) < params_.cluster.steps) begin_step(now);
}

}  // namespace deepsearch
