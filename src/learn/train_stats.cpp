#include "learn/train_stats.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

namespace deepsearch {

namespace {

// One copy to the host for all of them.
std::vector<double> on_host(const std::vector<at::Tensor>& scalars) {
  const at::Tensor all = at::stack(scalars).to(at::kCPU, at::kDouble).contiguous();
  return {all.const_data_ptr<double>(), all.const_data_ptr<double>() + all.numel()};
}

}  // namespace

void StatsSums::add(const MicroBatch& batch, const ChunkTerms& chunk, double divisor, bool first_update) {
  const TermRange terms = chunk.terms;
  const TermLoss& loss = chunk.loss;
  if (terms.size() == 0) return;
  const at::NoGradGuard no_grad;
  const auto of = [&](const at::Tensor& all) { return all.narrow(0, terms.first, terms.size()).to(at::kDouble); };
  const at::Tensor counts = of(batch.counts);
  const at::Tensor weights = of(batch.weights) / divisor;
  const at::Tensor advantages = of(batch.advantages);
  const at::Tensor log_ratio = loss.log_ratio.to(at::kDouble);
  const at::Tensor ratio = log_ratio.exp();
  const at::Tensor gap = of(batch.behaviour) - chunk.logprobs.to(at::kDouble);
  const at::Tensor counted = counts.gt(0);
  const auto sum = [&](const at::Tensor& values) { return (values.to(at::kDouble) * counts).sum(); };
  const at::Tensor zero = at::zeros({}, counts.options());
  const at::Tensor one = at::ones_like(counts);
  const std::vector<double> values =
      on_host({counts.sum(), (loss.loss.detach().to(at::kDouble) * weights).sum(),
               (loss.policy.to(at::kDouble) * weights).sum(), sum(chunk.entropies), sum(loss.clipped_low),
               sum(loss.clipped_high), sum(loss.dual_clipped), sum(log_ratio), sum(ratio), sum(ratio.square()),
               loss.kl.defined() ? sum(loss.kl) : zero, sum(loss.importance.defined() ? loss.importance : one),
               sum(advantages), sum(advantages.square()), sum(advantages.gt(0)),
               // Not sums over tokens:
               at::where(counted, ratio, zero).max(),
               at::where(counted, ratio, zero + std::numeric_limits<double>::infinity()).min(),
               sum((-gap).exp() + gap - 1), sum(gap.abs()), at::where(counted, gap.abs(), zero).max()});
  for (size_t i = kTokens; i <= kPositive; ++i) sums_[i] += values[i];
  ratio_max_ = std::max(ratio_max_, values[kPositive + 1]);
  ratio_min_ = std::min(ratio_min_, values[kPositive + 2]);
  if (!first_update) return;
  sums_[kMismatchTokens] += values[kTokens];
  sums_[kMismatchKl] += values[kPositive + 3];
  sums_[kMismatch] += values[kPositive + 4];
  mismatch_max_ = std::max(mismatch_max_, values[kPositive + 5]);
}

void StatsSums::add(const MicroBatch& batch, int64_t version, double flops) {
  const PackedRows& packed = batch.packed;
  sums_[kRowTokens] += static_cast<double>(packed.row_tokens);
  sums_[kComputedTokens] += static_cast<double>(batch.computed_tokens());
  sums_[kFlops] += flops;
  for (size_t t = 0; t < packed.versions.size(); ++t) {
    if (packed.versions[t] < 0 || packed.counts[t] == 0) continue;
    const double age = static_cast<double>(version) - packed.versions[t];
    sums_[kStaleness] += age * packed.counts[t];
    staleness_max_ = std::max(staleness_max_, age);
  }
}

void StatsSums::finish(Collectives& collectives, TrainStats& stats) const {
  std::array<double, kSums> total{};
  for (size_t i = 0; i < kSums; ++i) total[i] = collectives.all_reduce_sum(sums_[i]);
  const double tokens = std::max(total[kTokens], 1.0);
  const double updates = static_cast<double>(std::max<int64_t>(stats.updates, 1));
  const auto mean = [&](Sum which) { return total[which] / tokens; };
  const auto deviation = [](double mean_of_squares, double mean_value) {
    return std::sqrt(std::max(0.0, mean_of_squares - mean_value * mean_value));
  };
  stats.trained_tokens = std::llround(total[kTokens]);
  stats.row_tokens = std::llround(total[kRowTokens]);
  stats.computed_tokens = std::llround(total[kComputedTokens]);
  stats.flops = total[kFlops];
  stats.loss = total[kLoss] / updates;
  stats.policy_loss = total[kPolicyLoss] / updates;
  stats.policy_entropy = mean(kEntropy);
  stats.clip_low_fraction = mean(kLow);
  stats.clip_high_fraction = mean(kHigh);
  stats.clip_fraction = stats.clip_low_fraction + stats.clip_high_fraction;
  stats.dual_clip_fraction = mean(kDual);
  stats.approx_kl = -mean(kLogRatio);
  stats.reference_kl = mean(kReferenceKl);
  stats.ratio_mean = mean(kRatio);
  stats.ratio_std = deviation(mean(kRatioSquare), stats.ratio_mean);
  stats.ratio_max = collectives.all_reduce_max(ratio_max_);
  const double least = -collectives.all_reduce_max(-ratio_min_);
  stats.ratio_min = std::isinf(least) ? 0 : least;
  stats.importance_mean = mean(kImportance);
  const double mismatch_tokens = std::max(total[kMismatchTokens], 1.0);
  stats.mismatch_kl = total[kMismatchKl] / mismatch_tokens;
  stats.mismatch_mean = total[kMismatch] / mismatch_tokens;
  stats.mismatch_max = collectives.all_reduce_max(mismatch_max_);
  stats.staleness_mean = mean(kStaleness);
  stats.staleness_max = collectives.all_reduce_max(staleness_max_);
  stats.advantage_mean = mean(kAdvantage);
  stats.advantage_std = deviation(mean(kAdvantageSquare), stats.advantage_mean);
  stats.positive_fraction = mean(kPositive);
}

}  // namespace deepsearch
