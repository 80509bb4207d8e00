// What a plan assumes of the machine: sizes, speeds, and the shares of them that programs like this one reach.
#pragma once

#include <string>
#include <vector>

#include "core/config_visitor.h"
#include "learn/params.h"

namespace deepsearch {

struct Hardware {
  std::string name;  // what it was made from
  bool gpu = true;
  double memory_gb = 0;          // of a device: a GPU, or a host's memory (1 GB: 10⁹ bytes)
  double reserved_gb = 0;        // of it, for driver, libraries and the allocator's gaps
  double bf16_tflops = 0;        // dense matrix products
  double fp32_tflops = 0;        // plain fp32 units: TF32 is not used
  double bandwidth_gbs = 0;      // of the device's memory
  double link_gbs = 0;           // between learners, one direction, each
  double host_link_gbs = 0;      // between hosts' memories by MPI, which weights travel
  double learn_share = 0.4;      // of the peak that training's products reach
  double generate_share = 0.5;   // of the peak that generation's products reach
  double bandwidth_share = 0.7;  // of the bandwidth that decoding reaches
  double pass_overhead_us = 0;   // of a decode pass, beside the above: scheduling, launches

  double tflops(Compute compute) const { return compute == Compute::kBf16 ? bf16_tflops : fp32_tflops; }
  void describe(ConfigVisitor& v);
};

// "h100", "h200", "a100" by their data sheets, or "cpu": this machine, its peak and bandwidth measured now on all its
// cores (about 0.3 s). A name that ends in .toml is a file with [hardware], whose `like` may name one of these to start
// from. `overrides`: "bandwidth_gbs=2000", as the file's keys. bad_input for anything else.
Hardware read_hardware(const std::string& name, const std::vector<std::string>& overrides);

}  // namespace deepsearch
