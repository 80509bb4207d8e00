#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "core/error.h"
#include "core/rng.h"
#include "core/timer.h"
#include "engine/bench.h"
#include "engine/native/roofline.h"
#include "engine/sampler.h"

namespace deepsearch {
namespace {

constexpr int64_t kRows = 64;

// The same by the book: double precision, a sort for top-p.
SampledToken plain_draw(const float* logits, size_t n, const Draw& draw) {
  std::vector<double> p(n);
  const double largest = *std::max_element(logits, logits + n);
  double z = 0;
  for (size_t i = 0; i < n; ++i) z += p[i] = std::exp((logits[i] - largest) / static_cast<double>(draw.temperature));
  double entropy = 0;
  for (double& value : p) {
    value /= z;
    if (value > 0) entropy -= value * std::log(value);
  }
  std::vector<size_t> order(n);
  std::iota(order.begin(), order.end(), 0);
  if (draw.top_p < 1) std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return p[a] > p[b]; });
  double kept = 0;
  size_t last = 0;
  while (last < n && kept < static_cast<double>(draw.top_p)) kept += p[order[last++]];
  double left = draw.u * kept;
  size_t pick = 0;
  while (pick + 1 < last && left >= p[order[pick]]) left -= p[order[pick++]];
  return {.token = static_cast<Token>(order[pick]),
          .logprob = static_cast<float>(std::log(p[order[pick]])),
          .entropy = static_cast<float>(entropy)};
}

}  // namespace

SamplerResult bench_sampler(int64_t vocab, double top_p) {
  if (vocab < 1 || vocab > (int64_t{1} << 22))
    bad_input("bench: a vocabulary of {}; 1 to 4194304 can be measured", vocab);
  const auto n = static_cast<size_t>(vocab);
  RandomStream random(1, RngPurpose::kTests, 5);
  std::vector<float> logits(n * kRows);
  for (float& value : logits) value = static_cast<float>(4.0 * random.normal());
  std::vector<Draw> draws(kRows);
  for (Draw& draw : draws) {
    draw.temperature = 0.8F;
    draw.top_p = static_cast<float>(top_p);
    draw.u = random.uniform();
  }
  Sampler sampler;
  const auto measure = [&](const auto& body) {
    double best = 1e30;
    for (int repetition = 0; repetition < 5; ++repetition) {
      const Stopwatch watch;
      for (size_t row = 0; row < kRows; ++row) body(logits.data() + row * n, draws[row]);
      best = std::min(best, watch.seconds());
    }
    return static_cast<double>(kRows) / best;
  };
  SamplerResult result{.vocab = vocab};
  result.draws_per_second = measure([&](const float* row, const Draw& draw) {
    SampledToken drawn;
    if (!sampler.draw({row, n}, {&draw, 1}, &drawn)) failure("bench: logits that are not finite");
  });
  int64_t sum = 0;  // so that the plain draws are not optimised away
  result.plain_draws_per_second =
      measure([&](const float* row, const Draw& draw) { sum += plain_draw(row, n, draw).token; });
  if (sum < 0) failure("bench: negative tokens");
  result.gigabytes_per_second = result.draws_per_second * static_cast<double>(vocab) * sizeof(float) / 1e9;
  result.share_of_bandwidth = result.gigabytes_per_second / native::measured_bandwidth_gbs(1);
  return result;
}

}  // namespace deepsearch
