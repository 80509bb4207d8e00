#include "engine/batch_engine.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "core/error.h"
#include "core/rng.h"
#include "core/timer.h"

namespace deepsearch {
namespace {

// A poll admits no further request once this many prefix tokens are to be run in it.
constexpr int64_t kPrefillRowsPerPoll = 2048;
constexpr int32_t kFirstCapacity = 16;  // tokens; a step's KV memory grows by doubling

}  // namespace

struct BatchEngine::Child {
  enum class State { kWaiting, kRunning, kSampled, kKept, kDropped };
  State state = State::kWaiting;
  int32_t attempt = 0;
  Step step;
  std::shared_ptr<KvSegment> segment;
};

struct BatchEngine::Job {
  ExpansionRequest request;
  std::vector<Child> children;
  std::shared_ptr<KvSegment> path;  // the expanded node's segment; none before the first child is admitted
  std::vector<float> first_logits;  // of the token after the prefix
  int64_t epoch = -1;               // whose weights gave first_logits; −1: none yet
  int64_t tokens_generated = 0;
  int64_t tokens_prefilled = 0;
  int64_t waiting = 0;    // children to admit
  int64_t unsettled = 0;  // children neither kept nor dropped
  bool to_judge = false;  // has children sampled in this poll
};

struct BatchEngine::Sequence {
  Job* job = nullptr;
  int32_t child = 0;
  std::shared_ptr<KvSegment> segment;  // its own tokens
  Step step;
  int64_t logit_row = -1;  // in logits_; −1: the job's first_logits
  bool done = false;
};

BatchEngine::BatchEngine(const EngineParams& params, const ModelConfig& config, uint64_t seed, int rank,
                         std::unique_ptr<Backend> backend)
    : params_(params), config_(config), seed_(seed), rank_(rank), backend_(std::move(backend)) {}

BatchEngine::~BatchEngine() = default;

std::string BatchEngine::description() const {
  return fmt::format("{}, batch {}", backend_->description(), params_.max_batch);
}

bool BatchEngine::is_eos(Token token) const {
  return std::find(config_.eos_tokens.begin(), config_.eos_tokens.end(), token) != config_.eos_tokens.end();
}

void BatchEngine::set_weights(const ModelWeights& weights, int64_t policy_version) {
  backend_->set_weights(weights);
  has_weights_ = true;
  policy_version_ = policy_version;
  ++epoch_;
  cache_.forget_values();
  // Segments under way may have lost their name in the cache, not their use.
  for (const std::unique_ptr<Job>& job : jobs_) {
    for (KvSegment* s = job->path.get(); s != nullptr; s = s->parent.get()) forget_values(*s);
    for (Child& child : job->children) {
      if (child.segment) forget_values(*child.segment);
    }
  }
  for (const std::unique_ptr<Sequence>& sequence : running_) forget_values(*sequence->segment);
  update_kv_counters();
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
        "[model].max_positions is {}: too few for a prefix of {} tokens and a step of up to {}; raise it, or lower "
        "[search].step_tokens or max_depth",
        config_.max_positions, prefix, request.max_tokens);
  }
  auto job = std::make_unique<Job>();
  job->children.resize(static_cast<size_t>(request.n_children));
  job->waiting = job->unsettled = request.n_children;
  job->request = std::move(request);
  jobs_.push_back(std::move(job));
}

void BatchEngine::release(uint64_t tree) {
  std::erase_if(running_, [&](const auto& sequence) { return sequence->job->request.tree == tree; });
  std::erase_if(jobs_, [&](const auto& job) { return job->request.tree == tree; });
  cache_.release(tree);
  update_kv_counters();
}

void BatchEngine::poll(std::vector<Expansion>& finished) {
  if (jobs_.empty()) return;
  if (!has_weights_) failure("engine: asked to sample before any weights were set");
  const Stopwatch watch;
  admit();
  plan();
  backend_->forward(rows_, logits_);
  take_first_logits();
  sample();
  settle(finished);
  ++counters_.decode_steps;
  update_kv_counters();
  counters_.busy_seconds += watch.seconds();
}

// --- 1. Admit
// ---------------------------------------------------------------------------------------------------------

void BatchEngine::admit() {
  int64_t prefill_rows = 0;
  for (const std::unique_ptr<Job>& job : jobs_) {
    if (static_cast<int64_t>(running_.size()) >= params_.max_batch) return;
    if (job->waiting == 0) continue;
    if (!job->path) {
      if (prefill_rows >= kPrefillRowsPerPoll) return;
      job->path = cache_.find_or_make(job->request);
      for (const KvSegment* s = job->path.get(); s != nullptr; s = s->parent.get())
        prefill_rows += s->size() - s->filled;
    }
    for (size_t i = 0; i < job->children.size() && job->waiting > 0; ++i) {
      if (static_cast<int64_t>(running_.size()) >= params_.max_batch) return;
      Child& child = job->children[i];
      if (child.state != Child::State::kWaiting) continue;
      auto sequence = std::make_unique<Sequence>();
      sequence->job = job.get();
      sequence->child = static_cast<int32_t>(i);
      sequence->segment = std::make_shared<KvSegment>();
      sequence->segment->parent = job->path;
      sequence->segment->start = job->path->start + job->path->size();
      child.state = Child::State::kRunning;
      --job->waiting;
      running_.push_back(std::move(sequence));
    }
  }
}

// --- 2. Plan
// ----------------------------------------------------------------------------------------------------------

void BatchEngine::plan() {
  rows_.clear();
  path_jobs_.clear();
  logit_rows_ = 0;
  for (const std::unique_ptr<Sequence>& sequence : running_) {
    Job& job = *sequence->job;
    if (job.epoch == epoch_) continue;  // its path has KV, and the logits after it are known
    const int64_t prefilled = plan_path(job);
    job.tokens_prefilled += prefilled;
    counters_.tokens_prefilled += prefilled;
    rows_.back().wants_logits = true;
    job.epoch = epoch_;
    path_jobs_.push_back(&job);
    ++logit_rows_;
  }
  for (const std::unique_ptr<Sequence>& sequence : running_) plan_sequence(*sequence);
}

// Rows for everything missing on the job's path, its last token always among them (its logits are wanted).
int64_t BatchEngine::plan_path(Job& job) {
  std::vector<KvSegment*> path;
  for (KvSegment* s = job.path.get(); s != nullptr; s = s->parent.get()) path.push_back(s);
  std::reverse(path.begin(), path.end());
  KvSegment* last = nullptr;
  for (KvSegment* s : path) {
    if (s->size() > 0) last = s;
  }
  if (last == nullptr) failure("engine: an empty path");
  int64_t prefilled = 0;
  const size_t rows_before = rows_.size();
  for (KvSegment* s : path) prefilled += plan_tokens(*s, s->size());
  const bool planned = rows_.size() > rows_before && rows_.back().segment == last;
  if (!planned) rows_.push_back({.segment = last, .offset = last->size() - 1, .write = false, .wants_logits = false});
  return prefilled;
}

// Rows for the missing ones among the first n tokens of a segment; returns how many count as prefilled.
int64_t BatchEngine::plan_tokens(KvSegment& segment, int32_t n) {
  if (segment.filled >= n) return 0;
  if (!segment.store) {
    segment.store = backend_->make_store(segment.size());
  } else if (segment.store->capacity() < segment.size()) {
    segment.store->resize(segment.size());
  }
  int64_t prefilled = n - segment.filled;
  for (int32_t i = segment.filled; i < n; ++i) rows_.push_back({.segment = &segment, .offset = i});
  if (segment.tail_unfed && n == segment.size()) {
    segment.tail_unfed = false;
    --prefilled;
  }
  segment.filled = n;
  return prefilled;
}

// A sequence's newest token (and, after new weights, those before it).
void BatchEngine::plan_sequence(Sequence& sequence) {
  KvSegment& segment = *sequence.segment;
  const int32_t n = segment.size();
  sequence.logit_row = -1;
  if (n == 0) return;
  if (!segment.store) segment.store = backend_->make_store(std::min(sequence.job->request.max_tokens, kFirstCapacity));
  if (segment.store->capacity() < n) {
    segment.store->resize(std::min(sequence.job->request.max_tokens, std::max(2 * segment.store->capacity(), n)));
  }
  const int64_t prefilled = n - 1 - segment.filled;
  sequence.job->tokens_prefilled += prefilled;
  counters_.tokens_prefilled += prefilled;
  for (int32_t i = segment.filled; i < n; ++i) rows_.push_back({.segment = &segment, .offset = i});
  rows_.back().wants_logits = true;
  segment.filled = n;
  sequence.logit_row = logit_rows_++;
}

// --- 4. Sample
// --------------------------------------------------------------------------------------------------------

void BatchEngine::take_first_logits() {
  const auto vocab = static_cast<std::ptrdiff_t>(config_.vocab_size);
  auto from = logits_.begin();
  for (Job* job : path_jobs_) {
    job->first_logits.assign(from, from + vocab);
    from += vocab;
  }
}

void BatchEngine::sample() {
  const auto vocab = static_cast<size_t>(config_.vocab_size);
  for (const std::unique_ptr<Sequence>& sequence : running_) {
    const float* row = sequence->logit_row < 0 ? sequence->job->first_logits.data()
                                               : logits_.data() + static_cast<size_t>(sequence->logit_row) * vocab;
    sequence->done = sample_token(*sequence, {row, vocab});
  }
}

// Appends one token; true when the step has ended with it.
bool BatchEngine::sample_token(Sequence& sequence, std::span<const float> logits) {
  Job& job = *sequence.job;
  const Child& child = job.children[static_cast<size_t>(sequence.child)];
  const uint64_t key = mix_all(job.request.sampling_key, sequence.child, child.attempt);
  const double u = uniform_at(seed_, RngPurpose::kSampling, key, sequence.step.tokens.size());
  const SampledToken sampled = sampler_.sample(logits, job.request.temperature, job.request.top_p, u);
  Step& step = sequence.step;
  step.tokens.push_back(sampled.token);
  step.logprobs.push_back(sampled.logprob);
  step.entropies.push_back(sampled.entropy);
  sequence.segment->tokens.push_back(sampled.token);
  ++job.tokens_generated;
  ++counters_.tokens_generated;
  if (is_eos(sampled.token)) {
    step.finish = Finish::kEos;
    return true;
  }
  step.finish = Finish::kLength;
  return static_cast<int32_t>(step.tokens.size()) >= job.request.max_tokens;
}

// --- 5. Settle
// --------------------------------------------------------------------------------------------------------

void BatchEngine::settle(std::vector<Expansion>& finished) {
  std::vector<Job*> to_judge;
  for (const std::unique_ptr<Sequence>& sequence : running_) {
    if (!sequence->done) continue;
    Child& child = sequence->job->children[static_cast<size_t>(sequence->child)];
    child.state = Child::State::kSampled;
    child.step = std::move(sequence->step);
    child.step.policy_version = policy_version_;
    child.segment = std::move(sequence->segment);
    child.segment->tail_unfed = true;
    if (!std::exchange(sequence->job->to_judge, true)) to_judge.push_back(sequence->job);
  }
  if (to_judge.empty()) return;
  std::erase_if(running_, [](const auto& sequence) { return sequence->done; });
  bool any_finished = false;
  for (Job* job : to_judge) {
    judge(*job);
    job->to_judge = false;
    if (job->unsettled > 0) continue;
    hand_out(*job, finished);
    any_finished = true;
  }
  if (any_finished) std::erase_if(jobs_, [](const auto& job) { return job->unsettled == 0; });
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
        ++child.attempt;
        ++counters_.duplicates_resampled;
        child.state = Child::State::kWaiting;
        child.segment.reset();
        ++job.waiting;
      } else if (duplicate || !job.request.distinct || all_before_settled) {
        child.state = duplicate ? Child::State::kDropped : Child::State::kKept;
        if (duplicate) child.segment.reset();
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
    // A child that ended for good is never continued: its KV can go.
    if (child.step.finish != Finish::kEos) {
      if (child.segment->store) child.segment->store->resize(child.segment->size());
      cache_.keep(job.request.tree, job.request.first_child + static_cast<int32_t>(expansion.children.size()),
                  std::move(child.segment));
    }
    expansion.children.push_back(std::move(child.step));
  }
  finished.push_back(std::move(expansion));
}

void BatchEngine::update_kv_counters() {
  counters_.kv_bytes = backend_->kv_bytes();
  counters_.kv_bytes_peak = std::max(counters_.kv_bytes_peak, counters_.kv_bytes);
}

}  // namespace deepsearch
