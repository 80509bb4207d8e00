// Engine: StepGenerator over a language model, one running batch over all trees of a rank. Each poll() is one decode
// step: new sequences join, finished ones leave. KV is kept per node, so a prefix is never computed twice while its
// tree lives. Log-probs and entropies are exact (full softmax, fp32 logits, double accumulation).
//
// One thread owns an engine. set_weights may be called between polls; running sequences go on under the new weights
// (their Steps carry the version they were finished under), cached KV of older versions is dropped and prefilled again
// when next needed.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "engine/params.h"
#include "model/weights.h"
#include "search/step_generator.h"

namespace deepsearch {

struct EngineCounters {
  int64_t tokens_generated = 0;
  int64_t tokens_prefilled = 0;
  int64_t decode_steps = 0;
  int64_t duplicates_resampled = 0;
  double busy_seconds = 0;  // inside poll
  int64_t kv_bytes = 0;     // now
  int64_t kv_bytes_peak = 0;
};

class Engine : public StepGenerator {
 public:
  virtual void set_weights(const ModelWeights& weights, int64_t policy_version) = 0;
  virtual int64_t policy_version() const = 0;
  virtual const EngineCounters& counters() const = 0;
  virtual std::string description() const = 0;  // "native CPU, 1 thread, AVX-512, batch 256": printed at start
};

// `seed` keys all sampling; `rank` is written into Expansion.made_by_rank.
std::unique_ptr<Engine> make_engine(const EngineParams& params, const ModelConfig& config, uint64_t seed, int rank);

}  // namespace deepsearch
