#include "schedule/dispatcher.h"

#include <algorithm>
#include <functional>

#include "core/error.h"

namespace deepsearch {

namespace {

constexpr int64_t kWorth = 2;  // a helper is sent where there is this many times its own work a head

}  // namespace

Dispatcher::Dispatcher(std::vector<int> ranks, const DispatchParams& params)
    : ranks_(std::move(ranks)), params_(params), states_(ranks_.size()) {
  for (int i = 0; i < static_cast<int>(ranks_.size()); ++i) settle(i);
}

int Dispatcher::index_of(int rank) const {
  const auto found = std::lower_bound(ranks_.begin(), ranks_.end(), rank);
  if (found == ranks_.end() || *found != rank) failure("rank {} does not search", rank);
  return static_cast<int>(found - ranks_.begin());
}

bool Dispatcher::can_give(const Rank& rank) const {
  return rank.donor < 0 && rank.load.own_requests > rank.heads();
}

void Dispatcher::lift(int index) {
  const Rank& rank = state(index);
  by_problems_.erase({rank.problems, index});
  free_.erase({rank.load.here, index});
  donors_.erase({rank.work_a_head(), index});
}

void Dispatcher::settle(int index) {
  const Rank& rank = state(index);
  by_problems_.insert({rank.problems, index});
  if (rank.told && rank.donor < 0 && rank.helpers.empty()) free_.insert({rank.load.here, index});
  if (can_give(rank)) donors_.insert({rank.work_a_head(), index});
}

void Dispatcher::queued(int64_t problems) {
  waiting_ += problems;
  // With sharing each rank gets its even share at once. Without, half of it, so that what is left can go to whoever is
  // done first.
  const auto n = static_cast<int64_t>(ranks_.size()) * (params_.share ? 1 : 2);
  in_flight_ = std::clamp<int64_t>((waiting_ + n - 1) / n, 1, params_.problems_in_flight);
}

void Dispatcher::withdrawn(int64_t problems) {
  if (problems > waiting_) failure("{} problems withdrawn of {} that wait", problems, waiting_);
  waiting_ -= problems;
}

void Dispatcher::finished(int rank) {
  const int index = index_of(rank);
  lift(index);
  --state(index).problems;
  settle(index);
}

void Dispatcher::told(int rank, const Load& load) {
  const int index = index_of(rank);
  lift(index);
  state(index).load = load;
  state(index).told = true;
  settle(index);
  if (!state(index).helpers.empty()) changed_.push_back(index);
  if (state(index).donor >= 0 && load.own_sequences < state(index).helper_load) refreshed_.push_back(index);
}

void Dispatcher::clear() {
  waiting_ = 0;
  for (int i = 0; i < static_cast<int>(ranks_.size()); ++i) {
    lift(i);
    state(i).problems = 0;
    settle(i);
  }
}

Decisions Dispatcher::decide() {
  Decisions decisions;
  assign(decisions);
  end_leases(decisions);
  refresh_leases(decisions);
  make_leases(decisions);
  return decisions;
}

void Dispatcher::assign(Decisions& decisions) {
  while (waiting_ > 0) {
    const int index = by_problems_.begin()->second;
    // Refill in lumps: a message for each finished problem would be all overhead when problems are small.
    const int64_t room = in_flight_ - state(index).problems;
    if (room <= 0 || room * 4 < in_flight_) break;
    // Near the end in ever smaller ones, so that nobody holds much when the queue is empty.
    const auto fair = std::max<int64_t>(1, waiting_ / static_cast<int64_t>(ranks_.size()));
    const int64_t count = std::min({room, waiting_, state(index).problems == 0 ? room : fair});
    lift(index);
    state(index).problems += count;
    state(index).told = false;
    settle(index);
    waiting_ -= count;
    decisions.assignments.push_back({ranks_[static_cast<size_t>(index)], count});
    // New work ends its help; it goes on with what it has of its donor's.
    if (state(index).donor >= 0) end_lease(index, decisions);
  }
}

void Dispatcher::end_lease(int helper, Decisions& decisions) {
  const int donor = state(helper).donor;
  lift(helper);
  lift(donor);
  state(helper).donor = -1;
  std::erase(state(donor).helpers, helper);
  settle(helper);
  settle(donor);
  --leases_;
  decisions.shares.push_back({.donor = ranks_[static_cast<size_t>(donor)],
                              .helper = ranks_[static_cast<size_t>(helper)],
                              .on = false,
                              .helper_load = 0});
}

// A donor that has not enough for all its helpers, or far less a head than another, lets the last one go.
void Dispatcher::end_leases(Decisions& decisions) {
  for (const int donor : std::exchange(changed_, {})) {
    while (!state(donor).helpers.empty()) {
      const Rank& rank = state(donor);
      const bool dry = rank.load.own_requests < rank.heads();
      const bool poor = !donors_.empty() && donors_.begin()->second != donor &&
                        donors_.begin()->first > 2 * kWorth * rank.work_a_head();
      if (!dry && !poor) break;
      end_lease(rank.helpers.back(), decisions);
      if (!dry) break;
    }
  }
}

// A donor reckons with what its helper has of its own: it is told when that has become less.
void Dispatcher::refresh_leases(Decisions& decisions) {
  for (const int helper : std::exchange(refreshed_, {})) {
    Rank& rank = state(helper);
    if (rank.donor < 0 || rank.load.own_sequences >= rank.helper_load) continue;
    rank.helper_load = rank.load.own_sequences;
    decisions.shares.push_back({.donor = ranks_[static_cast<size_t>(rank.donor)],
                                .helper = ranks_[static_cast<size_t>(helper)],
                                .on = true,
                                .helper_load = rank.helper_load});
  }
}

void Dispatcher::make_leases(Decisions& decisions) {
  if (!params_.share || waiting_ > 0) return;
  while (!free_.empty() && !donors_.empty()) {
    const int helper = free_.begin()->second;
    const int donor = donors_.begin()->second;
    const Rank& busy = state(donor);
    const int64_t has = state(helper).load.here;
    // Worth it only if the donor's heads keep more than the helper has now.
    const bool worth = donor != helper && busy.work_a_head() >= static_cast<double>(kWorth * has) &&
                       busy.load.own_sequences > (busy.heads() + 1) * has;
    if (!worth) return;
    lift(helper);
    lift(donor);
    state(helper).donor = donor;
    state(helper).helper_load = has;
    state(donor).helpers.push_back(helper);
    settle(helper);
    settle(donor);
    ++leases_;
    ++leases_made_;
    decisions.shares.push_back({.donor = ranks_[static_cast<size_t>(donor)],
                                .helper = ranks_[static_cast<size_t>(helper)],
                                .on = true,
                                .helper_load = has});
  }
}

}  // namespace deepsearch
