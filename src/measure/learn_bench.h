// How fast the learner is: each batch of rows trained on packed (a common prefix once) and unpacked (every row of its
// own) in one run, beside what the shared tokens allow at most and what the processor does at most. The measure behind
// `deepsearch bench learn`.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "comm/collectives.h"
#include "data/task.h"
#include "engine/engine.h"
#include "learn/params.h"
#include "learn/rows.h"
#include "model/weights.h"
#include "run/config.h"
#include "verify/verifier.h"

namespace deepsearch {

// --- Rows to train on, with random advantages and the log-probs of a uniform policy.

// `n` rows of random tokens, all different, or with the first `n_prompt` tokens, their prompt, in common.
std::vector<Row> random_rows(int64_t n, int64_t length, int64_t n_prompt, bool common_prompt, int64_t vocabulary);

// Recorded trajectories of `trees` trees: each a prompt and `depth` steps of `step_tokens`; every further one of a tree
// leaves an earlier one at a step drawn evenly.
struct TreeShape {
  int64_t trees = 1;
  int64_t prompt = 64;
  int64_t depth = 64;
  int64_t step_tokens = 16;
  int64_t recorded = 8;
};
std::vector<Row> synthetic_tree_rows(const TreeShape& shape, int64_t vocabulary);

// The rows that trees of the task teach, grown by `engine` as training does, until there are `problems` with any.
std::vector<Row> task_tree_rows(const Config& config, const Task& task, const Verifier& verifier, Engine& engine,
                                int64_t problems);

// --- Measures.

struct PackingFigures {
  double seconds = 0;      // of one training step: forward, backward, update; the median
  double cpu_seconds = 0;  // of processor time, likewise: what a busy machine cannot spoil
  int64_t computed_tokens = 0;
  double share_of_peak = 0;  // model FLOP over seconds over the peak; 0: peak not known
  double flops = 0;
  int64_t peak_bytes = 0;  // resident memory at most, while it trained; the program and its weights included
};

struct LearnFigures {
  int64_t rows = 0;
  int64_t row_tokens = 0;  // as often as rows hold them
  PackingFigures packed, unpacked;
  double speedup() const { return unpacked.seconds / packed.seconds; }
  // What the packed batch's tokens would give if a step took time in proportion to them.
  double allowed() const { return static_cast<double>(row_tokens) / static_cast<double>(packed.computed_tokens); }
};

// Trains on `rows` as one minibatch, `repetitions` times after one that warms up, on a fresh trainer each way.
// learn.packing is not looked at.
LearnFigures measure_learning(const ModelWeights& start, const LearnParams& learn, Collectives& collectives,
                              const std::vector<Row>& rows, int64_t repetitions);

struct StepShape {
  int64_t prompts = 8;
  int64_t samples = 8;
  int64_t prompt_tokens = 16;
  int64_t new_tokens = 128;
};
struct StepFigures {
  double seconds = 0;      // generation, one update and the new weights in the engine: the median
  double cpu_seconds = 0;  // the same in processor time
  double generation = 0;
  double learning = 0;
  int64_t peak_bytes = 0;
};
// A whole GRPO step. `engine` and the trainer start from `start`, which should have no end-of-sequence tokens.
StepFigures measure_step(const ModelWeights& start, const LearnParams& learn, Collectives& collectives, Engine& engine,
                         const StepShape& shape, int64_t repetitions);

}  // namespace deepsearch
