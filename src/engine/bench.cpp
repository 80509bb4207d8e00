#include "engine/bench.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/rng.h"
#include "core/timer.h"
#include "engine/cuda/cuda_backend.h"
#include "engine/native/packed_model.h"
#include "engine/native/roofline.h"
#include "engine/pass.h"

namespace deepsearch {
namespace {

constexpr uint64_t kSeed = 1;

// The weights under a config without end-of-sequence tokens, so that every sequence has the length asked for.
class Endless : public WeightSource {
 public:
  explicit Endless(const WeightSource& source) : source_(source), config_(source.model_config()) {
    config_.eos_tokens.clear();
  }
  const ModelConfig& model_config() const override { return config_; }
  size_t tensor_count() const override { return source_.tensor_count(); }
  TensorView view(size_t index) const override { return source_.view(index); }
  void release(size_t index) const override { source_.release(index); }

 private:
  const WeightSource& source_;
  ModelConfig config_;
};

std::unique_ptr<Engine> make_bench_engine(const BenchSubject& subject, int64_t batch) {
  EngineParams params = subject.params;
  params.max_batch = batch;
  params.stop.clear();
  const Endless weights(*subject.weights);
  std::unique_ptr<Engine> engine = make_engine(params, weights.model_config(), kSeed, 0);
  engine->set_weights(weights, 1);
  return engine;
}

ExpansionRequest bench_request(const ModelConfig& config, uint64_t tree, int64_t context, int64_t children,
                               int64_t new_tokens, uint64_t prompt) {
  RandomStream random(kSeed, RngPurpose::kTests, prompt);
  ExpansionRequest request;
  request.tree = tree;
  for (int64_t i = 0; i < context; ++i) {
    request.prefix.push_back(static_cast<Token>(random.below(static_cast<uint64_t>(config.vocab_size))));
  }
  request.path = {{.node = 0, .n_tokens = static_cast<int32_t>(context)}};
  request.first_child = 1;
  request.n_children = static_cast<int32_t>(children);
  request.max_tokens = static_cast<int32_t>(new_tokens);
  request.sampling_key = tree;
  return request;
}

void check_fits(const ModelConfig& config, int64_t tokens) {
  if (tokens > config.max_positions) {
    bad_input("bench: {} tokens of context and continuation exceed the model's {}", tokens, config.max_positions);
  }
}

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

double bytes_per_weight(const std::string& storage, bool gpu) {
  if (storage == "int8") return 1.0;
  return storage == "bf16" || storage == "fp16" || (gpu && storage == "auto") ? 2.0 : 4.0;
}

double roofline_tokens_per_second(const BenchSubject& subject, const Roofline& roofline, int64_t batch,
                                  int64_t context) {
  if (roofline.bandwidth_gbs <= 0) return 0;
  const ModelConfig& config = subject.weights->model_config();
  const auto b = static_cast<double>(batch);
  const double weight = bytes_per_weight(subject.params.weights, roofline.gpu);
  const double kv_value = roofline.gpu ? weight : 4.0;
  // A decoded token multiplies by every matrix; of the embedding it reads one row.
  const double matrices = native::flops_per_token(config, 0) / 2;
  const double kv = kv_value * static_cast<double>(2 * config.n_layers * config.n_kv_heads * config.head_dim);
  const double bytes = matrices * weight + b * kv * static_cast<double>(context);
  const double compute =
      roofline.peak_gflops > 0 ? b * native::flops_per_token(config, context) / (roofline.peak_gflops * 1e9) : 0.0;
  return b / std::max(compute, bytes / (roofline.bandwidth_gbs * 1e9));
}

struct DecodeTimes {
  double whole = 0;
  double decode = 0;  // of the polls in which the whole batch decoded
  double cpu = 0;
  int64_t decoded = 0;
};

DecodeTimes decode_once(Engine& engine, int64_t batch, int64_t context, int64_t new_tokens) {
  const ModelConfig& config = engine.model_config();
  std::vector<Expansion> finished;
  DecodeTimes times;
  const Stopwatch whole;
  for (int64_t i = 0; i < batch; ++i) {
    const auto tree = static_cast<uint64_t>(i);
    engine.submit(bench_request(config, tree, context, 1, new_tokens, tree));
  }
  bool prompts_done = false;
  while (engine.in_flight() > 0) {
    const int64_t before = engine.counters().tokens_generated;
    const int64_t prefilled = engine.counters().tokens_prefilled;
    const double cpu_before = cpu_seconds();
    const Stopwatch watch;
    engine.poll(finished);
    const bool full = engine.counters().tokens_generated - before == batch;
    const bool pure = engine.counters().tokens_prefilled == prefilled;
    if (full && pure && prompts_done) {
      times.decode += watch.seconds();
      times.cpu += cpu_seconds() - cpu_before;
      times.decoded += batch;
    }
    prompts_done = prompts_done || full;
  }
  times.whole = whole.seconds();
  for (int64_t i = 0; i < batch; ++i) engine.release(static_cast<uint64_t>(i));
  if (times.decoded == 0) {
    bad_input("bench: the first of {} sequences ended before the last had joined; more new tokens than {} are needed",
              batch, new_tokens);
  }
  return times;
}

double expand_seconds(Engine& engine, const std::vector<ExpansionRequest>& requests) {
  std::vector<Expansion> finished;
  const Stopwatch watch;
  for (const ExpansionRequest& request : requests) engine.submit(request);
  while (engine.in_flight() > 0) engine.poll(finished);
  return watch.seconds();
}

}  // namespace

std::string describe_engine(const BenchSubject& subject) {
  return make_engine(subject.params, subject.weights->model_config(), kSeed, 0)->description();
}

Roofline measure_roofline(const EngineParams& params) {
  if (params.device != "cpu" && cuda_available()) return {.bandwidth_gbs = cuda_bandwidth_gbs(), .gpu = true};
  return {.peak_gflops = native::measured_peak_gflops(params.threads),
          .bandwidth_gbs = native::measured_bandwidth_gbs(params.threads)};
}

DecodeResult bench_decode(const BenchSubject& subject, const Roofline& roofline, int64_t batch, int64_t context,
                          int64_t new_tokens, double one_at_a_time) {
  check_fits(subject.weights->model_config(), context + new_tokens);
  const std::unique_ptr<Engine> engine = make_bench_engine(subject, batch);
  decode_once(*engine, batch, context, new_tokens);
  std::vector<double> rates;
  std::vector<double> cpu_rates;
  std::vector<double> whole_rates;
  for (int64_t i = 0; i < subject.repetitions; ++i) {
    const DecodeTimes times = decode_once(*engine, batch, context, new_tokens);
    rates.push_back(static_cast<double>(times.decoded) / times.decode);
    cpu_rates.push_back(static_cast<double>(times.decoded) / times.cpu);
    whole_rates.push_back(static_cast<double>(batch * new_tokens) / times.whole);
  }
  DecodeResult result{.batch = batch};
  result.tokens_per_second = median(rates);
  result.tokens_per_cpu_second = median(cpu_rates);
  result.whole_tokens_per_second = median(whole_rates);
  result.roofline_tokens_per_second = roofline_tokens_per_second(subject, roofline, batch, context + new_tokens / 2);
  if (result.roofline_tokens_per_second > 0) {
    result.share_of_roofline = result.tokens_per_second / result.roofline_tokens_per_second;
  }
  result.against_one_at_a_time = one_at_a_time > 0 ? result.tokens_per_second / one_at_a_time : 1.0;
  result.kv_bytes_peak = engine->counters().kv_bytes_peak;
  return result;
}

PrefillResult bench_prefill(const BenchSubject& subject, const Roofline& roofline, int64_t tokens) {
  const ModelConfig& config = subject.weights->model_config();
  check_fits(config, tokens + 1);
  const std::unique_ptr<Engine> engine = make_bench_engine(subject, 1);
  std::vector<double> seconds;
  for (int64_t i = 0; i <= subject.repetitions; ++i) {
    const auto tree = static_cast<uint64_t>(i);
    const double took = expand_seconds(*engine, {bench_request(config, tree, tokens, 1, 1, tree)});
    if (i > 0) seconds.push_back(took);
    engine->release(tree);
  }
  // The same tokens one after the other: a decode of as many, from a prompt of one.
  const double one_by_one = expand_seconds(*engine, {bench_request(config, 0, 1, 1, tokens, 0)});
  PrefillResult result{.tokens = tokens};
  const double took = median(seconds);
  result.tokens_per_second = static_cast<double>(tokens) / took;
  if (roofline.peak_gflops > 0) {
    // Only the last token's logits are computed.
    const double head = 2.0 * static_cast<double>(config.hidden_size * config.vocab_size);
    const double flops = static_cast<double>(tokens) * (native::flops_per_token(config, tokens / 2) - head);
    result.share_of_peak = flops / took / (roofline.peak_gflops * 1e9);
  }
  result.against_token_by_token = one_by_one / took;
  return result;
}

PrefixResult bench_prefix(const BenchSubject& subject, int64_t prefix, int64_t children, int64_t new_tokens) {
  const ModelConfig& config = subject.weights->model_config();
  check_fits(config, prefix + new_tokens);
  const std::unique_ptr<Engine> engine = make_bench_engine(subject, children);
  std::vector<double> shared;
  std::vector<double> separate;
  PrefixResult result{.children = children};
  for (int64_t i = 0; i <= subject.repetitions; ++i) {
    const double together = expand_seconds(*engine, {bench_request(config, 0, prefix, children, new_tokens, 0)});
    const auto slots = static_cast<double>(engine->kv_blocks_used() * kKvBlockTokens);
    const auto filled = static_cast<double>(prefix + children * (new_tokens - 1));  // the last ones are not fed
    result.kv_wasted = 1.0 - std::min(1.0, filled / slots);
    engine->release(0);
    std::vector<ExpansionRequest> requests;
    for (int64_t c = 0; c < children; ++c) {
      requests.push_back(bench_request(config, static_cast<uint64_t>(c), prefix, 1, new_tokens, 0));
    }
    const double apart = expand_seconds(*engine, requests);
    for (int64_t c = 0; c < children; ++c) engine->release(static_cast<uint64_t>(c));
    if (i == 0) continue;
    shared.push_back(together);
    separate.push_back(apart);
  }
  result.shared_seconds = median(shared);
  result.separate_seconds = median(separate);
  result.ratio = result.separate_seconds / result.shared_seconds;
  return result;
}

}  // namespace deepsearch
