#include "run/tree_stream.h"

#include <algorithm>
#include <set>
#include <utility>

#include "core/activity.h"
#include "core/signals.h"

namespace deepsearch {

TreeStream::TreeStream(const Config& config, Coordinator& coordinator, FinishedTrees& earlier, MakeItem make_item)
    : config_(config),
      coordinator_(coordinator),
      earlier_(earlier),
      make_item_(std::move(make_item)),
      ahead_(config.learn.problems, config.learn.max_staleness, config.learn.problems * config.learn.refill_waves) {}

void TreeStream::restore(const std::vector<PendingTree>& pending, int64_t version) {
  std::vector<AssignMessage::Item> items;
  for (const PendingTree& one : pending) {
    items.push_back(make_item_(one.problem, one.key));
    entries_[items.back().key] = {
        .problem = one.problem, .begun = version, .finished = false, .teaches = false, .records = {}};
  }
  start(std::move(items));
}

// Their entries are there.
void TreeStream::start(std::vector<AssignMessage::Item> items) {
  std::vector<TreeKey> keys;
  for (const AssignMessage::Item& item : items) keys.push_back(item.key);
  std::vector<TreeRecord> taken = earlier_.take(items, config_.search.branch_rollouts > 0);
  for (TreeRecord& record : taken) {
    Entry& entry = entries_.at(record.key);
    entry.begun = std::min(entry.begun, record.policy_version);
    earlier_tokens_ += record.tokens_generated;
    entry.records.push_back(std::move(record));
  }
  std::set<TreeKey> unfinished;
  for (const AssignMessage::Item& item : items) unfinished.insert(item.key);
  for (const TreeKey& key : keys) {
    if (!unfinished.contains(key)) finish(entries_.at(key));
  }
  if (!items.empty()) coordinator_.add(std::move(items));
}

void TreeStream::begin(int64_t version, int64_t& next_problem) {
  if (place_version_ != version) {
    place_version_ = version;
    place_ = 0;
  }
  const int64_t count = ahead_.may_begin(static_cast<int64_t>(entries_.size()));
  std::vector<AssignMessage::Item> items;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t problem = next_problem++;
    AssignMessage::Item item = make_item_(problem, {.round = 0, .step = version + 1, .problem_index = place_++});
    entries_[item.key] = {.problem = problem, .begun = version, .finished = false, .teaches = false, .records = {}};
    items.push_back(std::move(item));
  }
  ahead_.begun(count);
  start(std::move(items));
}

void TreeStream::take_in() {
  for (TreeMessage& message : coordinator_.take_records()) {
    const auto entry = entries_.find(message.tree.key);
    if (entry == entries_.end()) {  // was dropped, but its rank had finished it: a checkpoint of this step knows of it
      if (message.tree.stop_reason != StopReason::kCancelled) used_.push_back(std::move(message.tree));
      continue;
    }
    entry->second.records.push_back(std::move(message.tree));
    if (message.last) finish(entry->second);
  }
}

void TreeStream::finish(Entry& entry) const {
  entry.finished = true;
  entry.teaches = !choose_batch(entry.records, 1, config_.credit).trees.empty();
}

void TreeStream::leave(std::map<TreeKey, Entry>::iterator entry) {
  for (TreeRecord& record : entry->second.records) used_.push_back(std::move(record));
  entries_.erase(entry);
}

void TreeStream::count(const Entry& entry) {
  StepBatch one = choose_batch(entry.records, 1, config_.credit);
  next_.seen += one.seen;
  next_.uniform += one.uniform;
  next_.solved += one.solved;
  for (TreeRecord& tree : one.trees) next_.trees.push_back(std::move(tree));
}

// Finished problems that teach nothing.
void TreeStream::drop_useless() {
  for (auto entry = entries_.begin(); entry != entries_.end();) {
    const auto here = entry++;
    if (!here->second.finished || here->second.teaches) continue;
    count(here->second);
    leave(here);
    ahead_.taught_nothing(1);
  }
}

// What this step may not use any more; unfinished trees are ended where they are.
void TreeStream::drop_old(int64_t step) {
  std::vector<TreeKey> unfinished;
  for (auto entry = entries_.begin(); entry != entries_.end();) {
    const auto here = entry++;
    const bool late = here->second.begun < ahead_.oldest_usable(step) ||
                      (config_.learn.stale_trees == StaleTrees::kDrop && !here->second.finished &&
                       here->second.begun == ahead_.oldest_usable(step));
    if (!late) continue;
    if (!here->second.finished) unfinished.push_back(here->first);
    ++next_.dropped;
    leave(here);
  }
  if (!unfinished.empty()) coordinator_.cancel(unfinished);
}

void TreeStream::use() {
  for (auto entry = entries_.begin(); entry != entries_.end();) {
    if (static_cast<int64_t>(next_.trees.size()) >= config_.learn.problems) break;
    const auto here = entry++;
    if (!here->second.finished) continue;
    count(here->second);
    leave(here);
  }
}

void TreeStream::tend(int64_t version, int64_t& next_problem) {
  take_in();
  drop_useless();
  begin(version, next_problem);
}

std::vector<RunAhead::Age> TreeStream::ages(int64_t step) const {
  std::vector<RunAhead::Age> ages(static_cast<size_t>(config_.learn.max_staleness) + 1);
  for (const auto& [key, entry] : entries_) {
    RunAhead::Age& age = ages.at(static_cast<size_t>(std::max<int64_t>(0, entry.begun - ahead_.oldest_usable(step))));
    ++age.all;
    age.finished += entry.finished ? 1 : 0;
  }
  return ages;
}

bool TreeStream::gather(int64_t step, int64_t version, int64_t& next_problem, const std::function<void()>& between,
                        StepBatch& batch, std::vector<TreeRecord>& used) {
  enter_phase("growing trees");
  take_in();
  drop_old(step);
  bool ready = false;
  while (!ready && !stop_requested()) {
    tend(version, next_problem);
    ready = ahead_.ready(ages(step), config_.learn.stale_trees == StaleTrees::kFinish);
    if (ready) break;
    coordinator_.serve();
    between();
  }
  if (ready) use();
  used = std::exchange(used_, {});
  batch = std::exchange(next_, {});
  return ready;
}

std::vector<PendingTree> TreeStream::pending() const {
  std::vector<PendingTree> pending;
  for (const auto& [key, entry] : entries_) pending.push_back({.problem = entry.problem, .key = key});
  return pending;
}

std::vector<TreeRecord> TreeStream::finished() {
  take_in();
  std::vector<TreeRecord> trees = used_;
  for (const auto& [key, entry] : entries_) trees.insert(trees.end(), entry.records.begin(), entry.records.end());
  return trees;
}

int64_t TreeStream::held_tokens() const {
  int64_t tokens = 0;
  for (const auto& [key, entry] : entries_) {
    for (const TreeRecord& record : entry.records) tokens += record.tokens_generated;
  }
  return tokens;
}

}  // namespace deepsearch
