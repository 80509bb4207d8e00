#include "model/rope.h"

#include <cmath>
#include <numbers>

#include "model_fixtures.h"

namespace deepsearch {
namespace {

ModelConfig rope_config(const RopeScaling& scaling) {
  ModelConfig config = small_model_config();
  config.head_dim = 64;
  config.rope_theta = 10000.0;
  config.max_positions = 4096;
  config.rope_scaling = scaling;
  return config;
}

double plain_frequency(const ModelConfig& config, size_t i) {
  return std::pow(config.rope_theta, -2.0 * static_cast<double>(i) / static_cast<double>(config.head_dim));
}

TEST(Rope, PlainFrequenciesAreThePowersOfTheta) {
  const ModelConfig config = rope_config({});
  const RopeFrequencies frequencies = rope_frequencies(config);
  ASSERT_EQ(frequencies.inverse.size(), 32U);
  EXPECT_EQ(frequencies.attention_factor, 1.0F);
  for (size_t i = 0; i < 32; ++i) {
    EXPECT_NEAR(frequencies.inverse[i] / plain_frequency(config, i), 1.0, 3e-7) << i;  // a few roundings of fp32
  }
}

TEST(Rope, LinearScalingDividesByTheFactor) {
  const std::vector<float> plain = rope_frequencies(rope_config({})).inverse;
  const RopeFrequencies scaled = rope_frequencies(rope_config({.kind = RopeScaling::Kind::kLinear, .factor = 8.0}));
  for (size_t i = 0; i < plain.size(); ++i) EXPECT_EQ(scaled.inverse[i], plain[i] / 8.0F);
  EXPECT_EQ(scaled.attention_factor, 1.0F);
}

TEST(Rope, Llama3StretchesLongWavesOnly) {
  const std::vector<float> plain = rope_frequencies(rope_config({})).inverse;
  const RopeFrequencies scaled = rope_frequencies(rope_config({.kind = RopeScaling::Kind::kLlama3,
                                                               .factor = 8.0,
                                                               .original_max_positions = 1024,
                                                               .low_freq_factor = 1.0,
                                                               .high_freq_factor = 4.0}));
  int kept = 0;
  int blended = 0;
  int stretched = 0;
  for (size_t i = 0; i < plain.size(); ++i) {
    const double wave = 2 * std::numbers::pi / plain[i];
    if (wave < 256) {
      EXPECT_EQ(scaled.inverse[i], plain[i]);
      ++kept;
    } else if (wave > 1024) {
      EXPECT_EQ(scaled.inverse[i], plain[i] / 8.0F);
      ++stretched;
    } else {
      EXPECT_LT(scaled.inverse[i], plain[i]);
      EXPECT_GT(scaled.inverse[i], plain[i] / 8.0F);
      ++blended;
    }
  }
  EXPECT_GT(kept, 5);
  EXPECT_GT(blended, 2);
  EXPECT_GT(stretched, 5);
}

TEST(Rope, YarnKeepsFastTurnsStretchesSlowOnesAndScalesTheAttention) {
  RopeScaling scaling{.kind = RopeScaling::Kind::kYarn, .factor = 4.0, .original_max_positions = 1024};
  const ModelConfig config = rope_config(scaling);
  const std::vector<float> plain = rope_frequencies(rope_config({})).inverse;
  const RopeFrequencies scaled = rope_frequencies(config);
  EXPECT_NEAR(scaled.attention_factor, 0.1 * std::log(4.0) + 1.0, 1e-7);
  for (size_t i = 0; i < plain.size(); ++i) {
    const double turns = 1024 * plain[i] / (2 * std::numbers::pi);  // in the original context
    const float ratio = scaled.inverse[i] / plain[i];
    if (turns > 40) {
      EXPECT_NEAR(ratio, 1.0, 1e-6) << i;
    } else if (turns < 0.7) {
      EXPECT_NEAR(ratio, 0.25, 1e-6) << i;
    }
    EXPECT_LE(scaled.inverse[i], plain[i] * 1.000001F);
    EXPECT_GE(scaled.inverse[i], plain[i] * 0.249999F);
  }
  scaling.attention_factor = 1.5;
  EXPECT_EQ(rope_frequencies(rope_config(scaling)).attention_factor, 1.5F);
  scaling.truncate = false;
  EXPECT_NE(rope_frequencies(rope_config(scaling)).inverse, scaled.inverse);
  // Ranges of no width divide nothing by zero.
  scaling.beta_fast = scaling.beta_slow = 1e6;
  for (const float value : rope_frequencies(rope_config(scaling)).inverse) EXPECT_TRUE(std::isfinite(value));
}

TEST(Rope, TheTableIsItsRows) {
  for (const auto& [name, scaling] : rope_scalings()) {
    const ModelConfig config = rope_config(scaling);
    const RopeFrequencies frequencies = rope_frequencies(config);
    const RopeTable table = make_rope_table(config, 50);
    ASSERT_EQ(table.cosines.size(), 50U * 32U);
    std::vector<float> cosines(32);
    std::vector<float> sines(32);
    for (const int64_t position : {0, 1, 49}) {
      frequencies.row(position, cosines, sines);
      for (size_t i = 0; i < 32; ++i) {
        const auto at = static_cast<size_t>(position) * 32 + i;
        EXPECT_EQ(table.cosines[at], cosines[i]);
        EXPECT_EQ(table.sines[at], sines[i]);
        EXPECT_NEAR(std::hypot(cosines[i], sines[i]), frequencies.attention_factor, 1e-6);
        const double angle = static_cast<double>(position) * frequencies.inverse[i];
        EXPECT_NEAR(cosines[i], std::cos(angle) * frequencies.attention_factor, 5e-6);
      }
    }
  }
}

}  // namespace
}  // namespace deepsearch
