// BatchEngine: the continuous batch over any Backend. poll() is one pass:
//
//   1. make room   every running sequence gets a block for its newest token; idle nodes are evicted for it, and when
//   that
//                  is not enough the youngest sequences give up their KV and go on later
//   2. paths       missing KV of expanded nodes is computed, oldest request first, prefill_chunk tokens a pass
//   3. admit       children of requests whose path is there are drawn, up to max_batch sequences
//   4. run         the backend runs all rows and draws in one pass
//   5. settle      finished children are judged (duplicates are sampled again); a request whose children are all
//   settled
//                  is handed out
//
// Requests are served first come first served. A tree has few in flight and a new one goes to the end, so every tree
// gets its turn; the oldest request is never preempted, so all of them end.
//
// A child's tokens depend on (weights, prefix, sampling key, child, try) only: random numbers are keyed, and the native
// backend's results are the same bits in any batch, chunk and order, evicted or not. `distinct` keeps that: child i is
// compared with the settled children before it, never with whoever happened to finish first.
//
// A child's tokens are fed one pass after they are drawn, so its last token has no KV when it finishes; that token is
// fed when the child is expanded itself. tokens_prefilled counts prefix tokens run because their KV was missing: not
// that first feeding (the child's share of decoding), and not a last prefix token run again for its logits only.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "engine/backend.h"
#include "engine/engine.h"
#include "engine/kv_cache.h"
#include "engine/stop_strings.h"

namespace deepsearch {

class BatchEngine : public Engine {
 public:
  // n_blocks: of KV; the backend is asked to reserve them.
  BatchEngine(const EngineParams& params, const ModelConfig& config, uint64_t seed, int rank, int64_t n_blocks,
              std::unique_ptr<Backend> backend);
  ~BatchEngine() override;

  // failure() for a request that contradicts itself; bad_input when prefix and step do not fit [model].max_positions or
  // the KV cache.
  void submit(ExpansionRequest request) override;
  void poll(std::vector<Expansion>& finished) override;
  int64_t in_flight() const override { return static_cast<int64_t>(jobs_.size()); }
  void release(uint64_t tree) override;
  void set_weights(const WeightSource& weights, int64_t policy_version) override;
  int64_t policy_version() const override { return policy_version_; }
  void suspend() override;
  void set_token_bytes(std::vector<std::string> bytes) override;
  void check_text(const std::vector<Token>& text) const override;
  std::vector<Scores> score(const std::vector<std::vector<Token>>& texts) override;
  const EngineCounters& counters() const override { return counters_; }
  int64_t kv_blocks_used() const override { return cache_.pool().used(); }
  int64_t max_batch() const override { return params_.max_batch; }
  const ModelConfig& model_config() const override { return config_; }
  std::string description() const override;

 private:
  struct Child;   // one child of a request: waiting, running, judged
  struct Job;     // a request under way
  struct Drawn {  // whose draw it is
    Job* job = nullptr;
    int32_t child = 0;
  };

  // batch_plan.cpp: 1 to 3, and the pass itself
  void plan();
  void make_room_for_running();
  void feed(Job& job, size_t index);
  bool make_room(int64_t n_blocks, const Job& job, size_t child);
  bool preempt_after(const Job& job, size_t child);
  void plan_path(Job& job);
  bool plan_node(Job& job, KvNode& node);
  void count_recomputed(KvNode& node, int32_t n);
  void admit(Job& job);
  void emit(Job& job);
  void emit_span(const KvNode& node, int32_t from, int32_t n);
  void emit_draw(Job& job, size_t child);
  bool path_ready(const Job& job) const;
  bool oldest(const Job& job) const;

  // batch_engine.cpp: 5
  void take_draws();
  void take_token(Job& job, Child& child, const SampledToken& drawn);
  void settle(std::vector<Expansion>& finished);
  void judge(Job& job);
  void hand_out(Job& job, std::vector<Expansion>& finished);
  void drop(Job& job);
  void update_kv_counters();
  bool is_eos(Token token) const;

  const EngineParams params_;
  const ModelConfig config_;
  const uint64_t seed_;
  const int rank_;
  std::unique_ptr<Backend> backend_;
  const int64_t n_blocks_;
  bool suspended_ = false;
  bool has_weights_ = false;
  int64_t policy_version_ = 0;
  StopStrings stop_;
  EngineCounters counters_;
  KvCache cache_;
  std::deque<std::unique_ptr<Job>> jobs_;  // in order of submission
  std::vector<Job*> by_path_;  // the same, siblings and cousins next to each other: the order of a pass's spans
  int64_t running_ = 0;        // children in the batch
  int64_t pass_number_ = 0;
  // The pass being built, and what came of it.
  Pass pass_;
  std::vector<Drawn> drawn_for_;
  std::vector<SampledToken> drawn_;
  int64_t prefill_left_ = 0;   // tokens that may still be computed in it beside the decoding
  std::vector<KvNode*> path_;  // scratch: root first
};

}  // namespace deepsearch
