// [engine]: how the policy is run for sampling.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/config_visitor.h"

namespace deepsearch {

struct EngineParams {
  std::string device = "auto";   // cpu, cuda, auto (cuda when the rank owns a GPU)
  std::string weights = "auto";  // fp32, bf16, fp16, int8: how weights are stored; auto: fp32 (CPU), bf16 (GPU)
  int64_t max_batch = 0;         // sequences decoded together; 0: decode_batch() of engine.h
  int64_t prefill_chunk = 512;   // prefix tokens computed in one pass, beside the decoding
  int64_t kv_memory_mb = 0;      // KV cache at most; 0: half of the free memory (CPU), nearly all of it (GPU)
  std::string on_update = "drop";
  int64_t threads = 1;                 // CPU threads a rank
  int64_t distinct_tries = 8;          // times a duplicate child is sampled again before it is dropped
  int64_t top_k = 0;                   // 0: no limit
  std::vector<std::string> stop = {};  // strings that end a response; need a tokenizer
  bool deterministic = true;           // GPU: fixed tile and split sizes

  void describe(ConfigVisitor& v);
};

}  // namespace deepsearch
