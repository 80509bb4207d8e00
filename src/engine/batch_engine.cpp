#include "engine/batch_engine.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "core/error.h"
#include "core/rng.h"
#include "core/timer.h"
#include "engine/batch_job.h"

namespace deepsearch {
namespace {

// Blocks that a path of these segments and one child of max_tokens need when nothing is shared.
int64_t blocks_of(const ExpansionRequest& request) {
  int64_t blocks = 0;
  int64_t position = 0;
  const auto add = [&](int64_t n) {
    blocks += (position + n + kKvBlockTokens - 1) / kKvBlockTokens - position / kKvBlockTokens;
    position += n;
  };
  for (const PathSegment& part : request.path) add(part.n_tokens);
  add(request.max_tokens);
  return blocks;
}

// Siblings, then cousins, next to each other.
bool before_in_tree(const ExpansionRequest& a, const ExpansionRequest& b) {
  if (a.tree != b.tree) return a.tree < b.tree;
  return std::lexicographical_compare(a.path.begin(), a.path.end(), b.path.begin(), b.path.end(),
                                      [](const PathSegment& x, const PathSegment& y) { return x.node < y.node; });
}

}  // namespace

BatchEngine::BatchEngine(const EngineParams& params, const ModelConfig& config, uint64_t seed, int rank,
                         int64_t n_blocks, std::unique_ptr<Backend> backend)
    : params_(params), config_(config), seed_(seed), rank_(rank), backend_(std::move(backend)), n_blocks_(n_blocks) {
  if (params_.max_batch < 1) failure("engine: a batch of {}; make_engine() chooses one", params_.max_batch);
  backend_->reserve_blocks(n_blocks);
  cache_.reset(n_blocks);
  counters_.kv_bytes_limit = n_blocks * backend_->block_bytes();
  counters_.kv_tokens_limit = n_blocks * kKvBlockTokens;
}

BatchEngine::~BatchEngine() = default;

std::string BatchEngine::description() const {
  return fmt::format("{}, batch {}", backend_->description(), params_.max_batch);
}

bool BatchEngine::is_eos(Token token) const {
  return std::find(config_.eos_tokens.begin(), config_.eos_tokens.end(), token) != config_.eos_tokens.end();
}

void BatchEngine::set_token_bytes(std::vector<std::string> bytes) {
  stop_ = StopStrings(params_.stop, std::move(bytes));
}

void BatchEngine::set_weights(const WeightSource& weights, int64_t policy_version) {
  backend_->set_weights(weights);
  if (suspended_) backend_->reserve_blocks(n_blocks_);
  suspended_ = false;
  has_weights_ = true;
  policy_version_ = policy_version;
  if (params_.on_update == "keep") return;
  cache_.forget_all();
  // Nodes under way may have lost their name in the cache, not their use.
  for (const std::unique_ptr<Job>& job : jobs_) {
    for (Child& child : job->children) {
      if (child.kv) cache_.forget(*child.kv);
    }
  }
  for (const std::unique_ptr<Job>& job : jobs_) {
    for (KvNode* node = job->path.get(); node != nullptr; node = node->parent.get()) cache_.forget(*node);
  }
  update_kv_counters();
}

void BatchEngine::suspend() {
  if (!jobs_.empty()) failure("engine: suspended with {} requests in flight", jobs_.size());
  if (suspended_) return;
  cache_.forget_all();
  update_kv_counters();
  backend_->release_blocks();
  suspended_ = true;
  has_weights_ = false;
}

void BatchEngine::submit(ExpansionRequest request) {
  if (request.path.empty()) {
    request.path.push_back({.node = request.node, .n_tokens = static_cast<int32_t>(request.prefix.size())});
  }
  int64_t path_tokens = 0;
  for (const PathSegment& part : request.path) {
    if (part.n_tokens < 0) failure("engine: a path segment of {} tokens", part.n_tokens);
    path_tokens += part.n_tokens;
  }
  const auto prefix = static_cast<int64_t>(request.prefix.size());
  if (path_tokens != prefix) {
    failure("engine: the request's path holds {} tokens and its prefix {}", path_tokens, prefix);
  }
  if (prefix == 0) failure("engine: a request without a single prefix token; a prompt is needed");
  if (request.n_children < 1 || request.max_tokens < 1) {
    failure("engine: a request for {} children of at most {} tokens", request.n_children, request.max_tokens);
  }
  for (const Token token : request.prefix) {
    if (token < 0 || token >= config_.vocab_size) {
      failure("engine: prefix token {} is not in a vocabulary of {}", token, config_.vocab_size);
    }
  }
  // The last sampled token is not fed in this request, so it needs no position yet.
  if (prefix + request.max_tokens - 1 > config_.max_positions) {
    bad_input(
        "the model's context is {} tokens ([model].max_positions): too few for a prefix of {} and a step of up to {}; "
        "lower the step (e.g. [search].step_tokens or max_depth), or take a model with a longer context",
        config_.max_positions, prefix, request.max_tokens);
  }
  if (const int64_t needed = blocks_of(request); needed > cache_.pool().capacity()) {
    bad_input(
        "the KV cache of {} MB holds {} blocks of {} tokens, and a prefix of {} tokens with a step of up to {} needs "
        "{}; raise [engine].kv_memory_mb",
        counters_.kv_bytes_limit / 1000000, cache_.pool().capacity(), kKvBlockTokens, prefix, request.max_tokens,
        needed);
  }
  counters_.prefix_tokens += prefix;
  auto job = std::make_unique<Job>();
  job->children.resize(static_cast<size_t>(request.n_children));
  job->waiting = job->unsettled = request.n_children;
  job->request = std::move(request);
  const auto place = std::upper_bound(by_path_.begin(), by_path_.end(), job.get(), [](const Job* a, const Job* b) {
    return before_in_tree(a->request, b->request);
  });
  by_path_.insert(place, job.get());
  jobs_.push_back(std::move(job));
}

// Before a job leaves jobs_.
void BatchEngine::drop(Job& job) {
  running_ -= job.running;
  if (job.pinned) cache_.unpin(*job.path);
  job.pinned = false;
}

void BatchEngine::release(uint64_t tree) {
  std::erase_if(by_path_, [&](const Job* job) { return job->request.tree == tree; });
  std::erase_if(jobs_, [&](const std::unique_ptr<Job>& job) {
    if (job->request.tree != tree) return false;
    drop(*job);
    return true;
  });
  cache_.release(tree);
  update_kv_counters();
}

void BatchEngine::poll(std::vector<Expansion>& finished) {
  if (jobs_.empty()) return;
  if (!has_weights_) failure("engine: asked to sample before any weights were set");
  const Stopwatch watch;
  plan();
  if (pass_.spans.empty()) {
    failure("engine: {} requests wait and none can go on ({} KV blocks, {} free)", jobs_.size(),
            cache_.pool().capacity(), cache_.pool().free());
  }
  backend_->run(pass_, drawn_);
  take_draws();
  settle(finished);
  ++counters_.decode_steps;
  update_kv_counters();
  counters_.busy_seconds += watch.seconds();
}

void BatchEngine::take_draws() {
  if (drawn_.size() != drawn_for_.size()) {
    failure("engine: {} tokens came for {} draws", drawn_.size(), drawn_for_.size());
  }
  for (size_t i = 0; i < drawn_.size(); ++i) {
    Job& job = *drawn_for_[i].job;
    take_token(job, job.children[static_cast<size_t>(drawn_for_[i].child)], drawn_[i]);
  }
}

void BatchEngine::take_token(Job& job, Child& child, const SampledToken& drawn) {
  Step& step = child.step;
  if (!step.tokens.empty() && step.policy_version != policy_version_ && step.token_versions.empty()) {
    step.token_versions.assign(step.tokens.size(), static_cast<int32_t>(step.policy_version));
  }
  if (!step.token_versions.empty()) step.token_versions.push_back(static_cast<int32_t>(policy_version_));
  step.policy_version = policy_version_;
  step.tokens.push_back(drawn.token);
  step.logprobs.push_back(drawn.logprob);
  step.entropies.push_back(drawn.entropy);
  child.kv->tokens.push_back(drawn.token);
  ++job.tokens_generated;
  ++counters_.tokens_generated;
  if (is_eos(drawn.token)) {
    step.finish = Finish::kEos;
  } else if (stop_.any() && stop_.completes(child.text_tail, drawn.token)) {
    step.finish = Finish::kStop;
  } else if (static_cast<int32_t>(step.tokens.size()) < job.request.max_tokens) {
    return;
  }
  child.state = Child::State::kSampled;
  if (step.ended()) {
    child.kv.reset();  // never continued
  } else {
    child.kv->tail_unfed = true;
    cache_.set_idle(*child.kv, pass_number_);
  }
  --job.running;
  --running_;
  job.to_judge = true;
}

// --- Settle ----------------------------------------------------------------------------------------------------------

void BatchEngine::settle(std::vector<Expansion>& finished) {
  bool any_finished = false;
  for (const std::unique_ptr<Job>& job : jobs_) {
    if (!job->to_judge) continue;
    judge(*job);
    job->to_judge = false;
    if (job->unsettled > 0) continue;
    hand_out(*job, finished);
    any_finished = true;
  }
  if (!any_finished) return;
  std::erase_if(by_path_, [](const Job* job) { return job->unsettled == 0; });
  std::erase_if(jobs_, [](const std::unique_ptr<Job>& job) { return job->unsettled == 0; });
}

// Child i is kept when it differs from the kept ones before it, which must be known by then; a child equal to a kept
// earlier one can be turned down at once, since the kept ones only grow.
void BatchEngine::judge(Job& job) {
  bool all_before_settled = true;
  for (size_t i = 0; i < job.children.size(); ++i) {
    Child& child = job.children[i];
    if (child.state == Child::State::kSampled) {
      const bool duplicate =
          job.request.distinct &&
          std::any_of(job.children.begin(), job.children.begin() + static_cast<std::ptrdiff_t>(i),
                      [&](const Child& other) {
                        return other.state == Child::State::kKept && other.step.tokens == child.step.tokens;
                      });
      if (duplicate && child.attempt < params_.distinct_tries) {
        const int32_t attempt = child.attempt + 1;
        child = Child();
        child.attempt = attempt;
        ++counters_.duplicates_resampled;
        ++job.waiting;
      } else if (duplicate || !job.request.distinct || all_before_settled) {
        child.state = duplicate ? Child::State::kDropped : Child::State::kKept;
        if (duplicate) child.kv.reset();
        --job.unsettled;
      }
    }
    all_before_settled =
        all_before_settled && (child.state == Child::State::kKept || child.state == Child::State::kDropped);
  }
}

void BatchEngine::hand_out(Job& job, std::vector<Expansion>& finished) {
  Expansion expansion{.tree = job.request.tree,
                      .node = job.request.node,
                      .children = {},
                      .tokens_generated = job.tokens_generated,
                      .tokens_prefilled = job.tokens_prefilled,
                      .made_by_rank = rank_};
  for (Child& child : job.children) {
    if (child.state != Child::State::kKept) continue;
    if (child.kv) {
      cache_.keep(job.request.tree, job.request.first_child + static_cast<int32_t>(expansion.children.size()),
                  std::move(child.kv));
    }
    expansion.children.push_back(std::move(child.step));
  }
  drop(job);
  finished.push_back(std::move(expansion));
}

void BatchEngine::update_kv_counters() {
  counters_.kv_bytes = cache_.pool().used() * backend_->block_bytes();
  counters_.kv_bytes_peak = std::max(counters_.kv_bytes_peak, counters_.kv_bytes);
  counters_.nodes_evicted = cache_.counters().evicted_nodes;
  counters_.tokens_evicted = cache_.counters().evicted_tokens;
}

}  // namespace deepsearch
