// bench_engine_cuda: the CUDA backend alone, on a model of Qwen2-1.5B's shape with random weights in bf16: time of
// decode steps by batch and by what is switched on, of prompts, of siblings that share a prefix; our product for few
// rows beside cuBLASLt's. For jobs/gpu_check.sh. `--emulated` runs the same on a tiny shape in the emulation, to test
// the program.
#include <chrono>
#include <cstdio>
#include <cstring>
#include <functional>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "core/error.h"
#include "engine/cuda/cuda_backend.h"
#include "engine/cuda/device_fixture.h"
#include "engine/cuda/device_weights.h"
#include "engine/cuda/pass_maker.h"
#include "engine/cuda/random_weights.h"

namespace deepsearch::testing {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

struct Bench {
  bool emulated = false;
  ModelConfig config;
  int context = 1024;
  int steps = 30;

  Where where() const { return emulated ? Where::kEmulation : Where::kGpu; }
  std::unique_ptr<Backend> backend(CudaOptions options, int64_t blocks) const {
    options.dtype = DType::kBF16;
    auto made = cuda::make_backend(make_device(where(), DType::kBF16), config, options);
    made->set_weights(RandomWeights(config));
    made->reserve_blocks(blocks);
    return made;
  }
};

void draw_all(Pass& pass, int first) {
  for (int row = first; row < static_cast<int>(pass.tokens.size()); ++row) {
    pass.draws.push_back({.row = row, .u = 0.5});
  }
}

// `batch` sequences at the end of their context, of which the first `shared` blocks are the same for all.
Pass decode_pass(int batch, int context, int shared) {
  PassMaker maker;
  const auto prefix = maker.table(shared * kKvBlockTokens);
  for (int i = 0; i < batch; ++i) maker.add(maker.table(context + 1, prefix, shared), context, 1);
  draw_all(maker.pass, 0);
  return maker.pass;
}

double time_pass(Backend& backend, const Pass& pass, int steps) {
  std::vector<SampledToken> drawn;
  for (int i = 0; i < 3; ++i) backend.run(pass, drawn);  // set-up, capture, first replay
  const auto start = Clock::now();
  for (int i = 0; i < steps; ++i) backend.run(pass, drawn);
  return seconds_since(start) / steps;
}

void bench_decode(const Bench& bench, const std::string& label, const CudaOptions& options,
                  const std::vector<int>& batches) {
  const int most = batches.back();
  const auto blocks = static_cast<int64_t>(most) * (bench.context / kKvBlockTokens + 1);
  const auto backend = bench.backend(options, blocks);
  const cuda::PaddedShape shape(bench.config);
  const double layer = static_cast<double>(shape.hidden * (shape.qkv + shape.attention + 3 * shape.intermediate));
  const double weights =
      2 * (layer * static_cast<double>(bench.config.n_layers) + static_cast<double>(shape.vocab * shape.hidden));
  for (const int batch : batches) {
    const double time = time_pass(*backend, decode_pass(batch, bench.context, 0), bench.steps);
    const double kv = static_cast<double>(backend->block_bytes()) * batch * bench.context / kKvBlockTokens;
    fmt::print("decode {:<24} batch {:>4}: {:8.3f} ms a step, {:8.0f} tokens/s, {:6.0f} GB/s of weights and KV\n",
               label, batch, 1e3 * time, batch / time, (weights + kv) / time / 1e9);
    std::fflush(stdout);
  }
}

void bench_prompts(const Bench& bench, bool deterministic) {
  const auto backend = bench.backend({.deterministic = deterministic, .max_rows = 2L * bench.context},
                                     4 * (bench.context / kKvBlockTokens) + 8);
  for (const int length : {bench.context / 4, 2 * bench.context}) {
    PassMaker maker;
    maker.add(maker.table(length), 0, length);
    draw_all(maker.pass, length - 1);
    const double time = time_pass(*backend, maker.pass, 3);
    fmt::print("prompt {:<24} of {:>5} tokens: {:8.2f} ms, {:8.0f} tokens/s\n", deterministic ? "deterministic" : "",
               length, 1e3 * time, length / time);
  }
}

void bench_sharing(const Bench& bench, int batch) {
  const int whole = bench.context / kKvBlockTokens;
  const auto backend = bench.backend({}, static_cast<int64_t>(batch) * (whole + 1));
  for (const int shared : {0, whole / 2, whole}) {
    const double time = time_pass(*backend, decode_pass(batch, bench.context, shared), bench.steps);
    fmt::print("siblings {:>4}, {:>4} of {} positions shared: {:8.3f} ms a step\n", batch, shared * kKvBlockTokens,
               bench.context, 1e3 * time);
  }
}

double time_launches(cuda::Device& device, int n, const std::function<void(int)>& launch) {
  for (int i = 0; i < 3; ++i) launch(i);
  device.synchronize();
  const auto start = Clock::now();
  for (int i = 0; i < n; ++i) launch(i);
  device.synchronize();
  return seconds_since(start) / n;
}

// The four products of a layer; launches take turns over several copies, so that the weights come from memory.
void bench_products(const Bench& bench) {
  const auto device = make_device(bench.where(), DType::kBF16);
  const cuda::PaddedShape shape(bench.config);
  const std::vector<std::pair<int64_t, int64_t>> sizes = {{shape.qkv, shape.hidden},
                                                          {shape.hidden, shape.attention},
                                                          {2 * shape.intermediate, shape.hidden},
                                                          {shape.hidden, shape.intermediate}};
  const int64_t pool_bytes = bench.emulated ? int64_t{1} << 20 : int64_t{1} << 30;
  const cuda::DeviceArray weights(*device, pool_bytes, "weights", "nothing");
  const cuda::DeviceArray x(*device, 64 * 2 * shape.intermediate * 4, "x", "nothing");
  const cuda::DeviceArray out(*device, 64 * 2 * shape.intermediate * 4, "out", "nothing");
  for (const auto& [n, k] : sizes) {
    const int copies = static_cast<int>(pool_bytes / (2 * n * k));
    const auto copy = [&, n = n, k = k](int i) { return weights.as<std::byte>() + (i % copies) * 2 * n * k; };
    for (const int rows : {1, 4, 8, 16, 32, 64}) {
      const int launches = bench.emulated ? 1 : 200;
      const double own = time_launches(*device, launches, [&, n = n, k = k](int i) {
        device->kernels().rows_gemm({.x = x.data(),
                                     .weights = copy(i),
                                     .out = out.data(),
                                     .rows = rows,
                                     .n = static_cast<int>(n),
                                     .k = static_cast<int>(k),
                                     .stride = static_cast<int>(n)});
      });
      const double library = time_launches(*device, launches, [&, n = n, k = k](int i) {
        device->gemm({.x = x.data(), .weights = copy(i), .out = out.data(), .rows = rows, .n = n, .k = k, .stride = n});
      });
      const double bytes = 2.0 * static_cast<double>(n * k);
      fmt::print("product {:>6}×{:<5} rows {:>3}: own {:7.2f} µs {:5.0f} GB/s, cuBLASLt {:7.2f} µs {:5.0f} GB/s\n", n,
                 k, rows, 1e6 * own, bytes / own / 1e9, 1e6 * library, bytes / library / 1e9);
    }
  }
}

ModelConfig qwen2_1_5b() {
  ModelConfig c;
  c.family = ModelFamily::kQwen2;
  c.vocab_size = 151936;
  c.hidden_size = 1536;
  c.n_layers = 28;
  c.n_heads = 12;
  c.n_kv_heads = 2;
  c.head_dim = 128;
  c.intermediate_size = 8960;
  c.max_positions = 4096;
  c.rope_theta = 1e6;
  c.qkv_bias = true;
  c.tie_embeddings = true;
  return c;
}

int run(bool emulated) {
  Bench bench{.emulated = emulated, .config = qwen2_1_5b()};
  std::vector<int> batches = {1, 8, 32, 64, 256};
  if (emulated) {
    ModelConfig& c = bench.config;
    c.vocab_size = 64;
    c.hidden_size = 64;
    c.n_layers = 1;
    c.n_heads = 2;
    c.n_kv_heads = 1;
    c.head_dim = 32;
    c.intermediate_size = 64;
    bench.context = 64;
    bench.steps = 1;
    batches = {1, 3};
  } else if (!cuda_available()) {
    bad_input("no GPU that the CUDA engine can use");
  }
  bench_decode(bench, "", {}, batches);
  bench_decode(bench, "without overlap", {.overlap = false}, {1, 8});
  bench_decode(bench, "without graphs", {.graphs = false}, {1, 8});
  bench_decode(bench, "deterministic", {.deterministic = true}, batches);
  bench_prompts(bench, false);
  bench_prompts(bench, true);
  bench_sharing(bench, batches.back());
  bench_products(bench);
  return 0;
}

}  // namespace
}  // namespace deepsearch::testing

int main(int argc, char** argv) {
  try {
    return deepsearch::testing::run(argc > 1 && std::strcmp(argv[1], "--emulated") == 0);
  } catch (const deepsearch::Error& error) {
    std::cerr << "error: " << error.what() << "\n";
    return error.exit_code();
  }
}
