#include "measure/learn_bench.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <utility>

#include "core/error.h"
#include "core/rng.h"
#include "core/timer.h"
#include "learn/trainer.h"
#include "run/generation.h"
#include "search/credit.h"
#include "search/forest.h"

namespace deepsearch {

namespace {

// Linux: the high-water mark of resident memory, and how it is taken back to what is resident now.
void reset_peak_memory() {
  std::ofstream("/proc/self/clear_refs") << "5";
}
int64_t peak_memory() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmHWM:")) return 1024 * std::stoll(line.substr(6));
  }
  return 0;
}

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

Token random_token(RandomStream& random, int64_t vocabulary) {
  return static_cast<Token>(random.below(static_cast<uint64_t>(vocabulary)));
}

std::vector<Token> random_tokens(RandomStream& random, int64_t n, int64_t vocabulary) {
  std::vector<Token> tokens(static_cast<size_t>(n));
  for (Token& token : tokens) token = random_token(random, vocabulary);
  return tokens;
}

Row row_of(std::vector<Token> tokens, int64_t n_prompt, RandomStream& random, int64_t vocabulary) {
  Row row;
  row.tokens = std::move(tokens);
  row.n_prompt = n_prompt;
  row.behaviour.assign(static_cast<size_t>(row.n_response()), -static_cast<float>(std::log(vocabulary)));
  for (int64_t i = 0; i < row.n_response(); ++i) row.advantages.push_back(static_cast<float>(random.normal()));
  return row;
}

RandomStream stream(const char* what) {
  return {1, RngPurpose::kProblems, hash_text(what)};
}

PackingFigures measure(const ModelWeights& start, LearnParams learn, Packing packing, Collectives& collectives,
                       const std::vector<Row>& rows, int64_t repetitions) {
  learn.packing = packing;
  learn.epochs = 1;
  reset_peak_memory();
  Trainer trainer(start, learn, collectives, repetitions + 1);
  const std::vector<std::vector<Row>> minibatches = {rows};
  PackingFigures figures;
  std::vector<double> seconds;
  std::vector<double> cpu;
  for (int64_t i = 0; i <= repetitions; ++i) {
    const Stopwatch watch;
    const double cpu_before = cpu_seconds();
    const TrainStats stats = trainer.train(minibatches, {});
    if (i > 0) seconds.push_back(watch.seconds());
    if (i > 0) cpu.push_back(cpu_seconds() - cpu_before);
    figures.computed_tokens = stats.computed_tokens;
    figures.flops = stats.flops;
    figures.share_of_peak = stats.peak_flops;
  }
  figures.seconds = median(seconds);
  figures.cpu_seconds = median(cpu);
  figures.share_of_peak = figures.share_of_peak > 0 ? figures.flops / figures.seconds / figures.share_of_peak : 0;
  figures.peak_bytes = peak_memory();
  return figures;
}

// Advantages of ±1, so that every token teaches.
std::vector<Row> rows_of_group(const std::vector<Token>& prompt, const Generated& generated) {
  std::vector<Row> rows;
  for (const Step& step : generated.samples) {
    Row row;
    row.tokens = prompt;
    row.n_prompt = static_cast<int64_t>(prompt.size());
    row.tokens.insert(row.tokens.end(), step.tokens.begin(), step.tokens.end());
    row.behaviour.assign(step.logprobs.begin(), step.logprobs.end());
    row.advantages.assign(step.tokens.size(), rows.size() % 2 == 0 ? 1.0F : -1.0F);
    rows.push_back(std::move(row));
  }
  return rows;
}

std::vector<Row> generate_rows(Engine& engine, const StepShape& shape, RandomStream& random, uint64_t step) {
  Generation generation(engine);
  std::vector<std::vector<Token>> prompts;
  for (int64_t i = 0; i < shape.prompts; ++i) {
    prompts.push_back(random_tokens(random, shape.prompt_tokens, engine.model_config().vocab_size));
    generation.add({.prompt = prompts.back(),
                    .samples = static_cast<int32_t>(shape.samples),
                    .max_tokens = static_cast<int32_t>(shape.new_tokens),
                    .key = mix_all(hash_text("bench"), step, i)});
  }
  std::vector<Row> rows;
  Generated generated;
  for (size_t done = 0; done < prompts.size();) {
    if (!generation.take_next(generated)) {
      generation.pump();
      continue;
    }
    for (Row& row : rows_of_group(prompts[done], generated)) rows.push_back(std::move(row));
    ++done;
  }
  return rows;
}

}  // namespace

std::vector<Row> random_rows(int64_t n, int64_t length, int64_t n_prompt, bool common_prompt, int64_t vocabulary) {
  RandomStream random = stream("rows");
  std::vector<Row> rows;
  std::vector<Token> prompt = random_tokens(random, n_prompt, vocabulary);
  for (int64_t i = 0; i < n; ++i) {
    if (!common_prompt) prompt = random_tokens(random, n_prompt, vocabulary);
    std::vector<Token> tokens = prompt;
    while (static_cast<int64_t>(tokens.size()) < length) tokens.push_back(random_token(random, vocabulary));
    rows.push_back(row_of(std::move(tokens), n_prompt, random, vocabulary));
  }
  return rows;
}

std::vector<Row> synthetic_tree_rows(const TreeShape& shape, int64_t vocabulary) {
  RandomStream random = stream("trees");
  std::vector<Row> rows;
  for (int64_t tree = 0; tree < shape.trees; ++tree) {
    const size_t first = rows.size();
    for (int64_t i = 0; i < shape.recorded; ++i) {
      std::vector<Token> tokens = random_tokens(random, shape.prompt, vocabulary);
      if (i > 0) {
        tokens = rows[first + random.below(static_cast<uint64_t>(i))].tokens;
        const auto steps = static_cast<int64_t>(random.below(static_cast<uint64_t>(shape.depth)));
        tokens.resize(static_cast<size_t>(shape.prompt + steps * shape.step_tokens));
      }
      const auto length = static_cast<size_t>(shape.prompt + shape.depth * shape.step_tokens);
      while (tokens.size() < length) tokens.push_back(random_token(random, vocabulary));
      rows.push_back(row_of(std::move(tokens), shape.prompt, random, vocabulary));
    }
  }
  return rows;
}

std::vector<Row> task_tree_rows(const Config& config, const Task& task, const Verifier& verifier, Engine& engine,
                                int64_t problems) {
  constexpr int64_t kMostTried = 50;  // for each that is wanted
  Forest forest(engine, verifier, config.search, {.seed = static_cast<uint64_t>(config.run.seed)});
  std::vector<Row> rows;
  int64_t taught = 0;
  for (int64_t i = 0; taught < problems && i < kMostTried * problems; i += problems) {
    for (int64_t j = i; j < i + problems; ++j) {
      Problem problem = task.problem(Split::kTrain, static_cast<uint64_t>(j));
      const TreeKey key = {.round = 0, .step = 0, .problem_index = j, .problem_key = problem.key, .attempt = 0};
      forest.add_tree(std::move(problem), key);
    }
    while (forest.growing() > 0) forest.pump();
    std::vector<TreeRecord> trees = forest.take_finished();
    std::ranges::sort(trees, [](const TreeRecord& a, const TreeRecord& b) { return a.key < b.key; });
    for (const TreeRecord& tree : trees) {
      std::vector<Row> found = rows_of(tree, config.credit);
      if (found.empty() || taught == problems) continue;
      ++taught;
      for (Row& row : found) rows.push_back(std::move(row));
    }
  }
  if (rows.empty())
    bad_input("bench learn: no tree of {} teaches anything; give a --model that solves some", config.task.name);
  return rows;
}

LearnFigures measure_learning(const ModelWeights& start, const LearnParams& learn, Collectives& collectives,
                              const std::vector<Row>& rows, int64_t repetitions) {
  LearnFigures figures;
  figures.rows = static_cast<int64_t>(rows.size());
  for (const Row& row : rows) figures.row_tokens += static_cast<int64_t>(row.tokens.size());
  figures.packed = measure(start, learn, Packing::kTree, collectives, rows, repetitions);
  figures.unpacked = measure(start, learn, Packing::kNone, collectives, rows, repetitions);
  return figures;
}

StepFigures measure_step(const ModelWeights& start, const LearnParams& learn, Collectives& collectives, Engine& engine,
                         const StepShape& shape, int64_t repetitions) {
  reset_peak_memory();
  Trainer trainer(start, learn, collectives, repetitions + 1);
  engine.set_weights(start, 0);
  RandomStream random = stream("step");
  std::vector<double> whole;
  std::vector<double> generation;
  std::vector<double> learning;
  std::vector<double> cpu;
  for (int64_t i = 0; i <= repetitions; ++i) {
    const Stopwatch watch;
    const double cpu_before = cpu_seconds();
    const std::vector<Row> rows = generate_rows(engine, shape, random, static_cast<uint64_t>(i));
    const double generated = watch.seconds();
    trainer.train({rows}, {});
    const double learned = watch.seconds();
    engine.set_weights(trainer.weights(), i + 1);
    if (i == 0) continue;
    whole.push_back(watch.seconds());
    cpu.push_back(cpu_seconds() - cpu_before);
    generation.push_back(generated);
    learning.push_back(learned - generated);
  }
  return {.seconds = median(whole),
          .cpu_seconds = median(cpu),
          .generation = median(generation),
          .learning = median(learning),
          .peak_bytes = peak_memory()};
}

}  // namespace deepsearch
