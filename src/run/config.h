// The whole configuration of a run: one struct a folder. `deepsearch config --explain` prints it from the same lists.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "comm/world.h"
#include "core/config_visitor.h"
#include "data/task.h"
#include "engine/params.h"
#include "learn/params.h"
#include "model/model_config.h"
#include "rounds/params.h"
#include "run/problem_params.h"
#include "run/verification.h"
#include "search/credit.h"
#include "search/params.h"
#include "store/part_writer.h"

namespace deepsearch {

struct RunParams {
  int64_t seed = 1;
  std::string log_level = "info";
  double checkpoint_minutes = 30;  // beside [learn].checkpoint_every; 0: none by time
  int64_t keep_checkpoints = 0;    // see KeepCheckpoints
  int64_t keep_every = 0;
  std::string on_checkpoint_failure = "stop";  // or "continue"
  std::string time_limit;                      // parse_duration; "": none but Slurm's
  int64_t stop_after = 0;                      // steps; 0: [learn].steps
  bool hold_state = true;                      // a copy of the optimiser's state at the step boundary while learning

  void describe(ConfigVisitor& v);
};

// [eval]: held-out problems answered by plain rollouts, before the first step and on the way.
struct EvalParams {
  int64_t every = 10;  // steps; 0: before the first and after the last only
  int64_t problems = 256;
  int64_t samples = 16;  // per problem; Pass@k has k = samples
  double temperature = 1.0;
  double top_p = 1.0;
  double stop_at = 0;  // Pass@1 at which the run ends; 0: none

  void describe(ConfigVisitor& v);
};

// [evaluate]: `deepsearch evaluate` (evaluate/evaluate.h).
struct EvaluateParams {
  std::vector<std::string> benchmarks = {};  // JSONL files; {}: held-out problems of the embedded task
  std::vector<std::string> names = {};       // of them, for tables; {}: the files' names
  std::string folder;                        // where they are looked for; "": the current folder
  int64_t problems = 0;                      // of each benchmark the first so many; 0: all (generated: 256)
  int64_t samples = 32;
  double temperature = 0.6;
  double top_p = 0.95;
  int64_t max_tokens = 0;  // of a response; 0: [search].max_depth steps of step_tokens
  int64_t in_flight = 0;   // problems a rank answers at a time; 0: what keeps its batch full
  std::vector<int64_t> ks = {};
  double confidence = 0.95;
  int64_t resamples = 10000;
  double progress_seconds = 30;

  void describe(ConfigVisitor& v);
};

// [store]: what is written to disk.
struct StoreParams {
  std::string level = "all";         // metrics, recorded, all
  double flush_seconds = 30;         // what readers of a live run wait for, and what a kill can cost
  std::string compression = "gzip";  // or none
  int64_t compression_level = 1;
  int64_t mantissa_bits = 12;  // of tokens' log-probs and entropies

  bool trees() const { return level != "metrics"; }
  PartParams part() const;
  void describe(ConfigVisitor& v);
};

struct Config {
  RunParams run;
  TaskParams task;
  ProblemParams problems;
  VerifyParams verify;
  ModelParams model;
  EngineParams engine;
  SearchParams search;
  CreditParams credit;  // part of [learn]
  LearnParams learn;
  RoundsParams rounds;
  SftParams sft;
  EvalParams eval;
  EvaluateParams evaluate;
  RanksParams ranks;
  StoreParams store;

  void describe(ConfigVisitor& v);
};

// What a configuration is read for. Sampling (evaluate, filter, generate, …) asks nothing of [learn] and [rounds],
// which it does not use: whom a training left can be sampled whatever these say.
enum class ReadFor : uint8_t { kTraining, kSampling };

// The config of `path` ("" for defaults) with overrides, its zeros that mean "the task's own" filled in, and what only
// shows when keys are seen together checked.
Config read_config(const std::string& path, const std::vector<std::string>& overrides,
                   ReadFor purpose = ReadFor::kTraining);
Config read_config_text(const std::string& text, const std::string& name, const std::vector<std::string>& overrides,
                        ReadFor purpose = ReadFor::kTraining);
std::string config_text(const Config& config);

// The model's shape by [model] for the language's vocabulary.
ModelConfig model_config_of(const ModelParams& model, const Language& language);

}  // namespace deepsearch
