#include "engine/params.h"

namespace deepsearch {

void EngineParams::describe(ConfigVisitor& v) {
  v.field(
      {.key = "backend",
       .unit = "",
       .meaning = "what runs the model: native (own CPU kernels, the same bits whatever the batch), torch (LibTorch, "
                  "any device) or auto (native on a CPU, torch on a GPU)",
       .choices = {"auto", "native", "torch"}},
      backend);
  v.field({.key = "device",
           .unit = "",
           .meaning = "where the model runs: cpu, cuda, or auto (cuda when this process sees a GPU)",
           .choices = {"auto", "cpu", "cuda"}},
          device);
  v.field({.key = "max_batch",
           .unit = "sequences",
           .meaning = "sequences decoded together; more wait in a queue",
           .min = 1,
           .max = 65536},
          max_batch);
  v.field({.key = "threads",
           .unit = "threads",
           .meaning = "CPU threads of one rank's engine; results do not depend on it with the native backend",
           .min = 1,
           .max = 1024},
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
