#include "simulate/cluster_rank.h"

#include <utility>

namespace deepsearch {

ClusterSimulation::Rank::Rank(ClusterSimulation& cluster, int rank)
    : cluster_(cluster),
      rank_(rank),
      engine_(cluster.workload_.script(), cluster.engine_, rank),
      sharing_(engine_, rank, *this),
      forest_(sharing_, cluster.workload_, cluster.search_,
              {.seed = static_cast<uint64_t>(cluster.params_.cluster.seed),
               .made_by_rank = rank,
               .first_handle = SharingGenerator::first_handle(rank)}) {}

void ClusterSimulation::Rank::arrived(Message&& message, double now) {
  inbox_.push_back(std::move(message));
  if (started_ == 0) {
    turn(now);
    return;
  }
  // It listens between two decode steps.
  const int64_t steps = engine_.steps_by(now);
  if (steps >= steps_) return;
  steps_ = steps;
  cluster_.schedule(engine_.end_of(steps), Event::Kind::kRank, rank_, ++turn_);
}

void ClusterSimulation::Rank::wake(uint64_t turn_number, double now) {
  if (turn_number != turn_) return;  // it was told to wake earlier
  engine_.run(steps_);
  turn(now);
}

// Between two decode steps: what has ended is taken, messages are heard, and what came of them is taken too.
void ClusterSimulation::Rank::turn(double now) {
  engine_.wait_until(now);
  pump();
  while (!inbox_.empty()) {
    Message message = std::move(inbox_.front());
    inbox_.pop_front();
    handle(std::move(message));
  }
  pump();
  go_on();
}

void ClusterSimulation::Rank::handle(Message&& message) {
  if (auto* assign = std::get_if<Assign>(&message.payload)) {
    for (const int64_t problem : assign->problems) start(problem, cluster_.search_.when == When::kAlways);
    tell_ = true;
  } else if (const auto* share = std::get_if<Share>(&message.payload)) {
    sharing_.share(share->helper, share->on, share->helper_load);
  } else if (auto* shared = std::get_if<SharedRequest>(&message.payload)) {
    sharing_.on_expand(message.from, std::move(*shared));
  } else if (auto* expansion = std::get_if<Expansion>(&message.payload)) {
    sharing_.on_expanded(message.from, std::move(*expansion));
  } else if (const auto* forget = std::get_if<Forget>(&message.payload)) {
    sharing_.on_forget(forget->tree);
  }
}

void ClusterSimulation::Rank::start(int64_t index, bool tree) {
  Problem problem = cluster_.workload_.problem(index);
  const TreeKey key{.round = 0, .step = 0, .problem_index = index, .problem_key = problem.key, .attempt = 0};
  if (tree) {
    forest_.add_tree(std::move(problem), key);
  } else {
    forest_.add_rollouts(std::move(problem), key, cluster_.search_.group);
  }
}

void ClusterSimulation::Rank::pump() {
  forest_.pump();
  for (TreeRecord& record : forest_.take_finished()) finish(std::move(record));
}

void ClusterSimulation::Rank::finish(TreeRecord&& record) {
  const bool hand_over =
      cluster_.search_.when == When::kGroupFailed && record.kind == RecordKind::kRollouts && !has_correct(record);
  if (hand_over) start(record.key.problem_index, /*tree=*/true);
  Finished finished{.record = std::make_unique<TreeRecord>(std::move(record)), .last = !hand_over};
  cluster_.send(rank_, cluster_.coordinator(), {.from = rank_, .payload = std::move(finished)}, engine_.now());
}

// Tells what has changed, and starts the next decode steps.
void ClusterSimulation::Rank::go_on() {
  if (tell_ || reporter_.due(sharing_.load())) {
    cluster_.send(rank_, cluster_.coordinator(), {.from = rank_, .payload = sharing_.load()}, engine_.now());
    reporter_.told(sharing_.load());
    tell_ = false;
  }
  started_ = steps_ = engine_.start();
  ++turn_;
  if (started_ > 0) cluster_.schedule(engine_.end_of(steps_), Event::Kind::kRank, rank_, turn_);
}

void ClusterSimulation::Rank::set_version(int64_t version) {
  engine_.set_version(version);
  sharing_.set_version(version);
}

RankTrace ClusterSimulation::Rank::trace() const {
  return {.busy = engine_.busy(), .engine = engine_.counters(), .sharing = sharing_.counters()};
}

void ClusterSimulation::Rank::expand(int helper, SharedRequest request) {
  cluster_.send(rank_, helper, {.from = rank_, .payload = std::move(request)}, engine_.now());
}

void ClusterSimulation::Rank::expanded(int owner, Expansion expansion) {
  cluster_.send(rank_, owner, {.from = rank_, .payload = std::move(expansion)}, engine_.now());
}

void ClusterSimulation::Rank::forget(int helper, uint64_t tree) {
  cluster_.send(rank_, helper, {.from = rank_, .payload = Forget{tree}}, engine_.now());
}

}  // namespace deepsearch
