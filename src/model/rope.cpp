#include "model/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace deepsearch {

namespace {

// theta^(2i/head_dim), what the frequencies are one over.
std::vector<float> powers_of_theta(const ModelConfig& config) {
  std::vector<float> powers;
  for (int64_t i = 0; i < config.head_dim / 2; ++i) {
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(config.head_dim);
    powers.push_back(std::pow(static_cast<float>(config.rope_theta), exponent));
  }
  return powers;
}

// Llama 3: long waves are stretched by the factor, short ones left alone, those between blended. The numbers of the
// config are rounded to fp32 where a tensor meets them, as in PyTorch.
void stretch_as_llama3(const RopeScaling& scaling, std::vector<float>& inverse) {
  const auto old_length = static_cast<double>(scaling.original_max_positions);
  const auto longest = static_cast<float>(old_length / scaling.low_freq_factor);
  const auto shortest = static_cast<float>(old_length / scaling.high_freq_factor);
  const auto factor = static_cast<float>(scaling.factor);
  const auto low = static_cast<float>(scaling.low_freq_factor);
  const auto span = static_cast<float>(scaling.high_freq_factor - scaling.low_freq_factor);
  for (float& frequency : inverse) {
    const float wave = static_cast<float>(2 * std::numbers::pi) / frequency;
    if (wave < shortest) continue;
    if (wave > longest) {
      frequency = frequency / factor;
      continue;
    }
    const float smooth = (static_cast<float>(old_length) / wave - low) / span;
    frequency = (1.0F - smooth) * frequency / factor + smooth * frequency;
  }
}

// YaRN (arXiv 2309.00071): the same idea over dimensions, between those that turn beta_fast and beta_slow times in the
// original context.
std::vector<float> yarn_frequencies(const ModelConfig& config) {
  const RopeScaling& scaling = config.rope_scaling;
  const auto dim = static_cast<double>(config.head_dim);
  const auto dimension_of = [&](double turns) {
    const double length = static_cast<double>(scaling.original_max_positions);
    return dim * std::log(length / (turns * 2 * std::numbers::pi)) / (2 * std::log(config.rope_theta));
  };
  double low = dimension_of(scaling.beta_fast);
  double high = dimension_of(scaling.beta_slow);
  if (scaling.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, dim - 1);
  if (low == high) high += 0.001;  // no division by zero
  std::vector<float> inverse;
  for (const float power : powers_of_theta(config)) {
    const auto at = static_cast<float>(inverse.size());
    const float ramp = std::clamp((at - static_cast<float>(low)) / static_cast<float>(high - low), 0.0F, 1.0F);
    const float kept = 1.0F - ramp;
    const float stretched = 1.0F / (static_cast<float>(scaling.factor) * power);
    inverse.push_back(stretched * (1.0F - kept) + 1.0F / power * kept);
  }
  return inverse;
}

}  // namespace

RopeFrequencies rope_frequencies(const ModelConfig& config) {
  const RopeScaling& scaling = config.rope_scaling;
  RopeFrequencies frequencies;
  if (scaling.kind == RopeScaling::Kind::kYarn) {
    frequencies.inverse = yarn_frequencies(config);
    const double usual = 0.1 * std::log(scaling.factor) + 1.0;
    frequencies.attention_factor = static_cast<float>(scaling.attention_factor > 0 ? scaling.attention_factor : usual);
    return frequencies;
  }
  frequencies.inverse = powers_of_theta(config);
  for (float& value : frequencies.inverse) value = 1.0F / value;
  if (scaling.kind == RopeScaling::Kind::kLinear) {
    for (float& value : frequencies.inverse) value /= static_cast<float>(scaling.factor);
  }
  if (scaling.kind == RopeScaling::Kind::kLlama3) stretch_as_llama3(scaling, frequencies.inverse);
  return frequencies;
}

void RopeFrequencies::row(int64_t position, std::span<float> cosines, std::span<float> sines) const {
  for (size_t i = 0; i < inverse.size(); ++i) {
    const float angle = static_cast<float>(position) * inverse[i];
    cosines[i] = std::cos(angle) * attention_factor;
    sines[i] = std::sin(angle) * attention_factor;
  }
}

RopeTable make_rope_table(const ModelConfig& config, int64_t n_positions) {
  const RopeFrequencies frequencies = rope_frequencies(config);
  const size_t half = frequencies.inverse.size();
  const size_t values = static_cast<size_t>(n_positions) * half;
  RopeTable table{.n_positions = n_positions,
                  .half_dim = static_cast<int64_t>(half),
                  .cosines = std::vector<float>(values),
                  .sines = std::vector<float>(values)};
  for (size_t position = 0; position < static_cast<size_t>(n_positions); ++position) {
    frequencies.row(static_cast<int64_t>(position), std::span(table.cosines).subspan(position * half, half),
                    std::span(table.sines).subspan(position * half, half));
  }
  return table;
}

}  // namespace deepsearch
