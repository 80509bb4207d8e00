// How fast the engine is: each figure beside a baseline from the same run and beside what the machine could do at best,
// measured in the same run too. Numbers of the whole engine (scheduler and sampling included) unless said otherwise.
#pragma once

#include <cstdint>
#include <string>

#include "engine/engine.h"
#include "model/weights.h"

namespace deepsearch {

struct BenchSubject {
  EngineParams params;
  const WeightSource* weights = nullptr;  // any; speed does not depend on the values. End-of-sequence is ignored
  int64_t repetitions = 3;                // the median counts; one more warms up
};

std::string describe_engine(const BenchSubject& subject);

// What limits a step: the larger of its bytes over the bandwidth and its operations over the peak.
struct Roofline {
  double peak_gflops = 0;    // 0: unknown (a GPU's)
  double bandwidth_gbs = 0;  // 0: unknown
  bool gpu = false;
};
Roofline measure_roofline(const EngineParams& params);

struct DecodeResult {
  int64_t batch = 0;
  double tokens_per_second = 0;        // while the whole batch decodes
  double tokens_per_cpu_second = 0;    // the same per second of processor time: what a busy machine cannot spoil
  double whole_tokens_per_second = 0;  // new tokens over all time, prompts included
  double roofline_tokens_per_second = 0;
  double share_of_roofline = 0;
  double against_one_at_a_time = 0;  // tokens_per_second over that of a batch of 1
  int64_t kv_bytes_peak = 0;
};
// `batch` prompts of `context` random tokens that share nothing, `new_tokens` each. one_at_a_time: tokens/s of a batch
// of 1 of the same run (0: this is it).
DecodeResult bench_decode(const BenchSubject& subject, const Roofline& roofline, int64_t batch, int64_t context,
                          int64_t new_tokens, double one_at_a_time);

struct PrefillResult {
  int64_t tokens = 0;
  double tokens_per_second = 0;
  double share_of_peak = 0;
  double against_token_by_token = 0;
};
PrefillResult bench_prefill(const BenchSubject& subject, const Roofline& roofline, int64_t tokens);

struct PrefixResult {
  int64_t children = 0;
  double shared_seconds = 0;    // one prompt, `children` continuations: from the request to the last token
  double separate_seconds = 0;  // as many requests that each bring the prompt
  double ratio = 0;
  double kv_wasted = 0;  // of the shared run's KV slots, at the end: those that hold no token
};
PrefixResult bench_prefix(const BenchSubject& subject, int64_t prefix, int64_t children, int64_t new_tokens);

struct SamplerResult {
  int64_t vocab = 0;
  double draws_per_second = 0;        // CPU, one thread; 64 rows, temperature 0.8, top-p as given
  double plain_draws_per_second = 0;  // plain loops in double
  double gigabytes_per_second = 0;    // of logits
  double share_of_bandwidth = 0;
};
SamplerResult bench_sampler(int64_t vocab, double top_p);

}  // namespace deepsearch
