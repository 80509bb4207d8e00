// What goes into the next pass: see batch_engine.h, steps 1 to 3.
#include <algorithm>

#include "core/error.h"
#include "core/rng.h"
#include "engine/batch_engine.h"
#include "engine/batch_job.h"

namespace deepsearch {

void BatchEngine::plan() {
  ++pass_number_;
  prefill_left_ = params_.prefill_chunk;
  pass_.clear();
  drawn_for_.clear();
  for (const std::unique_ptr<Job>& job : jobs_) {
    if (!job->in_pass) continue;  // many jobs may wait for each that runs
    job->in_pass = false;
    job->chunks.clear();
    job->path_row = false;
    for (Child& child : job->children) {
      child.fed = 0;
      child.drawn = false;
    }
  }
  make_room_for_running();
  for (const std::unique_ptr<Job>& job : jobs_) plan_path(*job);
  for (const std::unique_ptr<Job>& job : jobs_) admit(*job);
  for (Job* job : by_path_) emit(*job);
}

// Whether children can be fed on top of the path: its KV was computed in an earlier pass, so that it can be copied.
bool BatchEngine::path_ready(const Job& job) const {
  return job.pinned && job.path->complete() && job.path->completed < pass_number_;
}

// --- 1. Make room ----------------------------------------------------------------------------------------------------

void BatchEngine::make_room_for_running() {
  for (const std::unique_ptr<Job>& job : jobs_) {
    if (job->running == 0) continue;
    for (size_t i = 0; i < job->children.size(); ++i) {
      if (job->children[i].state == Child::State::kRunning) feed(*job, i);
    }
  }
}

// The child's tokens that have no KV yet: the newest one, and all after a preemption or new weights.
void BatchEngine::feed(Job& job, size_t index) {
  Child& child = job.children[index];
  KvNode& kv = *child.kv;
  const bool starts = kv.filled == kv.start;
  if (starts && !path_ready(job)) return;
  const auto n = static_cast<int32_t>(std::min<int64_t>(kv.end() - kv.filled, 1 + prefill_left_));
  const int64_t blocks = cache_.blocks_missing(kv, kv.filled + n);
  // Going on after a preemption: not into the last blocks, which the running ones need next.
  const bool resumes = starts && kv.ever_filled > kv.start;
  if (resumes && cache_.pool().free() + cache_.blocks_evictable() < blocks + running_ && !oldest(job)) return;
  if (!make_room(blocks, job, index)) return;
  cache_.grow(kv, kv.filled + n, pass_.copies);
  prefill_left_ -= n - 1;
  const int64_t prefilled = n - (kv.filled + n == kv.end() ? 1 : 0);
  job.tokens_prefilled += prefilled;
  counters_.tokens_prefilled += prefilled;
  count_recomputed(kv, n);
  kv.filled += n;
  child.fed = n;
  child.drawn = kv.complete();
}

bool BatchEngine::oldest(const Job& job) const {
  return jobs_.front().get() == &job;
}

// True when n blocks are free, after evicting idle nodes and preempting what is younger than that child.
bool BatchEngine::make_room(int64_t n, const Job& job, size_t child) {
  while (!cache_.make_room(n)) {
    if (!preempt_after(job, child)) return false;
  }
  return true;
}

// Takes the KV of the youngest running child that is younger than the given one and not part of this pass, or the claim
// of a younger request to its path; false when there is none.
bool BatchEngine::preempt_after(const Job& job, size_t child) {
  for (auto at = jobs_.rbegin(); at != jobs_.rend(); ++at) {
    Job& victim = **at;
    const bool same = &victim == &job;
    for (size_t i = victim.children.size(); i-- > (same ? child + 1 : 0);) {
      Child& young = victim.children[i];
      if (young.state != Child::State::kRunning || !young.kv || young.fed > 0 || !young.kv->holds_blocks()) continue;
      cache_.forget(*young.kv);
      ++counters_.sequences_preempted;
      return true;
    }
    if (same) return false;
    const bool in_pass = !victim.chunks.empty() || std::any_of(victim.children.begin(), victim.children.end(),
                                                               [](const Child& c) { return c.fed > 0; });
    if (victim.pinned && !in_pass) {
      cache_.unpin(*victim.path);
      victim.pinned = false;
      return true;
    }
  }
  return false;
}

void BatchEngine::count_recomputed(KvNode& node, int32_t n) {
  counters_.tokens_recomputed += std::max(0, std::min(node.filled + n, node.ever_filled) - node.filled);
  node.ever_filled = std::max(node.ever_filled, node.filled + n);
}

// --- 2. Paths --------------------------------------------------------------------------------------------------------

void BatchEngine::plan_path(Job& job) {
  const bool wants_more = job.waiting > 0 && running_ < params_.max_batch;
  if (!wants_more && job.running == 0) return;
  if (!job.pinned) {
    if (prefill_left_ <= 0) return;
    if (!job.path) job.path = cache_.find_or_make(job.request);
    cache_.pin(*job.path, pass_number_);
    job.pinned = true;
  }
  if (job.path->complete()) return;
  path_.clear();
  for (KvNode* node = job.path.get(); node != nullptr; node = node->parent.get()) path_.push_back(node);
  std::reverse(path_.begin(), path_.end());
  for (KvNode* node : path_) {
    if (!node->complete() && !plan_node(job, *node)) return;
  }
  job.path_row = !job.chunks.empty();
}

// Adds what is missing of one node whose ancestors are complete; false when some of it is still missing after this
// pass.
bool BatchEngine::plan_node(Job& job, KvNode& node) {
  const KvNode* parent = node.parent.get();
  const bool must_copy = parent != nullptr && !node.holds_blocks() && node.start % kKvBlockTokens != 0 && parent->lent;
  if (must_copy && parent->completed >= pass_number_) return false;
  const int32_t missing = node.end() - node.filled;
  // A sampled node's last token is its share of decoding, not of prefill.
  const bool only_tail = node.tail_unfed && missing == 1;
  const auto n = only_tail ? 1 : static_cast<int32_t>(std::min<int64_t>(missing, prefill_left_));
  if (n <= 0) return false;
  if (!make_room(cache_.blocks_missing(node, node.filled + n), job, job.children.size())) return false;
  cache_.grow(node, node.filled + n, pass_.copies);
  count_recomputed(node, n);
  const bool with_tail = node.tail_unfed && n == missing;
  const int64_t prefilled = n - (with_tail ? 1 : 0);
  if (with_tail) node.tail_unfed = false;
  job.tokens_prefilled += prefilled;
  counters_.tokens_prefilled += prefilled;
  prefill_left_ -= prefilled;
  job.chunks.push_back({.node = &node, .from = node.filled, .n = n});
  node.filled += n;
  if (node.complete()) node.completed = pass_number_;
  return node.complete();
}

// --- 3. Admit --------------------------------------------------------------------------------------------------------

// Draws the first tokens of waiting children, when the path's last row is in the pass or can be run once more.
void BatchEngine::admit(Job& job) {
  if (job.waiting == 0 || running_ >= params_.max_batch || !(job.path_row || path_ready(job))) return;
  for (Child& child : job.children) {
    if (child.state != Child::State::kWaiting) continue;
    if (running_ >= params_.max_batch) return;
    // Each running sequence may need a block next time.
    if (running_ > 0 && cache_.pool().free() + cache_.blocks_evictable() <= running_) return;
    if (!job.path_row) {
      job.chunks.push_back({.node = job.path.get(), .from = job.path->end() - 1, .n = 1});
      job.path_row = true;
      ++counters_.tokens_recomputed;
    }
    child.state = Child::State::kRunning;
    child.drawn = true;
    child.kv = cache_.make_child(job.path);
    const auto most = static_cast<size_t>(std::min(job.request.max_tokens, kReservedTokens));
    child.kv->tokens.reserve(most);
    child.kv->blocks.reserve(most / kKvBlockTokens + 2);
    child.step.tokens.reserve(most);
    child.step.logprobs.reserve(most);
    child.step.entropies.reserve(most);
    ++running_;
    ++job.running;
    --job.waiting;
  }
}

// --- 4. The pass -----------------------------------------------------------------------------------------------------

void BatchEngine::emit(Job& job) {
  if (job.running == 0 && job.chunks.empty()) return;
  job.in_pass = true;
  for (const Job::Chunk& chunk : job.chunks) emit_span(*chunk.node, chunk.from, chunk.n);
  for (size_t i = 0; i < job.children.size(); ++i) {
    const Child& child = job.children[i];
    if (child.drawn && child.fed == 0) emit_draw(job, i);
  }
  for (size_t i = 0; i < job.children.size(); ++i) {
    const Child& child = job.children[i];
    if (child.fed == 0) continue;
    emit_span(*child.kv, child.kv->filled - child.fed, child.fed);
    if (child.drawn) emit_draw(job, i);
  }
}

void BatchEngine::emit_span(const KvNode& node, int32_t from, int32_t n) {
  const auto first_block = static_cast<int32_t>(pass_.tables.size());
  KvCache::append_table(node, pass_.tables);
  pass_.spans.push_back({.first_token = static_cast<int32_t>(pass_.tokens.size()),
                         .n_tokens = n,
                         .start = from,
                         .first_block = first_block,
                         .n_blocks = static_cast<int32_t>(pass_.tables.size()) - first_block});
  const auto begin = node.tokens.begin() + (from - node.start);
  pass_.tokens.insert(pass_.tokens.end(), begin, begin + n);
}

// From the pass's last row.
void BatchEngine::emit_draw(Job& job, size_t index) {
  const Child& child = job.children[index];
  const uint64_t key = mix_all(job.request.sampling_key, index, child.attempt);
  pass_.draws.push_back({.row = static_cast<int32_t>(pass_.tokens.size()) - 1,
                         .temperature = job.request.temperature,
                         .top_p = job.request.top_p,
                         .top_k = static_cast<int32_t>(params_.top_k),
                         .u = uniform_at(seed_, RngPurpose::kSampling, key, child.step.tokens.size())});
  drawn_for_.push_back({.job = &job, .child = static_cast<int32_t>(index)});
}

}  // namespace deepsearch
