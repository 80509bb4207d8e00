#include "engine/sampler.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>

#include "core/error.h"

namespace deepsearch {
namespace {

using native::kLanes;
using native::kSumChunk;

constexpr size_t kGroup = 64;          // tokens whose largest logit stands for them when top_k's bound is sought
constexpr uint32_t kBucketShift = 18;  // of a float's bits: 32 buckets an octave
constexpr uint32_t kBuckets = 32 * 64;

// Probabilities from 1 (bucket 0) down; those below 2^−64 share the last bucket.
uint32_t bucket_of(float numerator) {
  const uint32_t below = std::bit_cast<uint32_t>(1.0F) - std::bit_cast<uint32_t>(numerator);
  return std::min(below >> kBucketShift, kBuckets - 1);
}

}  // namespace

void Sampler::make_room(size_t n) {
  const size_t chunks = (n + kSumChunk - 1) / kSumChunk;
  const size_t padded = n + kLanes;
  if (raw_.chunks.size() >= chunks && candidates_.size() >= padded) return;
  raw_.chunks.resize(chunks);
  tempered_.chunks.resize(chunks);
  numerators_.resize(std::max<size_t>(padded, kSumChunk));
  candidates_.resize(padded);
  gathered_.resize(padded);
  group_most_.resize((n + kGroup - 1) / kGroup);
  order_.reserve(n);
  bucket_sums_.resize(kBuckets);
  bucket_counts_.resize(kBuckets);
}

bool Sampler::draw(std::span<const float> logits, std::span<const Draw> draws, SampledToken* out) {
  if (logits.empty()) failure("sampler: no logits");
  make_room(logits.size());
  logits_ = logits;
  largest_ = kernels_->largest(logits.data(), static_cast<int64_t>(logits.size()));
  tempered_.scale = 0;
  if (!compute(1.0F, raw_)) return false;
  for (size_t i = 0; i < draws.size(); ++i) {
    const Draw& draw = draws[i];
    const Softmax* softmax = &raw_;
    if (draw.temperature > 0 && draw.temperature != 1.0F) {
      const float scale = 1.0F / draw.temperature;
      if (tempered_.scale != scale && !compute(scale, tempered_)) return false;
      softmax = &tempered_;
    }
    const Token token = draw.forced >= 0 ? draw.forced : pick(*softmax, draw);
    out[i] = {.token = token,
              .logprob = static_cast<float>(logprob(*softmax, token)),
              .entropy = static_cast<float>(softmax->entropy),
              .raw_logprob = static_cast<float>(logprob(raw_, token)),
              .raw_entropy = static_cast<float>(raw_.entropy)};
  }
  return true;
}

// Z = Σ e^y, H = ln Z − Σ e^y·y / Z with y = (l − largest) / temperature.
bool Sampler::compute(float scale, Softmax& softmax) {
  const auto n = static_cast<int64_t>(logits_.size());
  const double weighted = kernels_->exp_sums(logits_.data(), n, largest_, scale, softmax.chunks.data());
  softmax.scale = scale;
  softmax.total = 0;
  for (int64_t c = 0; c * kSumChunk < n; ++c) softmax.total += softmax.chunks[static_cast<size_t>(c)];
  softmax.log_total = std::log(softmax.total);
  softmax.entropy = std::max(0.0, softmax.log_total - weighted / softmax.total);
  // An infinity or a NaN anywhere makes 0 · ∞ or NaN of `weighted`.
  return std::isfinite(weighted) && std::isfinite(softmax.total);
}

double Sampler::logprob(const Softmax& softmax, Token token) const {
  const double y = static_cast<double>(logits_[static_cast<size_t>(token)]) - static_cast<double>(largest_);
  return y * static_cast<double>(softmax.scale) - softmax.log_total;
}

Token Sampler::pick(const Softmax& softmax, const Draw& draw) {
  const auto n = static_cast<int64_t>(logits_.size());
  if (draw.temperature <= 0) return static_cast<Token>(kernels_->find(logits_.data(), n, largest_));
  const bool all = draw.top_p >= 1.0F && (draw.top_k <= 0 || draw.top_k >= n);
  if (all) return pick_any(softmax, draw.u);
  find_candidates(softmax, draw);
  keep_most_probable(softmax, draw);
  return pick_kept(draw.u);
}

// By chunks first, so that only one chunk's numerators are looked at one by one.
Token Sampler::pick_any(const Softmax& softmax, double u) {
  const double target = u * softmax.total;
  const size_t n = logits_.size();
  double before = 0;
  size_t chunk = 0;  // the last possible one, should rounding leave the target at the very end
  for (size_t c = 0; c * kSumChunk < n; ++c) {
    if (softmax.chunks[c] <= 0) continue;
    chunk = c;
    if (before + softmax.chunks[c] > target) break;
    before += softmax.chunks[c];
  }
  const size_t first = chunk * kSumChunk;
  const size_t count = std::min<size_t>(kSumChunk, n - first);
  kernels_->exp_shifted(logits_.data() + first, static_cast<int64_t>(count), largest_, softmax.scale,
                        numerators_.data());
  size_t token = 0;
  double sum = before;
  for (size_t i = 0; i < count; ++i) {
    if (numerators_[i] <= 0) continue;
    token = i;
    sum += static_cast<double>(numerators_[i]);
    if (sum > target) break;
  }
  return static_cast<Token>(first + token);
}

// A logit that at least k tokens reach: the k-th largest of the groups' largest.
float Sampler::top_k_bound(int64_t k) {
  const size_t n = logits_.size();
  const size_t groups = (n + kGroup - 1) / kGroup;
  if (k > static_cast<int64_t>(groups)) return -HUGE_VALF;
  for (size_t g = 0; g < groups; ++g) {
    const size_t count = std::min(kGroup, n - g * kGroup);
    group_most_[g] = kernels_->largest(logits_.data() + g * kGroup, static_cast<int64_t>(count));
  }
  const auto end = group_most_.begin() + static_cast<std::ptrdiff_t>(groups);
  std::nth_element(group_most_.begin(), group_most_.begin() + (k - 1), end, std::greater<>());
  return group_most_[static_cast<size_t>(k - 1)];
}

// Tokens that may be kept: none of the others can be among the top k, or is needed to reach top_p.
void Sampler::find_candidates(const Softmax& softmax, const Draw& draw) {
  const auto n = static_cast<int64_t>(logits_.size());
  float bound = -HUGE_VALF;
  if (draw.top_k > 0 && draw.top_k < n) {
    bound = top_k_bound(draw.top_k);
  } else if (draw.top_p < 1.0F) {
    // Tokens each less probable than (1 − p)/n together have less than 1 − p. Half of that is well clear of rounding.
    const double least = 0.5 * (1.0 - static_cast<double>(draw.top_p)) * softmax.total / static_cast<double>(n);
    bound = static_cast<float>(static_cast<double>(largest_) + std::log(least) / static_cast<double>(softmax.scale));
    bound = std::min(bound, largest_);
  }
  n_candidates_ = static_cast<size_t>(kernels_->find_at_least(logits_.data(), n, bound, candidates_.data()));
  for (size_t i = 0; i < n_candidates_; ++i) gathered_[i] = logits_[candidates_[i]];
  kernels_->exp_shifted(gathered_.data(), static_cast<int64_t>(n_candidates_), largest_, softmax.scale,
                        numerators_.data());
}

// Sets the numerators of candidates that are not kept to 0.
void Sampler::keep_most_probable(const Softmax& softmax, const Draw& draw) {
  std::fill(bucket_sums_.begin(), bucket_sums_.end(), 0.0);
  std::fill(bucket_counts_.begin(), bucket_counts_.end(), 0U);
  for (size_t i = 0; i < n_candidates_; ++i) {
    const uint32_t bucket = bucket_of(numerators_[i]);
    bucket_sums_[bucket] += static_cast<double>(numerators_[i]);
    ++bucket_counts_[bucket];
  }
  order_.clear();
  Border border;
  size_t most = n_candidates_;
  double total = softmax.total;
  if (draw.top_k > 0 && static_cast<size_t>(draw.top_k) < logits_.size()) {
    most = static_cast<size_t>(draw.top_k);  // there are at least as many candidates
    border = border_of(most, HUGE_VAL);
    total = border.sum;
  }
  if (draw.top_p < 1.0F) border = border_of(most, static_cast<double>(draw.top_p) * total);
  for (size_t i = 0; i < n_candidates_; ++i) {
    if (bucket_of(numerators_[i]) > border.bucket) numerators_[i] = 0;
  }
  for (size_t i = border.kept; i < order_.size(); ++i) numerators_[order_[i]] = 0;
}

// The fewest most probable candidates that are `most` or whose sum reaches `share`; at least one. Leaves the border
// bucket's candidates in order_, the most probable first.
Sampler::Border Sampler::border_of(size_t most, double share) {
  size_t count = 0;
  double sum = 0;
  uint32_t bucket = 0;
  for (; bucket + 1 < kBuckets; ++bucket) {
    if (count + bucket_counts_[bucket] >= most || sum + bucket_sums_[bucket] >= share) break;
    count += bucket_counts_[bucket];
    sum += bucket_sums_[bucket];
  }
  order_.clear();
  for (size_t i = 0; i < n_candidates_; ++i) {
    if (bucket_of(numerators_[i]) == bucket) order_.push_back(static_cast<uint32_t>(i));
  }
  std::sort(order_.begin(), order_.end(), [this](uint32_t a, uint32_t b) {
    return numerators_[a] != numerators_[b] ? numerators_[a] > numerators_[b] : a < b;
  });
  size_t kept = 0;
  while (kept < order_.size()) {
    sum += static_cast<double>(numerators_[order_[kept++]]);
    if (++count >= most || sum >= share) break;
  }
  return {.bucket = bucket, .kept = kept, .sum = sum};
}

Token Sampler::pick_kept(double u) const {
  double total = 0;
  for (size_t i = 0; i < n_candidates_; ++i) total += static_cast<double>(numerators_[i]);
  const double target = u * total;
  double sum = 0;
  uint32_t token = 0;
  for (size_t i = 0; i < n_candidates_; ++i) {
    if (numerators_[i] <= 0) continue;
    token = candidates_[i];
    sum += static_cast<double>(numerators_[i]);
    if (sum > target) break;
  }
  return static_cast<Token>(token);  // rounding can leave sum at target: then the last possible token
}

}  // namespace deepsearch
