#include "engine/params.h"

namespace deepsearch {

void EngineParams::describe(ConfigVisitor& v) {
  v.field(
      {.key = "device",
       .unit = "",
       .meaning = "where the model runs for sampling: cpu (own kernels, the same bits whatever the batch), cuda, or "
                  "auto (cuda when this process sees a GPU)",
       .choices = {"auto", "cpu", "cuda"}},
      device);
  v.field(
      {.key = "weights",
       .unit = "",
       .meaning = "how the sampling weights are stored: fp32 or bf16 anywhere, int8 (a scale per group) on a CPU, fp16 "
                  "on a GPU; sums are fp32 always; auto: fp32 on a CPU, bf16 on a GPU",
       .choices = {"auto", "fp32", "bf16", "fp16", "int8"}},
      weights);
  v.field({.key = "max_batch",
           .unit = "sequences",
           .meaning = "sequences decoded together; more wait in a queue; 0: 256, or 16 a thread on a CPU whose caches "
                      "hold the weights: there more share nothing and their KV falls out of the caches",
           .min = 0,
           .max = 65536},
          max_batch);
  v.field({.key = "prefill_chunk",
           .unit = "tokens",
           .meaning = "prefix tokens computed in one pass beside the decoding; a longer prefix takes several passes",
           .min = 16,
           .max = 65536},
          prefill_chunk);
  v.field(
      {.key = "kv_memory_mb",
       .unit = "MB",
       .meaning = "memory of the KV cache at most; 0: half of what is free, shared by a node's ranks (CPU), or what "
                  "weights and workspace leave (GPU)",
       .min = 0,
       .max = 1e9,
       .decides = kNoResult},
      kv_memory_mb);
  v.field({.key = "on_update",
           .unit = "",
           .meaning = "what new weights mean for KV computed by older ones: drop (computed again when needed) or keep",
           .choices = {"drop", "keep"}},
          on_update);
  v.field({.key = "top_k",
           .unit = "tokens",
           .meaning = "sample among this many most probable tokens only; 0: no limit",
           .min = 0,
           .max = 1e7},
          top_k);
  v.field({.key = "stop", .unit = "", .meaning = "strings that end a response as soon as they appear in its text"},
          stop);
  v.field({.key = "deterministic",
           .unit = "",
           .meaning = "GPU: tile and split sizes that do not depend on the batch (CPU results never do)"},
          deterministic);
  v.field({.key = "threads",
           .unit = "threads",
           .meaning = "CPU threads of one rank's engine; results do not depend on it",
           .min = 1,
           .max = 1024,
           .decides = kNoResult},
          threads);
  v.field(
      {.key = "distinct_tries",
       .unit = "tries",
       .meaning = "times a child equal to a sibling is sampled again before it is dropped (search.distinct_children)",
       .min = 0,
       .max = 1000},
      distinct_tries);
}

}  // namespace deepsearch
