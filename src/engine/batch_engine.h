// BatchEngine: the continuous batch over any Backend. poll() is one decode step:
//
//   1. admit     requests' children join the batch, first come first served, up to max_batch sequences
//   2. plan      one row per token to run: missing prefix tokens, and the newest token of every sequence
//   3. forward   the backend runs all rows in one pass
//   4. sample    one token for every sequence
//   5. settle    finished children are judged (duplicates are sampled again); a request whose children are all settled
//   is
//                handed out
//
// A child's tokens depend on (weights, prefix, sampling key, child, try) only: random numbers are keyed, and the native
// backend's logits are the same bits in any batch. `distinct` keeps that: child i is compared with the settled children
// before it, never with whoever happened to finish first.
//
// KV: a child's tokens are fed one step after they are sampled, so its last token has no KV when it finishes; that
// token is fed when the child is expanded itself. tokens_prefilled counts prefix tokens run because their KV was
// missing: not that first feeding (the child's share of decoding), and not a last prefix token run again for its logits
// only.
//
// set_weights drops all KV. Sequences under way have their whole context run again under the new weights before their
// next token (counted as prefilled); tokens sampled before keep the log-probs they were sampled with.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "engine/backend.h"
#include "engine/engine.h"
#include "engine/kv_cache.h"
#include "engine/sampler.h"

namespace deepsearch {

class BatchEngine : public Engine {
 public:
  BatchEngine(const EngineParams& params, const ModelConfig& config, uint64_t seed, int rank,
              std::unique_ptr<Backend> backend);
  ~BatchEngine() override;

  // failure() for a request that contradicts itself; bad_input when prefix and step do not fit [model].max_positions.
  void submit(ExpansionRequest request) override;
  void poll(std::vector<Expansion>& finished) override;
  int64_t in_flight() const override { return static_cast<int64_t>(jobs_.size()); }
  void release(uint64_t tree) override;
  void set_weights(const ModelWeights& weights, int64_t policy_version) override;
  int64_t policy_version() const override { return policy_version_; }
  const EngineCounters& counters() const override { return counters_; }
  std::string description() const override;

 private:
  struct Child;     // one child of a request: waiting, sampled, judged
  struct Job;       // a request under way
  struct Sequence;  // a child in the batch

  void admit();
  void plan();
  int64_t plan_path(Job& job);
  void plan_sequence(Sequence& sequence);
  int64_t plan_tokens(KvSegment& segment, int32_t n);
  void take_first_logits();
  void sample();
  bool sample_token(Sequence& sequence, std::span<const float> logits);
  void settle(std::vector<Expansion>& finished);
  void judge(Job& job);
  void hand_out(Job& job, std::vector<Expansion>& finished);
  void update_kv_counters();
  bool is_eos(Token token) const;

  const EngineParams params_;
  const ModelConfig config_;
  const uint64_t seed_;
  const int rank_;
  std::unique_ptr<Backend> backend_;  // before everything that holds its stores
  bool has_weights_ = false;
  int64_t policy_version_ = 0;
  int64_t epoch_ = 0;  // how often weights were set: whose KV a job's path holds
  EngineCounters counters_;
  Sampler sampler_;
  KvCache cache_;
  std::deque<std::unique_ptr<Job>> jobs_;           // in order of submission
  std::vector<std::unique_ptr<Sequence>> running_;  // the batch
  // The pass being built.
  std::vector<BackendRow> rows_;
  std::vector<float> logits_;
  std::vector<Job*> path_jobs_;  // whose first rows' logits come first in logits_, in this order
  int64_t logit_rows_ = 0;
};

}  // namespace deepsearch
