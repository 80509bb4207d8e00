#include "measure/hardware.h"

#include <algorithm>
#include <thread>

#include "core/config.h"
#include "core/error.h"
#include "core/memory.h"
#include "engine/native/roofline.h"

namespace deepsearch {

namespace {

// Data sheets (SXM variants); link: NDR or HDR InfiniBand, one port a GPU.
Hardware h100() {
  return {.name = "h100",
          .memory_gb = 80,
          .reserved_gb = 3,
          .bf16_tflops = 989,
          .fp32_tflops = 67,
          .bandwidth_gbs = 3350,
          .link_gbs = 50,
          .host_link_gbs = 20,
          .pass_overhead_us = 300};
}

Hardware h200() {
  Hardware hardware = h100();
  hardware.name = "h200";
  hardware.memory_gb = 141;
  hardware.bandwidth_gbs = 4800;
  return hardware;
}

Hardware a100() {
  return {.name = "a100",
          .memory_gb = 80,
          .reserved_gb = 3,
          .bf16_tflops = 312,
          .fp32_tflops = 19.5,
          .bandwidth_gbs = 2039,
          .link_gbs = 25,
          .host_link_gbs = 12,
          .pass_overhead_us = 300};
}

Hardware this_machine() {
  const auto threads = static_cast<int64_t>(std::max(1U, std::thread::hardware_concurrency()));
  const double peak = native::measured_peak_gflops(threads) / 1e3;
  return {.name = fmt::format("this machine's {} cores", threads),
          .gpu = false,
          .memory_gb = static_cast<double>(available_memory()) / 1e9,
          .reserved_gb = 0,
          .bf16_tflops = peak,
          .fp32_tflops = peak,
          .bandwidth_gbs = native::measured_bandwidth_gbs(threads),
          .link_gbs = 3,
          .host_link_gbs = 3,
          .learn_share = 0.35,
          .generate_share = 0.5,
          .bandwidth_share = 0.7,
          .pass_overhead_us = 50};
}

Hardware preset(const std::string& name) {
  if (name == "h100") return h100();
  if (name == "h200") return h200();
  if (name == "a100") return a100();
  if (name == "cpu") return this_machine();
  bad_input("--hardware {}: there are h100, h200, a100, cpu (this machine), or a FILE.toml with [hardware]", name);
}

void load(const std::string& path, const std::vector<std::string>& overrides, std::string& like, Hardware& hardware) {
  load_config(
      path, overrides,
      [&](ConfigVisitor& v) {
        v.table({.key = "hardware", .meaning = "what a plan assumes of the machine"}, [&](ConfigVisitor& t) {
          t.field({.key = "like", .unit = "", .meaning = "start from h100, h200, a100 or cpu; empty: from nothing"},
                  like);
          hardware.describe(t);
        });
      },
      "--hardware-set");
}

}  // namespace

void Hardware::describe(ConfigVisitor& v) {
  const auto number = [&v](const char* key, const char* unit, const char* meaning, double& value, double most) {
    v.field({.key = key, .unit = unit, .meaning = meaning, .min = 0, .max = most}, value);
  };
  v.field({.key = "gpu", .unit = "", .meaning = "devices are GPUs; false: hosts that compute on their cores"}, gpu);
  number("memory_gb", "GB", "a device's memory", memory_gb, 1e6);
  number("reserved_gb", "GB", "of it, for driver, libraries and the allocator's gaps", reserved_gb, 1e6);
  number("bf16_tflops", "TFLOP/s", "a device's peak in bf16 products", bf16_tflops, 1e9);
  number("fp32_tflops", "TFLOP/s", "a device's peak in fp32 products", fp32_tflops, 1e9);
  number("bandwidth_gbs", "GB/s", "a device's memory bandwidth", bandwidth_gbs, 1e9);
  number("link_gbs", "GB/s", "between learners, one direction, each", link_gbs, 1e9);
  number("host_link_gbs", "GB/s", "between hosts' memories by MPI", host_link_gbs, 1e9);
  number("learn_share", "", "share of the peak that training reaches", learn_share, 1);
  number("generate_share", "", "share of the peak that generation's products reach", generate_share, 1);
  number("bandwidth_share", "", "share of the bandwidth that decoding reaches", bandwidth_share, 1);
  number("pass_overhead_us", "µs", "of a decode pass, beside the above", pass_overhead_us, 1e9);
}

Hardware read_hardware(const std::string& name, const std::vector<std::string>& overrides) {
  const bool file = name.ends_with(".toml");
  std::string like;
  Hardware hardware;
  if (file) {
    load(name, {}, like, hardware);
    hardware = like.empty() ? Hardware{.name = name} : preset(like);
  } else {
    hardware = preset(name);
  }
  std::vector<std::string> keys;
  keys.reserve(overrides.size());
  for (const std::string& key : overrides) keys.push_back("hardware." + key);
  load(file ? name : "", keys, like, hardware);
  if (file) hardware.name = name;
  for (const auto& [value, key] : {std::pair{hardware.memory_gb, "memory_gb"},
                                   {hardware.bf16_tflops, "bf16_tflops"},
                                   {hardware.fp32_tflops, "fp32_tflops"},
                                   {hardware.bandwidth_gbs, "bandwidth_gbs"},
                                   {hardware.link_gbs, "link_gbs"},
                                   {hardware.host_link_gbs, "host_link_gbs"},
                                   {hardware.learn_share, "learn_share"},
                                   {hardware.generate_share, "generate_share"},
                                   {hardware.bandwidth_share, "bandwidth_share"}}) {
    if (!(value > 0)) bad_input("--hardware {}: [hardware].{} must be above 0", name, key);
  }
  return hardware;
}

}  // namespace deepsearch
