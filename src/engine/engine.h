// Engine: StepGenerator over a language model, one running batch over all trees of a rank. Each poll() is one decode
// step: new sequences join, finished ones leave. KV is kept per node, so a prefix is not computed twice while its tree
// lives and memory lasts. Log-probs and entropies are exact (full softmax).
//
// One thread owns an engine. set_weights may be called between polls; running sequences go on under the new weights,
// and each token carries the version that made it. KV of older versions is dropped and computed again when next needed,
// or kept ([engine].on_update).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/params.h"
#include "model/weights.h"
#include "search/step_generator.h"

namespace deepsearch {

struct EngineCounters {
  int64_t tokens_generated = 0;
  int64_t tokens_prefilled = 0;   // prefix tokens computed because their KV was missing
  int64_t tokens_recomputed = 0;  // of all tokens computed: those that had KV before (evicted, dropped, run for logits)
  int64_t prefix_tokens = 0;      // that expansions asked to continue from: what would be computed without a cache
  int64_t decode_steps = 0;
  int64_t duplicates_resampled = 0;
  int64_t nodes_evicted = 0;        // whose KV was given up under memory pressure
  int64_t tokens_evicted = 0;       // of those
  int64_t sequences_preempted = 0;  // that lost their KV while running, and go on later
  double busy_seconds = 0;          // inside poll
  int64_t kv_bytes = 0;             // now
  int64_t kv_bytes_peak = 0;
  int64_t kv_bytes_limit = 0;
  int64_t kv_tokens_limit = 0;  // of all sequences together, were all blocks full
};

// What scoring a text gives: for each token but the first, its log-prob given those before it, and the entropy there.
struct Scores {
  std::vector<float> logprobs;
  std::vector<float> entropies;
};

class Engine : public StepGenerator {
 public:
  virtual void set_weights(const WeightSource& weights, int64_t policy_version) = 0;
  virtual int64_t policy_version() const = 0;
  // Gives back the memory of all KV, until weights are set again: a rank that learns next needs it. Nothing may be in
  // flight, and no tree is continued afterwards without computing its prefix anew.
  virtual void suspend() = 0;
  // The bytes each token id stands for, which stop strings are looked for in.
  virtual void set_token_bytes(std::vector<std::string> bytes) = 0;
  // bad_input for a text that cannot be scored.
  virtual void check_text(const std::vector<Token>& text) const = 0;
  // Teacher-forced, at temperature 1; texts of 1 to max_positions tokens, any number of them. Nothing may be in flight.
  virtual std::vector<Scores> score(const std::vector<std::vector<Token>>& texts) = 0;
  virtual const EngineCounters& counters() const = 0;
  virtual int64_t kv_blocks_used() const = 0;
  virtual int64_t max_batch() const = 0;  // sequences decoded together at most
  virtual const ModelConfig& model_config() const = 0;
  virtual std::string description() const = 0;  // "native CPU, 1 thread, AVX-512, fp32, batch 256": printed at start
};

// [engine].max_batch, or what it is by itself.
int64_t decode_batch(const EngineParams& params, const ModelConfig& config, bool on_gpu);

// `seed` keys all sampling; `rank` is written into Expansion.made_by_rank; `ranks_on_host` share the host's memory.
std::unique_ptr<Engine> make_engine(const EngineParams& params, const ModelConfig& config, uint64_t seed, int rank,
                                    int64_t ranks_on_host = 1);

}  // namespace deepsearch
