#include "model/rope.h"

#include <cmath>

namespace deepsearch {

RopeTable make_rope_table(const ModelConfig& config) {
  RopeTable table{.n_positions = config.max_positions, .half_dim = config.head_dim / 2, .cosines = {}, .sines = {}};
  table.cosines.reserve(static_cast<size_t>(table.n_positions * table.half_dim));
  table.sines.reserve(table.cosines.capacity());
  std::vector<float> frequencies;
  for (int64_t i = 0; i < table.half_dim; ++i) {
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(config.head_dim);
    frequencies.push_back(1.0F / std::pow(static_cast<float>(config.rope_theta), exponent));
  }
  for (int64_t position = 0; position < table.n_positions; ++position) {
    for (const float frequency : frequencies) {
      const float angle = static_cast<float>(position) * frequency;
      table.cosines.push_back(std::cos(angle));
      table.sines.push_back(std::sin(angle));
    }
  }
  return table;
}

}  // namespace deepsearch
