// From logits to tokens, a block a draw, over a row that is read a fixed number of times: for the maximum, for the
// sums, for the pick; four times more for a top-k or top-p threshold.
//
// Probabilities that are compared or added up to choose a token are whole numbers, units of 2^−40 of the largest: their
// sums are exact in any order, so a draw depends on nothing but its row, its u and its limits, and what one pass
// added up the next one finds again. A token less probable than 2^−40 of the largest is never drawn.
#pragma once

#include "engine/cuda/kernels.h"
#include "engine/cuda/portable.cuh"

namespace deepsearch::DEEPSEARCH_DEVICE {

using Mass = unsigned long long;
constexpr int kBins = 2048;
constexpr int kSampleThreads = 1024;

struct SampleShared {
  Mass bins[kBins];
  Mass totals[kWarp];
  float floats[4][kWarp];
  int ints[kWarp];
  Mass above;  // results of a search, for all threads
  int found;
};

// A number for a float that grows with it.
DS_DEVICE uint32_t order_key(float v) {
  const uint32_t bits = bits_of(v);
  return (bits & 0x80000000U) != 0 ? ~bits : bits | 0x80000000U;
}

// What may be drawn: logits above the key, and those at it up to an index.
struct Kept {
  uint32_t key = 0;  // below that of any finite number
  int last_tie = 0;
};

struct Row {
  const float* logits = nullptr;
  int n = 0;
  float largest = 0;
  float inverse = 1;  // 1/temperature
};

DS_DEVICE Mass mass_of(const Row& row, float logit) {
  return static_cast<Mass>(expf((logit - row.largest) * row.inverse) * 1099511627776.0F);
}

DS_DEVICE bool is_kept(const Kept& kept, float logit, int i) {
  const uint32_t key = order_key(logit);
  return key > kept.key || (key == kept.key && i <= kept.last_tie);
}

// Warp w has the tokens [w·share, (w + 1)·share).
DS_DEVICE int warp_share(int n) {
  const int warps = n_threads() / kWarp;
  return (n + warps - 1) / warps;
}

DS_DEVICE Mass warp_mass(Mass value) {
  for (int mask = kWarp / 2; mask > 0; mask /= 2) value += shuffle_xor(value, mask);
  return value;
}

// Sum of the values of the threads before this one; the total in `total`.
DS_DEVICE Mass sum_before(SampleShared& shared, Mass value, Mass& total) {
  Mass sum = value;
  for (int step = 1; step < kWarp; step *= 2) {
    const Mass other = shuffle(sum, lane_index() >= step ? lane_index() - step : 0);
    if (lane_index() >= step) sum += other;
  }
  block_barrier();
  if (lane_index() == kWarp - 1) shared.totals[warp_index()] = sum;
  block_barrier();
  Mass before = sum - value;
  total = 0;
  for (int w = 0; w < n_threads() / kWarp; ++w) {
    if (w < warp_index()) before += shared.totals[w];
    total += shared.totals[w];
  }
  return before;
}

// The first token at which the running sum of weight(i) exceeds `target`, in every thread; −1 when none does.
template <class Weight>
DS_DEVICE int find_crossing(SampleShared& shared, const Row& row, Mass target, Weight weight) {
  const int share = warp_share(row.n);
  const int end = (warp_index() + 1) * share < row.n ? (warp_index() + 1) * share : row.n;
  Mass mine = 0;
  for (int i = warp_index() * share + lane_index(); i < end; i += kWarp) mine += weight(i);
  mine = warp_mass(mine);
  block_barrier();
  if (lane_index() == 0) shared.totals[warp_index()] = mine;
  if (thread_index() == 0) shared.found = -1;
  block_barrier();
  int part = 0;
  Mass before = 0;
  const int warps = n_threads() / kWarp;
  while (part < warps && before + shared.totals[part] <= target) before += shared.totals[part++];
  if (part == warps) return -1;
  // The same tokens again, now in pieces of consecutive ones, a piece a thread.
  const int piece = (share + n_threads() - 1) / n_threads();
  const int part_end = (part + 1) * share < row.n ? (part + 1) * share : row.n;
  const int first = part * share + thread_index() * piece;
  const int last = first + piece < part_end ? first + piece : part_end;
  mine = 0;
  for (int i = first; i < last; ++i) mine += weight(i);
  Mass total = 0;
  before += sum_before(shared, mine, total);
  if (before <= target && before + mine > target) {
    int i = first;
    while (before + weight(i) <= target) before += weight(i++);
    shared.found = i;
  }
  block_barrier();
  return shared.found;
}

// The bin at which the running sum over the bins reaches `target`; `above` becomes the sum before it.
DS_DEVICE int find_bin(SampleShared& shared, Mass target, Mass& above) {
  const int piece = kBins / n_threads() > 0 ? kBins / n_threads() : 1;
  const int first = thread_index() * piece;
  Mass mine = 0;
  for (int i = first; i < first + piece && i < kBins; ++i) mine += shared.bins[i];
  Mass total = 0;
  Mass before = above + sum_before(shared, mine, total);
  if (before < target && before + mine >= target) {
    int i = first;
    while (before + shared.bins[i] < target) before += shared.bins[i++];
    shared.found = i;
    shared.above = before;
  }
  block_barrier();
  above = shared.above;
  return shared.found;
}

// Of the tokens kept so far, taken by falling logit (equal ones in token order), the fewest whose weights reach
// `target` (at most the sum of all). Radix search: first by distance from the maximum, which spreads the bulk of a
// vocabulary over many bins, then by the bits of the logit.
template <class Weight>
DS_DEVICE Kept keep_top(SampleShared& shared, const Row& row, const Kept& so_far, Mass target, Weight weight) {
  Mass above = 0;
  int distance = 0;
  uint32_t prefix = 0;
  const auto distance_of = [&](float logit) {
    const float d = (row.largest - logit) * row.inverse * 64.0F;
    return d < static_cast<float>(kBins - 1) ? static_cast<int>(d) : kBins - 1;
  };
  for (int level = 0; level < 4; ++level) {
    const int shift = level == 1 ? 21 : (level == 2 ? 10 : 0);
    const int bits = level == 3 ? 10 : 11;
    for (int i = thread_index(); i < kBins; i += n_threads()) shared.bins[i] = 0;
    block_barrier();
    for (int i = thread_index(); i < row.n; i += n_threads()) {
      const float logit = row.logits[i];
      if (!is_kept(so_far, logit, i)) continue;
      const uint32_t key = order_key(logit);
      if (level > 0 && distance_of(logit) != distance) continue;
      if (level > 1 && key >> (shift + bits) != prefix) continue;
      const int bin =
          level == 0 ? distance_of(logit) : (1 << bits) - 1 - static_cast<int>(key >> shift & ((1U << bits) - 1));
      add_atomically(&shared.bins[bin], weight(i));
    }
    block_barrier();
    const int bin = find_bin(shared, target, above);
    if (level == 0) {
      distance = bin;
    } else {
      prefix = prefix << bits | static_cast<uint32_t>((1 << bits) - 1 - bin);
    }
  }
  // Equal logits weigh the same: the target is reached after so many of them.
  const auto tie = [&](int i) {
    return static_cast<Mass>(order_key(row.logits[i]) == prefix && is_kept(so_far, row.logits[i], i) ? 1 : 0);
  };
  Mass one = 0;
  int first = find_crossing(shared, row, 0, tie);
  one = weight(first);
  const Mass needed = (target - above + one - 1) / one;
  return {.key = prefix, .last_tie = needed <= 1 ? first : find_crossing(shared, row, needed - 1, tie)};
}

struct Sums {
  float log_z = 0;
  float entropy = 0;
};

// ln Σ e^z and the entropy of the softmax, z = (logit − largest) · inverse.
DS_DEVICE Sums add_up(SampleShared& shared, const Row& row, float inverse) {
  float z = 0;
  float weighted = 0;
  for (int i = thread_index(); i < row.n; i += n_threads()) {
    const float x = (row.logits[i] - row.largest) * inverse;
    const float e = expf(x);
    z += e;
    weighted += e > 0 ? e * x : 0.0F;
  }
  block_barrier();
  z = block_sum(z, shared.floats[0]);
  weighted = block_sum(weighted, shared.floats[1]);
  const float log_z = logf(z);
  return {.log_z = log_z, .entropy = fmaxf(0.0F, log_z - weighted / z)};
}

// Largest logit and its first index; false when one of them is not finite.
DS_DEVICE bool find_largest(SampleShared& shared, Row& row, int& index) {
  float largest = -INFINITY;
  int at = 0x7fffffff;
  bool finite = true;
  for (int i = thread_index(); i < row.n; i += n_threads()) {
    const float v = row.logits[i];
    finite = finite && (bits_of(v) & 0x7f800000U) != 0x7f800000U;
    if (v > largest) {
      largest = v;
      at = i;
    }
  }
  for (int mask = kWarp / 2; mask > 0; mask /= 2) {
    const float v = shuffle_xor(largest, mask);
    const int i = shuffle_xor(at, mask);
    if (v > largest || (v == largest && i < at)) {
      largest = v;
      at = i;
    }
  }
  const bool bad = warp_any(!finite);
  if (lane_index() == 0) {
    shared.floats[0][warp_index()] = largest;
    shared.floats[1][warp_index()] = bad ? 1.0F : 0.0F;
    shared.ints[warp_index()] = at;
  }
  block_barrier();
  finite = true;
  for (int w = 0; w < n_threads() / kWarp; ++w) {
    const float v = shared.floats[0][w];
    if (w == 0 || v > largest || (v == largest && shared.ints[w] < at)) {
      largest = v;
      at = shared.ints[w];
    }
    finite = finite && shared.floats[1][w] == 0.0F;
  }
  block_barrier();
  row.largest = largest;
  index = at;
  return finite;
}

DS_DEVICE int pick(SampleShared& shared, const Row& row, const cuda::DeviceDraw& draw) {
  const auto mass = [&](int i) { return mass_of(row, row.logits[i]); };
  Kept kept;
  if (draw.top_k > 0 && draw.top_k < row.n) {
    kept = keep_top(shared, row, kept, static_cast<Mass>(draw.top_k), [](int) { return static_cast<Mass>(1); });
  }
  const auto kept_mass = [&](int i) { return is_kept(kept, row.logits[i], i) ? mass(i) : 0; };
  const auto total_mass = [&] {
    Mass mine = 0;
    for (int i = thread_index(); i < row.n; i += n_threads()) mine += kept_mass(i);
    Mass total = 0;
    sum_before(shared, mine, total);
    return total;
  };
  Mass total = total_mass();
  if (draw.top_p < 1) {
    const double share = ceil(static_cast<double>(draw.top_p) * static_cast<double>(total));
    auto target = static_cast<Mass>(share > 1 ? share : 1);
    target = target > total ? total : target;
    kept = keep_top(shared, row, kept, target, mass);
    total = total_mass();
  }
  auto target = static_cast<Mass>(draw.u * static_cast<double>(total));
  return find_crossing(shared, row, target < total ? target : total - 1, kept_mass);
}

// A block a draw.
template <class T>
DS_KERNEL void DS_BOUNDS(kSampleThreads, 1) sample_kernel(cuda::SampleArgs a) {
  DS_SHARED SampleShared shared;
  wait_for_previous();
  const int at = block_index();
  if (at >= *a.n_draws) return;
  const cuda::DeviceDraw draw = a.draws[at];
  const int logit_row = draw.logit_row - a.first_logit_row;
  if (logit_row < 0 || logit_row >= a.logit_rows) return;
  Row row;
  row.logits = a.logits + static_cast<int64_t>(logit_row) * a.stride;
  row.n = a.vocab;
  int first_largest = 0;
  if (!find_largest(shared, row, first_largest)) {
    if (thread_index() == 0) a.drawn[at] = {cuda::kNotFinite, 0, 0, 0, 0};
    return;
  }
  row.inverse = draw.temperature > 0 ? 1.0F / draw.temperature : 1.0F;
  const Sums raw = add_up(shared, row, 1.0F);
  const Sums warm = row.inverse == 1.0F ? raw : add_up(shared, row, row.inverse);
  int token = draw.forced;
  if (token < 0) token = draw.temperature > 0 ? pick(shared, row, draw) : first_largest;
  if (thread_index() == 0) {
    const float z = row.logits[token] - row.largest;
    a.drawn[at] = {token, z * row.inverse - warm.log_z, warm.entropy, z - raw.log_z, raw.entropy};
  }
}

}  // namespace deepsearch::DEEPSEARCH_DEVICE
