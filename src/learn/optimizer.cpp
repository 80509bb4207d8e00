#include "learn/optimizer.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <span>
#include <utility>

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/zeros.h>

#include "core/activity.h"
#include "core/error.h"
#include "core/timer.h"
#include "learn/optimizer_update.h"

namespace deepsearch {

namespace {

constexpr double kBytesPerMb = 1e6;

std::vector<int64_t> sizes_of(const std::vector<at::Tensor>& parameters) {
  std::vector<int64_t> sizes;
  for (const at::Tensor& p : parameters) sizes.push_back(p.numel());
  return sizes;
}

std::span<float> floats(const at::Tensor& flat, int64_t begin, int64_t size) {
  return {flat.data_ptr<float>() + begin, static_cast<size_t>(size)};
}

std::span<std::byte> bytes_of(const at::Tensor& flat, int64_t begin, int64_t size) {
  const auto width = static_cast<int64_t>(flat.element_size());
  return {static_cast<std::byte*>(flat.data_ptr()) + begin * width, static_cast<size_t>(size * width)};
}

int64_t bytes_held(const at::Tensor& tensor) {
  return tensor.defined() ? static_cast<int64_t>(tensor.nbytes()) : 0;
}

}  // namespace

AdamW::AdamW(std::vector<at::Tensor> parameters, const std::vector<ParameterRange>& groups, const LearnParams& params,
             Collectives& collectives, int64_t planned_updates)
    : params_(params.optimizer),
      collectives_(collectives),
      planned_updates_(std::max<int64_t>(planned_updates, 1)),
      sizes_(sizes_of(parameters)),
      buckets_(sizes_, groups, static_cast<int64_t>(params.bucket_mb * kBytesPerMb / sizeof(float)),
               collectives.size()),
      parts_(params.shard_optimizer ? collectives.size() : 1),
      part_(params.shard_optimizer ? collectives.rank() : 0),
      reductions_(buckets_.buckets().size()),
      ready_(groups.size(), false) {
  check_parameters(parameters);
  for (const at::Tensor& p : parameters) decays_.push_back(p.dim() >= 2);
  plan_pieces();
  take_over(parameters);
}

void AdamW::check_parameters(const std::vector<at::Tensor>& parameters) const {
  if (parameters.empty()) failure("optimiser: no parameters");
  const at::ScalarType type = parameters[0].scalar_type();
  if (type != at::kFloat && type != at::kBFloat16) failure("optimiser: parameters must be fp32 or bf16");
  for (const at::Tensor& p : parameters) {
    if (p.scalar_type() != type || p.device() != parameters[0].device()) {
      failure("optimiser: parameters must be of one type and on one device");
    }
    if (p.is_cuda() != collectives_.on_device()) {
      failure("optimiser: parameters and the learners' collectives ({}) must both be on the GPU or both on the host",
              collectives_.description());
    }
  }
}

void AdamW::take_over(std::vector<at::Tensor>& parameters) {
  const at::NoGradGuard no_grad;
  const bool fp32 = parameters[0].scalar_type() == at::kFloat;
  const bool cpu = parameters[0].is_cpu();
  const auto options = at::TensorOptions().dtype(parameters[0].scalar_type()).device(parameters[0].device());
  const int64_t own = own_offsets_.back();
  values_ = at::zeros({buckets_.total()}, options);
  grads_ = at::zeros({buckets_.total()}, options);
  mean_ = at::zeros({own}, options.dtype(at::kFloat));
  variance_ = at::zeros({own}, options.dtype(at::kFloat));
  // On a GPU fp32 gradients add up where they are. Elsewhere the sums are made when they are first needed.
  if (!fp32) sums_ = at::zeros({buckets_.total()}, options.dtype(at::kFloat));
  if (fp32 && cpu) sums_ = at::empty({0}, options.dtype(at::kDouble));
  for (size_t i = 0; i < parameters.size(); ++i) {
    at::Tensor& p = parameters[i];
    const at::Tensor slice = values_.narrow(0, buckets_.offset(i), p.numel());
    slice.copy_(p.detach().reshape({-1}));
    const auto shape = p.sizes().vec();
    p.set_data(slice.view(shape));
    p.mutable_grad() = grads_.narrow(0, buckets_.offset(i), p.numel()).view(shape);
  }
  if (fp32) return;
  master_ = at::empty({own}, options.dtype(at::kFloat));
  for (size_t b = 0; b < pieces_.size(); ++b) {
    master_.narrow(0, own_offsets_[b], own_size(b)).copy_(values_.narrow(0, own_begin(b), own_size(b)));
  }
}

// Which parts of this rank's share decay: parameters, with the padding behind each, cut by the share's bounds.
void AdamW::plan_pieces() {
  const auto ends_at = [&](size_t p) { return p + 1 < sizes_.size() ? buckets_.offset(p + 1) : buckets_.total(); };
  own_offsets_.assign(1, 0);
  for (size_t b = 0; b < buckets_.buckets().size(); ++b) {
    std::vector<Piece> pieces;
    const int64_t first = own_begin(b);
    const int64_t last = first + own_size(b);
    for (size_t p = 0; p < sizes_.size(); ++p) {
      const int64_t begin = std::max(first, buckets_.offset(p));
      const int64_t end = std::min(last, ends_at(p));
      if (begin >= end) continue;
      if (!pieces.empty() && pieces.back().decays == decays_[p]) {
        pieces.back().size += end - begin;
      } else {
        pieces.push_back({begin, own_offsets_.back() + begin - first, end - begin, decays_[p]});
      }
    }
    pieces_.push_back(std::move(pieces));
    own_offsets_.push_back(own_offsets_.back() + own_size(b));
  }
}

int64_t AdamW::own_begin(size_t bucket) const {
  return buckets_.buckets()[bucket].begin + part_ * own_size(bucket);
}

const at::Tensor& AdamW::summed_gradients() const {
  return grads_.scalar_type() == at::kFloat ? grads_ : sums_;
}

void AdamW::zero_grad() {
  const at::NoGradGuard no_grad;
  grads_.zero_();
  std::fill(ready_.begin(), ready_.end(), false);
  started_ = 0;
  summed_ = false;
}

void AdamW::accumulate() {
  if (started_ > 0) failure("optimiser: a micro-batch after the one whose gradients were to be the last");
  if (!sums_.defined()) return;
  const at::NoGradGuard no_grad;
  if (sums_.numel() == 0) sums_ = at::empty({buckets_.total()}, sums_.options());
  add_gradients(sums_, grads_, /*first=*/!summed_);
  summed_ = true;
}

void AdamW::gradients_ready(int group) {
  const auto g = static_cast<size_t>(group);
  if (group < 0 || g >= ready_.size()) failure("optimiser: group {} of {}", group, ready_.size());
  if (ready_[g]) failure("optimiser: the gradients of group {} were ready before", group);
  ready_[g] = true;
  start_complete_buckets();
}

// From the last on, whatever the order in which groups come: all ranks start the same transfers in the same order.
void AdamW::start_complete_buckets() {
  const auto& buckets = buckets_.buckets();
  for (; started_ < buckets.size(); ++started_) {
    const size_t b = buckets.size() - 1 - started_;
    for (int g = buckets[b].first_group; g <= buckets[b].last_group; ++g) {
      if (!ready_[static_cast<size_t>(g)]) return;
    }
    start_reduction(b);
  }
}

void AdamW::start_reduction(size_t bucket) {
  const at::NoGradGuard no_grad;
  const auto [begin, size, first_group, last_group] = buckets_.buckets()[bucket];
  const at::Tensor gradients = grads_.narrow(0, begin, size);
  if (grads_.scalar_type() != at::kFloat) {
    add_gradients(sums_.narrow(0, begin, size), gradients, /*first=*/!summed_);
  } else if (summed_) {
    total_gradients(sums_.narrow(0, begin, size), gradients);
  }
  const std::span<float> values = floats(summed_gradients(), begin, size);
  reductions_[bucket] = parts_ > 1 ? collectives_.start_reduce_scatter_sum(
                                         values, floats(summed_gradients(), own_begin(bucket), own_size(bucket)))
                                   : collectives_.start_all_reduce_sum(values);
}

void AdamW::wait(Transfer& transfer) {
  const Stopwatch watch;
  transfer.wait();
  seconds_waiting_ += watch.seconds();
}

// Each rank takes the squares of its part of every bucket, sharded or not; so all ranks decide alike.
double AdamW::norm_when_summed() {
  at::Tensor squares = at::zeros({}, grads_.options().dtype(at::kDouble));
  for (size_t b = buckets_.buckets().size(); b-- > 0;) {
    wait(reductions_[b]);
    const int64_t begin = buckets_.part_begin(b, collectives_.rank());
    squares.add_(sum_of_squares(summed_gradients().narrow(0, begin, buckets_.part_size(b))));
  }
  const auto mine = squares.item<double>();
  const Stopwatch watch;
  const double all = collectives_.all_reduce_sum(mine);
  seconds_waiting_ += watch.seconds();
  return std::sqrt(all);
}

void AdamW::update(size_t bucket, const AdamWStep& step) {
  std::vector<AdamWStretch> stretches;
  for (const Piece& piece : pieces_[bucket]) {
    const auto own = [&](const at::Tensor& flat) { return flat.narrow(0, piece.own, piece.size); };
    stretches.push_back({.weights = master_.defined() ? own(master_) : values_.narrow(0, piece.begin, piece.size),
                         .gradient = summed_gradients().narrow(0, piece.begin, piece.size),
                         .mean = own(mean_),
                         .variance = own(variance_),
                         .decays = piece.decays});
  }
  update_stretches(stretches, step);
}

// Master weights to the parameters, this rank's to all.
Transfer AdamW::publish(size_t bucket) {
  const int64_t size = own_size(bucket);
  if (master_.defined()) {
    values_.narrow(0, own_begin(bucket), size).copy_(master_.narrow(0, own_offsets_[bucket], size));
  }
  if (parts_ == 1) return {};
  const auto& whole = buckets_.buckets()[bucket];
  return collectives_.start_all_gather(bytes_of(values_, own_begin(bucket), size),
                                       bytes_of(values_, whole.begin, whole.size));
}

AdamW::Update AdamW::step() {
  const at::NoGradGuard no_grad;
  std::fill(ready_.begin(), ready_.end(), true);
  start_complete_buckets();
  Update result;
  result.grad_norm = norm_when_summed();
  result.lr = rate(updates_);
  if (!std::isfinite(result.grad_norm)) {
    result.skipped = true;
    ++skipped_;
    ++skipped_in_a_row_;
    return result;
  }
  skipped_in_a_row_ = 0;
  AdamWStep step{.lr = result.lr,
                 .beta1 = params_.beta1,
                 .beta2 = params_.beta2,
                 .epsilon = params_.epsilon,
                 .weight_decay = params_.weight_decay,
                 .update = ++updates_};
  if (params_.max_grad_norm > 0 && result.grad_norm > params_.max_grad_norm) {
    step.gradient_scale = params_.max_grad_norm / (result.grad_norm + 1e-6);
  }
  std::vector<Transfer> gathers;
  for (size_t b = 0; b < pieces_.size(); ++b) {
    update(b, step);
    gathers.push_back(publish(b));
    collectives_.progress();
    report_progress();
  }
  for (Transfer& gather : gathers) wait(gather);
  return result;
}

double AdamW::rate(int64_t update) const {
  const double warm = params_.warmup_steps > 0
                          ? std::min(1.0, static_cast<double>(update + 1) / static_cast<double>(params_.warmup_steps))
                          : 1.0;
  if (params_.schedule == Schedule::kConstant || update < params_.warmup_steps) return params_.lr * warm;
  const double span = static_cast<double>(std::max<int64_t>(planned_updates_ - params_.warmup_steps, 1));
  const double planned = static_cast<double>(update - params_.warmup_steps) / span;
  const double at = std::min(1.0, progress_ < 0 ? planned : progress_);
  constexpr double kFloor = 0.1;
  return params_.lr * (kFloor + (1 - kFloor) * 0.5 * (1 + std::cos(std::numbers::pi * at)));
}

AdamW::Bytes AdamW::bytes() const {
  return {.weights = bytes_held(values_),
          .gradients = bytes_held(grads_) + bytes_held(sums_),
          .master = bytes_held(master_),
          .moments = bytes_held(mean_) + bytes_held(variance_)};
}

OptimizerState AdamW::layout() const {
  OptimizerState layout;
  layout.updates = updates_;
  layout.skipped_in_a_row = skipped_in_a_row_;
  layout.rank = part_;
  layout.ranks = parts_;
  layout.parameters = sizes_;
  for (size_t p = 0; p < sizes_.size(); ++p) layout.offsets.push_back(buckets_.offset(p));
  for (const auto& bucket : buckets_.buckets()) layout.buckets.push_back(bucket.size);
  return layout;
}

OptimizerState AdamW::state() const {
  const at::NoGradGuard no_grad;
  OptimizerState state = layout();
  const auto host = [](const at::Tensor& tensor, std::vector<float>& out) {
    const at::Tensor copy = tensor.to(at::kCPU).contiguous();
    out.insert(out.end(), copy.const_data_ptr<float>(), copy.const_data_ptr<float>() + copy.numel());
  };
  host(mean_, state.mean);
  host(variance_, state.variance);
  state.master.reserve(state.mean.size());
  for (size_t b = 0; b < pieces_.size(); ++b) {
    if (!master_.defined()) host(values_.narrow(0, own_begin(b), own_size(b)), state.master);
  }
  if (master_.defined()) host(master_, state.master);
  return state;
}

void AdamW::check_state(const OptimizerState& state) const {
  std::vector<int64_t> sizes;
  for (const auto& bucket : buckets_.buckets()) sizes.push_back(bucket.size);
  if (state.parameters != sizes_) {
    bad_input("the optimiser's saved state is of {} parameters of other sizes than the model's {}",
              state.parameters.size(), sizes_.size());
  }
  if (state.ranks != parts_ || state.rank != part_) {
    bad_input(
        "the optimiser's saved state is part {} of {}, this rank needs part {} of {}: go on with as many "
        "learners as before ([ranks].learners, [learn].shard_optimizer)",
        state.rank, state.ranks, part_, parts_);
  }
  if (state.buckets != sizes) {
    bad_input(
        "the optimiser's saved state has {} buckets of other sizes than the {} of this run: go on with the same "
        "[learn].bucket_mb and [ranks].learners",
        state.buckets.size(), sizes.size());
  }
  const auto own = static_cast<size_t>(own_offsets_.back());
  if (state.master.size() != own || state.mean.size() != own || state.variance.size() != own || state.updates < 0) {
    bad_input("the optimiser's saved state is not whole: {}, {} and {} values instead of {}, after {} updates",
              state.master.size(), state.mean.size(), state.variance.size(), own, state.updates);
  }
}

void AdamW::restore(const OptimizerState& state) {
  check_state(state);
  const at::NoGradGuard no_grad;
  const auto set = [](const at::Tensor& tensor, const float* values) {
    tensor.copy_(at::from_blob(const_cast<float*>(values), {tensor.numel()}, at::TensorOptions().dtype(at::kFloat)));
  };
  set(mean_, state.mean.data());
  set(variance_, state.variance.data());
  if (master_.defined()) set(master_, state.master.data());
  std::vector<Transfer> gathers;
  for (size_t b = 0; b < pieces_.size(); ++b) {
    if (!master_.defined()) set(values_.narrow(0, own_begin(b), own_size(b)), state.master.data() + own_offsets_[b]);
    gathers.push_back(publish(b));
  }
  for (Transfer& gather : gathers) wait(gather);
  updates_ = state.updates;
  skipped_in_a_row_ = state.skipped_in_a_row;
}

}  // namespace deepsearch
