#include "run/config.h"

#include <algorithm>
#include <utility>

#include "core/config.h"
#include "core/error.h"
#include "run/time_budget.h"

namespace deepsearch {

void RunParams::describe(ConfigVisitor& v) {
  v.field({.key = "seed",
           .unit = "",
           .meaning = "keys initial weights, sampling and order; problems have [task].seed",
           .min = 0},
          seed);
  v.field({.key = "log_level",
           .unit = "",
           .meaning = "least level that is logged",
           .choices = {"debug", "info", "warning", "error"},
           .decides = kNoResult},
          log_level);
  v.field({.key = "checkpoint_minutes",
           .unit = "min",
           .meaning = "write a checkpoint at the first step boundary this long after the last; 0: none by time",
           .min = 0,
           .max = 1e6,
           .decides = kNoResult},
          checkpoint_minutes);
  v.field({.key = "keep_checkpoints",
           .unit = "",
           .meaning = "keep the newest so many; 0: all of [learn].checkpoint_every, of others the newest",
           .min = 0,
           .decides = kNoResult},
          keep_checkpoints);
  v.field({.key = "keep_every",
           .unit = "steps",
           .meaning = "checkpoints of multiples of this are always kept; 0: none",
           .min = 0,
           .decides = kNoResult},
          keep_every);
  v.field({.key = "on_checkpoint_failure",
           .unit = "",
           .meaning = "a checkpoint that cannot be written (disk full, read-only): stop ends the run; continue warns, "
                      "goes on and tries the next one. The last one of a run always counts",
           .choices = {"stop", "continue"},
           .decides = kNoResult},
          on_checkpoint_failure);
  v.field({.key = "time_limit",
           .unit = "s or HH:MM:SS",
           .meaning = "the run saves itself and ends before it has taken this long; \"\": none but a Slurm job's end",
           .decides = kNoResult},
          time_limit);
  v.field(
      {.key = "stop_after",
       .unit = "steps",
       .meaning = "the run saves itself and ends (exit code 75) when so many steps are done, as at a time limit; 0: "
                  "not before [learn].steps",
       .min = 0,
       .decides = kNoResult},
      stop_after);
  v.field(
      {.key = "hold_state",
       .unit = "",
       .meaning = "a single learner keeps the optimiser's state of the last step boundary in memory while it learns "
                  "(12 bytes a parameter), so that a stop need not wait for the step's end",
       .decides = kNoResult},
      hold_state);
}

void EvalParams::describe(ConfigVisitor& v) {
  v.field({.key = "every",
           .unit = "steps",
           .meaning = "evaluate every so many steps; 0: before the first and after the last only",
           .min = 0},
          every);
  v.field({.key = "problems", .unit = "problems", .meaning = "held-out problems", .min = 1, .max = 1e6}, problems);
  v.field({.key = "samples",
           .unit = "rollouts",
           .meaning = "per problem; Pass@1 is their mean, Pass@k has k = samples",
           .min = 1,
           .max = 4096},
          samples);
  v.field({.key = "temperature", .unit = "", .meaning = "sampling temperature", .min = 0.01, .max = 10}, temperature);
  v.field({.key = "top_p", .unit = "", .meaning = "nucleus sampling's mass", .min = 0.01, .max = 1}, top_p);
  v.field({.key = "stop_at",
           .unit = "fraction",
           .meaning = "the run ends at the first evaluation whose Pass@1 is at least this; 0: none does",
           .min = 0,
           .max = 1,
           .decides = kNoResult},
          stop_at);
}

void EvaluateParams::describe(ConfigVisitor& v) {
  v.field({.key = "benchmarks",
           .unit = "",
           .meaning = "JSONL files of problems; []: held-out problems of the embedded task, made as training has them",
           .decides = kNoResult},
          benchmarks);
  v.field({.key = "names",
           .unit = "",
           .meaning = "of the benchmarks, for tables; []: the files' names",
           .decides = kNoResult},
          names);
  v.field({.key = "folder",
           .unit = "",
           .meaning = "where the files are looked for, as --benchmarks; \"\": the current folder",
           .decides = kNoResult},
          folder);
  v.field({.key = "problems",
           .unit = "problems",
           .meaning = "of each benchmark the first so many; 0: all (of generated ones 256)",
           .min = 0,
           .max = 1e7},
          problems);
  v.field({.key = "samples", .unit = "responses", .meaning = "per problem", .min = 1, .max = 65536}, samples);
  v.field({.key = "temperature", .unit = "", .meaning = "sampling temperature; 0: greedy", .min = 0, .max = 10},
          temperature);
  v.field({.key = "top_p", .unit = "", .meaning = "nucleus sampling's mass", .min = 0.01, .max = 1}, top_p);
  v.field({.key = "max_tokens",
           .unit = "tokens",
           .meaning = "of a response; 0: [search].max_depth steps of step_tokens",
           .min = 0,
           .max = 1 << 24},
          max_tokens);
  v.field(
      {.key = "in_flight",
       .unit = "problems",
       .meaning = "that a rank answers at a time; 0: as many as keep twice its batch supplied, where the KV cache has "
                  "room for responses of half the length",
       .min = 0,
       .max = 1e6,
       .decides = kNoResult},
      in_flight);
  v.field({.key = "ks",
           .unit = "",
           .meaning = "of Pass@k and majority@k, none above `samples`; []: 1, 2, 4, … and `samples`",
           .min = 1,
           .max = 65536,
           .decides = kNoResult},
          ks);
  v.field({.key = "confidence",
           .unit = "fraction",
           .meaning = "of the bootstrap intervals, over problems",
           .min = 0.5,
           .max = 0.999,
           .decides = kNoResult},
          confidence);
  v.field({.key = "resamples", .unit = "", .meaning = "of the bootstrap", .min = 100, .max = 1e6, .decides = kNoResult},
          resamples);
  v.field({.key = "progress_seconds",
           .unit = "s",
           .meaning = "between lines of progress in a log",
           .min = 0.1,
           .max = 3600,
           .decides = kNoResult},
          progress_seconds);
}

PartParams StoreParams::part() const {
  return {.flush_seconds = flush_seconds,
          .recorded_only = level == "recorded",
          .deflate = compression == "none" ? 0 : static_cast<int>(compression_level),
          .mantissa_bits = static_cast<int>(mantissa_bits)};
}

void StoreParams::describe(ConfigVisitor& v) {
  v.field({.key = "level",
           .unit = "",
           .meaning = "what is kept of trees: metrics alone, the paths to recorded trajectories, or all of them",
           .choices = {"metrics", "recorded", "all"}},
          level);
  v.field({.key = "flush_seconds",
           .unit = "s",
           .meaning = "time between flushes of a part: what readers of a live run wait for, and what a kill can cost",
           .min = 0.1,
           .max = 3600},
          flush_seconds);
  v.field({.key = "compression", .unit = "", .meaning = "of the parts' large tables", .choices = {"none", "gzip"}},
          compression);
  v.field({.key = "compression_level", .unit = "", .meaning = "of gzip, after shuffling bytes", .min = 1, .max = 9},
          compression_level);
  v.field({.key = "mantissa_bits",
           .unit = "bits",
           .meaning = "kept of a token's log-prob and entropy in the parts (relative error 2^-(bits + 1)); 23: all; "
                      "learning uses the exact values",
           .min = 0,
           .max = 23},
          mantissa_bits);
}

void Config::describe(ConfigVisitor& v) {
  v.table({.key = "run", .meaning = "the run as a whole"}, [this](ConfigVisitor& t) { run.describe(t); });
  v.table({.key = "task", .meaning = "the embedded problem family (docs/tasks.md), or text (docs/problems.md)"},
          [this](ConfigVisitor& t) { task.describe(t); });
  v.table({.key = "problems", .meaning = "problem files in place of generated ones (docs/problems.md)"},
          [this](ConfigVisitor& t) { problems.describe(t); });
  v.table({.key = "verify", .meaning = "what judges a response"}, [this](ConfigVisitor& t) { verify.describe(t); });
  v.table({.key = "model", .meaning = "the policy's shape, or where it is loaded from"},
          [this](ConfigVisitor& t) { model.describe(t); });
  v.table({.key = "engine", .meaning = "how the policy is run for sampling"},
          [this](ConfigVisitor& t) { engine.describe(t); });
  v.table({.key = "search", .meaning = "how trees are grown"}, [this](ConfigVisitor& t) { search.describe(t); });
  v.table({.key = "learn", .meaning = "what trees teach, and the training steps", .decides = kTrainingResult},
          [this](ConfigVisitor& t) {
            learn.describe(t);
            credit.describe(t);
          });
  v.table({.key = "rounds",
           .meaning = "filter by pass rate, learn from what is hard, filter again (docs/rounds.md)",
           .decides = kTrainingResult | kFilterResult},
          [this](ConfigVisitor& t) { rounds.describe(t); });
  v.table({.key = "sft",
           .meaning = "supervised training: on generated demonstrations, or on a file's (sft --data)",
           .decides = kNoResult},
          [this](ConfigVisitor& t) { sft.describe(t); });
  v.table({.key = "eval", .meaning = "held-out evaluation", .decides = kTrainingResult},
          [this](ConfigVisitor& t) { eval.describe(t); });
  v.table({.key = "evaluate",
           .meaning = "benchmarks, by deepsearch evaluate (docs/evaluate.md)",
           .decides = kEvaluationResult},
          [this](ConfigVisitor& t) { evaluate.describe(t); });
  v.table({.key = "ranks", .meaning = "who does what", .decides = kNoResult},
          [this](ConfigVisitor& t) { ranks.describe(t); });
  v.table({.key = "store", .meaning = "what is written to disk", .decides = kNoResult},
          [this](ConfigVisitor& t) { store.describe(t); });
}

namespace {

void check_hand_over(const Config& config) {
  const double gain = config.search.hand_over_gain;
  if (gain == 0) return;
  if (config.search.when != When::kGroupFailed) {
    bad_input("[search].hand_over_gain = {} is for [search].when = \"group_failed\"; set it to 0", gain);
  }
  if (config.learn.max_staleness > 0) {
    bad_input(
        "[search].hand_over_gain = {} needs [learn].max_staleness = 0: what a step decides by is known when the step "
        "before it is done, and search that runs ahead begins earlier",
        gain);
  }
}

// Where rounds do not go with other tables.
void check_rounds(const Config& config) {
  if (!config.rounds.on()) return;
  if (config.learn.max_staleness > 0) {
    bad_input(
        "[rounds].count = {} needs [learn].max_staleness = 0: a round's trees are all of its own problems, while "
        "search that runs ahead would begin the next round's before they are filtered",
        config.rounds.count);
  }
  if (config.rounds.replay && config.search.temperature != 1.0) {
    bad_input(
        "[rounds].replay needs [search].temperature = 1: log-probs of cached solutions are recomputed at that "
        "temperature; it is {}",
        config.search.temperature);
  }
}

// The zeros that mean "the task's own", and what every command needs.
void fill_in(Config& config) {
  if (!config.run.time_limit.empty()) parse_duration(config.run.time_limit, "[run].time_limit");
  constexpr int64_t kTextStep = 256;  // of the paper
  constexpr int64_t kTextDepth = 64;
  const std::unique_ptr<Task> task = config.task.text() ? nullptr : make_task(config.task);
  if (config.search.step_tokens == 0) config.search.step_tokens = task ? task->step_tokens() : kTextStep;
  if (config.search.max_depth == 0) config.search.max_depth = task ? task->max_depth() : kTextDepth;
  if (config.verify.judge == Judge::kAuto) config.verify.judge = task ? Judge::kTask : Judge::kMathematics;
  config.credit = resolved(config.credit, config.search);
  check(config.problems, config.task.text());
  check(config.verify, task.get());
  check(config.search);
}

// What a training needs of keys that are seen together, and its steps a round.
void prepare_training(Config& config) {
  check(config.credit, config.search);
  check(config.learn, config.credit);
  config.rounds = resolved(config.rounds, config.learn.steps);
  check_rounds(config);
  check_hand_over(config);
}

Config prepared(Config config, ReadFor purpose) {
  fill_in(config);
  if (purpose == ReadFor::kTraining) prepare_training(config);
  return config;
}

}  // namespace

Config read_config(const std::string& path, const std::vector<std::string>& overrides, ReadFor purpose) {
  Config config;
  load_config(path, overrides, [&](ConfigVisitor& v) { config.describe(v); });
  return prepared(std::move(config), purpose);
}

namespace {

// Configs in files of earlier versions: [store].trees is [store].level now.
std::string with_store_level(std::string text) {
  const size_t table = text.find("\n[store]\n");
  if (table == std::string::npos) return text;
  for (const auto& [old_line, new_line] : {std::pair<std::string, std::string>{"\ntrees = true", "\nlevel = \"all\""},
                                           {"\ntrees = false", "\nlevel = \"metrics\""}}) {
    const size_t at = text.find(old_line, table);
    if (at != std::string::npos && at < text.find("\n[", table + 1)) text.replace(at, old_line.size(), new_line);
  }
  return text;
}

}  // namespace

Config read_config_text(const std::string& text, const std::string& name, const std::vector<std::string>& overrides,
                        ReadFor purpose) {
  Config config;
  load_config_text(with_store_level(text), name, overrides, [&](ConfigVisitor& v) { config.describe(v); });
  return prepared(std::move(config), purpose);
}

std::string config_text(const Config& config) {
  Config copy = config;  // describe() takes fields by reference
  return dump_config([&](ConfigVisitor& v) { copy.describe(v); });
}

ModelConfig model_config_of(const ModelParams& model, const Language& language) {
  ModelConfig config = fresh_model_config(model);
  config.vocab_size = language.vocabulary_size();
  config.pad_token = language.pad_token();
  config.eos_tokens = language.eos_tokens();
  check_model_config(config);
  return config;
}

}  // namespace deepsearch
