// The simulated network: each rank has one link out and one link in, which carry one message after the other; between
// them lies a fixed latency. What one rank sends another arrives in order.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "simulate/params.h"

namespace deepsearch {

class Network {
 public:
  Network(const NetworkParams& params, int64_t ranks)
      : latency_(params.latency_seconds),
        seconds_per_byte_(1e-9 / params.bandwidth_gbs),
        out_(static_cast<size_t>(ranks)),
        in_(static_cast<size_t>(ranks)) {}

  // Sent at `now`, it has wholly arrived then. Calls come in order of time, but for the span of one turn of a rank.
  double arrival(int from, int to, int64_t bytes, double now) {
    const double takes = static_cast<double>(bytes) * seconds_per_byte_;
    double& out = out_[static_cast<size_t>(from)];
    double& in = in_[static_cast<size_t>(to)];
    out = std::max(out, now) + takes;
    in = std::max(in + takes, out + latency_);  // cut through: the last byte comes a latency after it left
    return in;
  }

 private:
  const double latency_;
  const double seconds_per_byte_;
  std::vector<double> out_;  // free again from then on
  std::vector<double> in_;
};

}  // namespace deepsearch
