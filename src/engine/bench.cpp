#include "engine/bench.h"

#include <algorithm>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "core/error.h"
#include "core/rng.h"
#include "core/timer.h"
#include "engine/native/packed_model.h"
#include "engine/native/roofline.h"

namespace deepsearch {
namespace {

ExpansionRequest bench_request(const ModelConfig& config, const EngineBenchParams& bench, uint64_t tree) {
  RandomStream random(bench.seed, RngPurpose::kTests, tree);
  ExpansionRequest request;
  request.tree = tree;
  for (int64_t i = 0; i < bench.context; ++i) {
    request.prefix.push_back(static_cast<Token>(random.below(static_cast<uint64_t>(config.vocab_size))));
  }
  request.path = {{.node = 0, .n_tokens = static_cast<int32_t>(bench.context)}};
  request.first_child = 1;
  request.n_children = static_cast<int32_t>(bench.children);
  request.max_tokens = static_cast<int32_t>(bench.new_tokens);
  request.sampling_key = tree;
  return request;
}

struct Times {
  double prefill = 0;   // seconds until every sequence has a token
  double decode = 0;    // seconds of the polls after that in which the whole batch ran
  double cpu = 0;       // processor seconds of those
  int64_t decoded = 0;  // tokens sampled in those
};

// All sequences have the same length. Prompts join over several polls, so the batch is full in the middle
// only.
Times run_once(Engine& engine, const ModelConfig& config, const EngineBenchParams& bench) {
  std::vector<Expansion> finished;
  const int64_t trees = bench.batch / bench.children;
  for (int64_t i = 0; i < trees; ++i) engine.submit(bench_request(config, bench, static_cast<uint64_t>(i)));
  Times times;
  bool prompts_done = false;
  while (engine.in_flight() > 0) {
    const int64_t before = engine.counters().tokens_generated;
    const double cpu_before = cpu_seconds();
    const Stopwatch watch;
    engine.poll(finished);
    const double seconds = watch.seconds();
    const bool full = engine.counters().tokens_generated - before == bench.batch;
    if (!prompts_done) {
      times.prefill += seconds;
      prompts_done = full;
    } else if (full) {
      times.decode += seconds;
      times.cpu += cpu_seconds() - cpu_before;
      times.decoded += bench.batch;
    }
  }
  for (int64_t i = 0; i < trees; ++i) engine.release(static_cast<uint64_t>(i));
  if (times.decoded == 0) {
    bad_input("bench: the first of {} sequences ended before the last had joined; more new tokens than {} are needed",
              bench.batch, bench.new_tokens);
  }
  return times;
}

}  // namespace

EngineBenchResult bench_engine(const EngineParams& params, const ModelConfig& config, const EngineBenchParams& bench) {
  if (bench.batch < 1 || bench.context < 1 || bench.new_tokens < 2 || bench.repetitions < 1) {
    bad_input("bench: batch, context and repetitions must be at least 1, new tokens at least 2");
  }
  if (bench.children < 1 || bench.batch % bench.children != 0) {
    bad_input("bench: {} children a prompt do not divide a batch of {}", bench.children, bench.batch);
  }
  if (bench.context + bench.new_tokens > config.max_positions) {
    bad_input("bench: context {} and {} new tokens exceed max_positions {}", bench.context, bench.new_tokens,
              config.max_positions);
  }
  EngineParams used = params;
  used.max_batch = bench.batch;
  ModelConfig endless = config;
  endless.eos_tokens.clear();
  const std::unique_ptr<Engine> engine = make_engine(used, endless, bench.seed, 0);
  engine->set_weights(fresh_weights(endless, bench.seed), 1);

  run_once(*engine, endless, bench);
  double prefill_seconds = 1e30;
  double token_seconds = 1e30;
  double token_cpu_seconds = 1e30;
  for (int64_t i = 0; i < bench.repetitions; ++i) {
    const Times times = run_once(*engine, endless, bench);
    prefill_seconds = std::min(prefill_seconds, times.prefill);
    token_seconds = std::min(token_seconds, times.decode / static_cast<double>(times.decoded));
    token_cpu_seconds = std::min(token_cpu_seconds, times.cpu / static_cast<double>(times.decoded));
  }
  EngineBenchResult result;
  result.engine = engine->description();
  result.tokens_per_second = 1.0 / token_seconds;
  result.tokens_per_cpu_second = 1.0 / token_cpu_seconds;
  const int64_t prompts = bench.batch / bench.children;
  result.prefill_tokens_per_second = static_cast<double>(prompts * bench.context) / prefill_seconds;
  result.flops_per_token = native::flops_per_token(endless, bench.context + bench.new_tokens / 2);
  result.achieved_gflops = result.tokens_per_second * result.flops_per_token / 1e9;
  result.kv_bytes_peak = engine->counters().kv_bytes_peak;
  if (result.engine.find("cuda") == std::string::npos) {
    result.peak_gflops = native::measured_peak_gflops(params.threads);
    result.share_of_peak = result.achieved_gflops / result.peak_gflops;
  }
  return result;
}

std::string to_line(const EngineBenchResult& result) {
  std::string line = fmt::format(
      "{}: {:.0f} tokens/s decoded ({:.0f} per processor second), {:.0f} tokens/s prefilled, {:.3f} MFLOP a token, "
      "{:.1f} GFLOP/s",
      result.engine, result.tokens_per_second, result.tokens_per_cpu_second, result.prefill_tokens_per_second,
      result.flops_per_token / 1e6, result.achieved_gflops);
  if (result.peak_gflops > 0) {
    line += fmt::format(" of {:.1f} measured peak ({:.0f} %)", result.peak_gflops, 100 * result.share_of_peak);
  }
  return line + fmt::format(", KV {:.1f} MB", static_cast<double>(result.kv_bytes_peak) / 1e6);
}

}  // namespace deepsearch
