#include "learn/flops.h"

#include <algorithm>
#include <array>

#include "comm/gpu.h"
#include "engine/native/roofline.h"

namespace deepsearch {

double layer_flops_per_token(const ModelConfig& config) {
  const auto hidden = static_cast<double>(config.hidden_size);
  const auto head_dim = static_cast<double>(config.head_dim);
  const double query_output = 2 * hidden * static_cast<double>(config.n_heads) * head_dim;
  const double key_value = 2 * hidden * static_cast<double>(config.n_kv_heads) * head_dim;
  const double feed_forward = 3 * hidden * static_cast<double>(config.intermediate_size);
  return 2 * static_cast<double>(config.n_layers) * (query_output + key_value + feed_forward);
}

double flops_per_pair(const ModelConfig& config) {
  return 4 * static_cast<double>(config.n_layers) * static_cast<double>(config.n_heads) *
         static_cast<double>(config.head_dim);
}

double train_flops(const ModelConfig& config, double tokens, double outputs, double pairs) {
  const double head = 2 * static_cast<double>(config.hidden_size) * static_cast<double>(config.vocab_size);
  return 3 * (layer_flops_per_token(config) * tokens + head * outputs + flops_per_pair(config) * pairs);
}

double gpu_peak_flops(const std::string& name, Compute compute) {
  struct Gpu {
    const char* name;
    double bf16, fp32;  // dense tensor cores; plain fp32 units (TF32 is not used)
  };
  // The first that the name contains counts: variants before their family.
  static constexpr std::array<Gpu, 10> kGpus = {{{"H100 PCIe", 756e12, 51e12},
                                                 {"H100", 989e12, 67e12},
                                                 {"H200", 989e12, 67e12},
                                                 {"GH200", 989e12, 67e12},
                                                 {"H800", 989e12, 67e12},
                                                 {"B200", 2250e12, 75e12},
                                                 {"A100", 312e12, 19.5e12},
                                                 {"A800", 312e12, 19.5e12},
                                                 {"L40S", 362e12, 91.6e12},
                                                 {"A10G", 70e12, 31.2e12}}};
  for (const Gpu& gpu : kGpus) {
    if (name.find(gpu.name) != std::string::npos) return compute == Compute::kBf16 ? gpu.bf16 : gpu.fp32;
  }
  return 0;
}

double device_peak_flops(bool on_gpu, Compute compute, int64_t threads) {
  if (on_gpu) return gpu_peak_flops(gpu_name(), compute);
  return 1e9 * native::measured_peak_gflops(std::max<int64_t>(threads, 1));
}

}  // namespace deepsearch
