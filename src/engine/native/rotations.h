// Cosines and sines of rotary positions, as far as they were asked for: a model's longest context may be a hundred
// times what is used of it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "model/rope.h"

namespace deepsearch::native {

class Rotations {
 public:
  explicit Rotations(const ModelConfig& config)
      : frequencies_(rope_frequencies(config)),
        half_(static_cast<size_t>(config.head_dim / 2)),
        max_positions_(static_cast<size_t>(config.max_positions)) {}

  // Positions 0 … n−1 can be asked for from now on; n is at most the model's max_positions.
  void reach(size_t n) {
    if (n <= n_) return;
    const size_t end = std::min(std::max(n, 2 * n_), max_positions_);
    cosines_.resize(end * half_);
    sines_.resize(end * half_);
    for (; n_ < end; ++n_) {
      frequencies_.row(static_cast<int64_t>(n_), std::span(cosines_).subspan(n_ * half_, half_),
                       std::span(sines_).subspan(n_ * half_, half_));
    }
  }
  // Of one position: [head_dim/2].
  const float* cosines(int64_t position) const { return cosines_.data() + static_cast<size_t>(position) * half_; }
  const float* sines(int64_t position) const { return sines_.data() + static_cast<size_t>(position) * half_; }

 private:
  RopeFrequencies frequencies_;
  size_t half_;
  size_t max_positions_;
  size_t n_ = 0;
  std::vector<float> cosines_;
  std::vector<float> sines_;
};

}  // namespace deepsearch::native
