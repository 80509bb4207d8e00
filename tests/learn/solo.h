// A group of one learner, for tests.
#pragma once

#include <algorithm>

#include "comm/collectives.h"

namespace deepsearch {

class SoloCollectives : public Collectives {
 public:
  std::string description() const override { return "one learner"; }
  int rank() const override { return 0; }
  int size() const override { return 1; }
  bool on_device() const override { return false; }
  void all_reduce_sum(std::span<float>) override {}
  void broadcast(std::span<float>, int) override {}
  void reduce_scatter_sum(std::span<const float> values, std::span<float> part) override {
    std::copy(values.begin(), values.end(), part.begin());
  }
  void all_gather(std::span<const float> part, std::span<float> values) override {
    std::copy(part.begin(), part.end(), values.begin());
  }
  double all_reduce_sum(double value) override { return value; }
  double all_reduce_max(double value) override { return value; }
};

}  // namespace deepsearch
