#include "learn/trainer.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>

#include "core/error.h"
#include "learn/loss.h"
#include "learn/network/decoder.h"
#include "learn/optimizer.h"

namespace deepsearch {

namespace {

// A micro-batch as tensors. Response token j of a row is predicted at position n_prompt + j − 1.
struct Packed {
  at::Tensor tokens;      // int64 [rows, longest]
  at::Tensor positions;   // int64 [1, longest]
  at::Tensor predictors;  // int64 [response tokens]: flat index of the hidden state that predicts each
  at::Tensor targets;     // int64 [response tokens]
  at::Tensor advantages;  // float32 [response tokens]
  at::Tensor behaviour;   // float32 [response tokens]
  at::Tensor weights;     // float32 [response tokens]: 1, or by sequence; divided by the denominator later
};

// A token's weight before division: sequence means need each row's own length.
float token_weight(const Row& row, LossAggregation aggregation) {
  if (aggregation != LossAggregation::kSequenceMeanTokenMean) return 1.0F;
  return 1.0F / static_cast<float>(row.n_response());
}

template <class T>
at::Tensor to_tensor(std::vector<T>& values, at::ScalarType type, const at::Device& device) {
  return at::from_blob(values.data(), {static_cast<int64_t>(values.size())}, at::TensorOptions().dtype(type))
      .to(device, /*non_blocking=*/false, /*copy=*/true);
}

Packed pack(const MicroBatch& rows, LossAggregation aggregation, Token pad, const at::Device& device) {
  int64_t longest = 0;
  for (const Row* row : rows) longest = std::max(longest, static_cast<int64_t>(row->tokens.size()));
  std::vector<int64_t> tokens(rows.size() * static_cast<size_t>(longest), pad);
  std::vector<int64_t> predictors;
  std::vector<int64_t> targets;
  std::vector<float> advantages;
  std::vector<float> behaviour;
  std::vector<float> weights;
  for (size_t r = 0; r < rows.size(); ++r) {
    const Row& row = *rows[r];
    const int64_t base = static_cast<int64_t>(r) * longest;
    std::copy(row.tokens.begin(), row.tokens.end(), tokens.begin() + base);
    for (int64_t j = 0; j < row.n_response(); ++j) {
      predictors.push_back(base + row.n_prompt + j - 1);
      targets.push_back(row.tokens[static_cast<size_t>(row.n_prompt + j)]);
      weights.push_back(token_weight(row, aggregation));
    }
    advantages.insert(advantages.end(), row.advantages.begin(), row.advantages.end());
    behaviour.insert(behaviour.end(), row.behaviour.begin(), row.behaviour.end());
  }
  Packed packed;
  packed.tokens = to_tensor(tokens, at::kLong, device).view({static_cast<int64_t>(rows.size()), longest});
  packed.positions = at::arange(longest, at::TensorOptions().dtype(at::kLong).device(device)).unsqueeze(0);
  packed.predictors = to_tensor(predictors, at::kLong, device);
  packed.targets = to_tensor(targets, at::kLong, device);
  packed.advantages = to_tensor(advantages, at::kFloat, device);
  packed.behaviour = to_tensor(behaviour, at::kFloat, device);
  packed.weights = to_tensor(weights, at::kFloat, device);
  return packed;
}

// Log-softmax rows at the response's predictors: [response tokens, vocab].
at::Tensor log_distribution(const Decoder& decoder, const Packed& packed, double temperature) {
  const at::Tensor hidden = decoder.hidden(packed.tokens, packed.positions.expand_as(packed.tokens));
  const at::Tensor wanted = hidden.reshape({-1, hidden.size(-1)}).index_select(0, packed.predictors);
  const at::Tensor logits = decoder.logits(wanted);
  return at::log_softmax(temperature == 1.0 ? logits : logits / temperature, -1);
}

at::Tensor pick(const at::Tensor& log_distribution, const at::Tensor& targets) {
  return log_distribution.gather(1, targets.unsqueeze(1)).squeeze(1);
}

// Running sums over this rank's tokens; summed over ranks at the end.
struct Sums {
  double tokens = 0, loss = 0, entropy = 0, clipped = 0, dual = 0, log_ratio = 0, mismatch = 0, mismatch_tokens = 0;
  double advantage = 0, advantage_square = 0, positive = 0, ratio_max = 0;
};

void add_up(Sums& sums, const Packed& packed, const TokenLoss& token_loss, const at::Tensor& log_probs_all,
            const at::Tensor& weighted_loss, bool first_update) {
  const at::NoGradGuard no_grad;
  const auto sum = [](const at::Tensor& t) { return t.to(at::kDouble).sum().item<double>(); };
  sums.tokens += static_cast<double>(packed.targets.numel());
  sums.loss += weighted_loss.item<double>();
  const at::Tensor detached = log_probs_all.detach();
  sums.entropy += -sum(detached.exp().mul_(detached));
  sums.clipped += sum(token_loss.clipped);
  sums.dual += sum(token_loss.dual_clipped);
  sums.log_ratio += sum(token_loss.log_ratio);
  sums.ratio_max = std::max(sums.ratio_max, token_loss.log_ratio.max().exp().item<double>());
  sums.advantage += sum(packed.advantages);
  sums.advantage_square += sum(packed.advantages.square());
  sums.positive += sum(packed.advantages.gt(0));
  if (first_update) {
    const at::Tensor d = -token_loss.log_ratio;
    sums.mismatch += sum(d.exp() - d - 1);
    sums.mismatch_tokens += static_cast<double>(packed.targets.numel());
  }
}

void check_rows(const std::vector<Row>& rows, const ModelConfig& config) {
  for (const Row& row : rows) {
    if (row.n_prompt < 1 || row.n_response() < 1) failure("training row without a prompt or a response");
    if (static_cast<int64_t>(row.tokens.size()) > config.max_positions) {
      bad_input("a trajectory of {} tokens does not fit the model: [model].max_positions is {}", row.tokens.size(),
                config.max_positions);
    }
  }
}

}  // namespace

struct Trainer::Impl {
  Impl(const ModelWeights& start, const LearnParams& learn, Collectives& group, int64_t planned_updates)
      : params(learn),
        collectives(group),
        device(group.on_device() ? at::Device("cuda") : at::Device(at::kCPU)),
        decoder(start.config, device),
        config(start.config) {
    if (params.threads > 0) at::set_num_threads(static_cast<int>(params.threads));
    decoder.load(start);
    optimizer.emplace(decoder.parameters(), params.optimizer, planned_updates);
    if (params.kl_coef > 0) {
      reference.emplace(start.config, device);
      reference->load(start);
    }
  }

  bool mine(size_t microbatch) const {
    return static_cast<int>(microbatch % static_cast<size_t>(collectives.size())) == collectives.rank();
  }

  double denominator(const std::vector<Row>& rows) const;
  void learn_minibatch(const std::vector<Row>& rows, bool first, Sums& sums, TrainStats& stats,
                       const std::function<void()>& between);
  std::vector<std::vector<float>> logprobs(const std::vector<Row>& rows, const std::function<void()>& between);
  void use_recomputed(std::vector<std::vector<Row>>& minibatches, const std::function<void()>& between);
  void finish(const Sums& sums, TrainStats& stats);

  LearnParams params;
  Collectives& collectives;
  at::Device device;
  Decoder decoder;
  ModelConfig config;
  std::optional<FlatAdamW> optimizer;
  std::optional<Decoder> reference;
};

// All ranks hold all rows, so the denominator of the whole minibatch needs no message.
double Trainer::Impl::denominator(const std::vector<Row>& rows) const {
  if (params.loss_aggregation != LossAggregation::kTokenMean) return static_cast<double>(rows.size());
  double tokens = 0;
  for (const Row& row : rows) tokens += static_cast<double>(row.n_response());
  return tokens;
}

void Trainer::Impl::learn_minibatch(const std::vector<Row>& rows, bool first, Sums& sums, TrainStats& stats,
                                    const std::function<void()>& between) {
  const double divisor = denominator(rows);
  const std::vector<MicroBatch> microbatches = split_into_microbatches(rows, params.tokens_per_microbatch);
  optimizer->zero_grad();
  for (size_t i = 0; i < microbatches.size(); ++i) {
    if (!mine(i)) continue;
    const Packed packed = pack(microbatches[i], params.loss_aggregation, config.pad_token, device);
    const at::Tensor all = log_distribution(decoder, packed, params.temperature);
    const at::Tensor logprob = pick(all, packed.targets);
    const TokenLoss token_loss = clipped_policy_loss(logprob, packed.behaviour, packed.advantages, params);
    at::Tensor per_token = token_loss.loss;
    if (params.entropy_coef > 0) per_token = per_token + params.entropy_coef * (all.exp() * all).sum(-1);
    if (reference) {
      at::Tensor ref;
      {
        const at::NoGradGuard no_grad;
        ref = pick(log_distribution(*reference, packed, params.temperature), packed.targets);
      }
      per_token = per_token + params.kl_coef * kl_k3(logprob, ref);
    }
    const at::Tensor loss = (per_token * packed.weights).sum() / divisor;
    loss.backward();
    optimizer->accumulate();
    add_up(sums, packed, token_loss, all, loss, first);
    if (between) between();
  }
  const FlatAdamW::Update update = optimizer->step(collectives);
  ++stats.updates;
  if (update.skipped) ++stats.skipped_updates;
  stats.grad_norm += update.skipped ? 0 : update.grad_norm;
  stats.lr = update.lr;
}

std::vector<std::vector<float>> Trainer::Impl::logprobs(const std::vector<Row>& rows,
                                                        const std::function<void()>& between) {
  const at::NoGradGuard no_grad;
  std::vector<std::vector<float>> result(rows.size());
  for (const MicroBatch& microbatch : split_into_microbatches(rows, params.tokens_per_microbatch)) {
    const Packed packed = pack(microbatch, params.loss_aggregation, config.pad_token, device);
    const at::Tensor values =
        pick(log_distribution(decoder, packed, params.temperature), packed.targets).to(at::kCPU).contiguous();
    const float* next = values.data_ptr<float>();
    for (const Row* row : microbatch) {
      result[static_cast<size_t>(row - rows.data())].assign(next, next + row->n_response());
      next += row->n_response();
    }
    if (between) between();
  }
  return result;
}

void Trainer::Impl::use_recomputed(std::vector<std::vector<Row>>& minibatches, const std::function<void()>& between) {
  for (std::vector<Row>& rows : minibatches) {
    const auto values = logprobs(rows, between);
    for (size_t i = 0; i < rows.size(); ++i) rows[i].behaviour = values[i];
  }
}

void Trainer::Impl::finish(const Sums& sums, TrainStats& stats) {
  const auto total = [&](double value) { return collectives.all_reduce_sum(value); };
  stats.trained_tokens = static_cast<int64_t>(total(sums.tokens));
  const double tokens = std::max(static_cast<double>(stats.trained_tokens), 1.0);
  stats.loss = total(sums.loss) / static_cast<double>(std::max<int64_t>(stats.updates, 1));
  stats.policy_entropy = total(sums.entropy) / tokens;
  stats.clip_fraction = total(sums.clipped) / tokens;
  stats.dual_clip_fraction = total(sums.dual) / tokens;
  stats.approx_kl = -total(sums.log_ratio) / tokens;
  stats.mismatch_kl = total(sums.mismatch) / std::max(total(sums.mismatch_tokens), 1.0);
  stats.advantage_mean = total(sums.advantage) / tokens;
  stats.advantage_std =
      std::sqrt(std::max(0.0, total(sums.advantage_square) / tokens - stats.advantage_mean * stats.advantage_mean));
  stats.positive_fraction = total(sums.positive) / tokens;
  stats.ratio_max = collectives.all_reduce_max(sums.ratio_max);
  stats.grad_norm /= static_cast<double>(std::max<int64_t>(stats.updates - stats.skipped_updates, 1));
}

Trainer::Trainer(const ModelWeights& start, const LearnParams& params, Collectives& collectives,
                 int64_t planned_updates)
    : impl_(std::make_unique<Impl>(start, params, collectives, planned_updates)) {}

Trainer::~Trainer() = default;

TrainStats Trainer::train(const std::vector<std::vector<Row>>& minibatches, const std::function<void()>& between) {
  for (const auto& rows : minibatches) check_rows(rows, impl_->config);
  std::vector<std::vector<Row>> recomputed;
  if (impl_->params.behaviour == Behaviour::kRecomputed) {
    recomputed = minibatches;
    impl_->use_recomputed(recomputed, between);
  }
  const auto& used = recomputed.empty() ? minibatches : recomputed;
  TrainStats stats;
  Sums sums;
  for (int64_t epoch = 0; epoch < impl_->params.epochs; ++epoch) {
    for (size_t m = 0; m < used.size(); ++m) {
      if (used[m].empty()) continue;
      impl_->learn_minibatch(used[m], epoch == 0 && stats.updates == 0, sums, stats, between);
    }
  }
  impl_->finish(sums, stats);
  return stats;
}

double Trainer::supervise(const std::vector<Row>& rows) {
  check_rows(rows, impl_->config);
  const double divisor = impl_->denominator(rows);
  double loss_sum = 0;
  impl_->optimizer->zero_grad();
  const std::vector<MicroBatch> microbatches = split_into_microbatches(rows, impl_->params.tokens_per_microbatch);
  for (size_t i = 0; i < microbatches.size(); ++i) {
    if (!impl_->mine(i)) continue;
    const Packed packed = pack(microbatches[i], impl_->params.loss_aggregation, impl_->config.pad_token, impl_->device);
    const at::Tensor logprob = pick(log_distribution(impl_->decoder, packed, 1.0), packed.targets);
    const at::Tensor loss = -(logprob * packed.weights).sum() / divisor;
    loss.backward();
    impl_->optimizer->accumulate();
    loss_sum += loss.item<double>();
  }
  impl_->optimizer->step(impl_->collectives);
  return impl_->collectives.all_reduce_sum(loss_sum);
}

std::vector<std::vector<float>> Trainer::logprobs(const std::vector<Row>& rows) {
  return impl_->logprobs(rows, {});
}

ModelWeights Trainer::weights() const {
  return impl_->decoder.store();
}

}  // namespace deepsearch
