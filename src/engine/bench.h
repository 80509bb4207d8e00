// How fast the engine decodes, and how that compares with what the processor could do at best.
#pragma once

#include <cstdint>
#include <string>

#include "engine/engine.h"

namespace deepsearch {

struct EngineBenchParams {
  int64_t batch = 256;      // sequences decoded together (overrides EngineParams::max_batch)
  int64_t children = 8;     // how many of them continue one prompt together, as in a tree; divides batch
  int64_t context = 60;     // tokens before the first decoded one
  int64_t new_tokens = 32;  // decoded per sequence and repetition
  int64_t repetitions = 3;  // after one that warms up; the fastest counts
  uint64_t seed = 1;
};

struct EngineBenchResult {
  std::string engine;            // its description
  double tokens_per_second = 0;  // decoded, sampling included
  double tokens_per_cpu_second =
      0;  // the same per second of processor time (all threads): what a busy machine cannot spoil
  double prefill_tokens_per_second = 0;
  double flops_per_token = 0;  // at the mean context of the measurement
  double achieved_gflops = 0;  // tokens_per_second · flops_per_token
  double peak_gflops = 0;      // measured: multiply-adds in registers on as many threads; 0 where the device is no CPU
  double share_of_peak = 0;    // achieved / peak; 0 without a peak
  int64_t kv_bytes_peak = 0;
};

// Measures with fresh weights of this shape (speed does not depend on the values); end-of-sequence tokens are ignored.
// bad_input when context + new_tokens exceed config.max_positions.
EngineBenchResult bench_engine(const EngineParams& params, const ModelConfig& config, const EngineBenchParams& bench);

// One line a person can read.
std::string to_line(const EngineBenchResult& result);

}  // namespace deepsearch
