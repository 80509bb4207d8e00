#include "learn/flat_adamw.h"

#include <cmath>
#include <numbers>
#include <span>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "core/error.h"

namespace deepsearch {

namespace {

std::span<float> view(const at::Tensor& tensor) {
  return {tensor.data_ptr<float>(), static_cast<size_t>(tensor.numel())};
}

}  // namespace

void sum_over_ranks(at::Tensor& flat, Collectives& collectives) {
  if (collectives.size() == 1) return;
  if (flat.is_cuda() == collectives.on_device()) {
    collectives.all_reduce_sum(view(flat));
    return;
  }
  const at::Tensor staged =
      collectives.on_device() ? flat.to(at::Device("cuda")).contiguous() : flat.to(at::kCPU).contiguous();
  collectives.all_reduce_sum(view(staged));
  flat.copy_(staged);
}

FlatAdamW::FlatAdamW(std::vector<at::Tensor> parameters, const OptimizerParams& params, int64_t planned_updates)
    : params_(params), planned_updates_(std::max<int64_t>(planned_updates, 1)), parameters_(std::move(parameters)) {
  const at::NoGradGuard no_grad;
  int64_t total = 0;
  for (const at::Tensor& p : parameters_) {
    if (p.scalar_type() != at::kFloat) failure("optimiser: parameters must be float32");
    total += p.numel();
  }
  const auto options = at::TensorOptions().dtype(at::kFloat).device(parameters_.at(0).device());
  values_ = at::empty({total}, options);
  grads_ = at::zeros({total}, options);
  mean_ = at::zeros({total}, options);
  variance_ = at::zeros({total}, options);
  decays_ = at::empty({total}, options);
  sum_ = at::zeros({total}, options.dtype(at::kDouble));
  int64_t offset = 0;
  for (at::Tensor& p : parameters_) {
    const at::Tensor slice = values_.narrow(0, offset, p.numel());
    slice.copy_(p.detach().reshape({-1}));
    decays_.narrow(0, offset, p.numel()).fill_(p.dim() >= 2 ? 1.0 : 0.0);
    const auto shape = p.sizes().vec();
    p.set_data(slice.view(shape));
    p.mutable_grad() = grads_.narrow(0, offset, p.numel()).view(shape);
    offset += slice.numel();
  }
}

void FlatAdamW::zero_grad() {
  const at::NoGradGuard no_grad;
  grads_.zero_();
  sum_.zero_();
}

void FlatAdamW::accumulate() {
  const at::NoGradGuard no_grad;
  sum_.add_(grads_);
  grads_.zero_();
}

double FlatAdamW::rate(int64_t update) const {
  const double warm = params_.warmup_steps > 0
                          ? std::min(1.0, static_cast<double>(update + 1) / static_cast<double>(params_.warmup_steps))
                          : 1.0;
  if (params_.schedule == Schedule::kConstant || update < params_.warmup_steps) return params_.lr * warm;
  const double span = static_cast<double>(std::max<int64_t>(planned_updates_ - params_.warmup_steps, 1));
  const double at = std::min(1.0, static_cast<double>(update - params_.warmup_steps) / span);
  constexpr double kFloor = 0.1;
  return params_.lr * (kFloor + (1 - kFloor) * 0.5 * (1 + std::cos(std::numbers::pi * at)));
}

FlatAdamW::Update FlatAdamW::step(Collectives& collectives) {
  const at::NoGradGuard no_grad;
  Update result;
  at::Tensor gradient = sum_.to(at::kFloat);
  sum_over_ranks(gradient, collectives);
  result.grad_norm = gradient.to(at::kDouble).norm().item<double>();
  result.lr = rate(updates_);
  if (!std::isfinite(result.grad_norm)) {
    result.skipped = true;
    return result;
  }
  if (params_.max_grad_norm > 0 && result.grad_norm > params_.max_grad_norm) {
    gradient.mul_(params_.max_grad_norm / (result.grad_norm + 1e-6));
  }
  ++updates_;
  mean_.mul_(params_.beta1).add_(gradient, 1 - params_.beta1);
  variance_.mul_(params_.beta2).addcmul_(gradient, gradient, 1 - params_.beta2);
  const double correction1 = 1 - std::pow(params_.beta1, static_cast<double>(updates_));
  const double correction2 = 1 - std::pow(params_.beta2, static_cast<double>(updates_));
  if (params_.weight_decay > 0) values_.addcmul_(values_, decays_, -result.lr * params_.weight_decay);
  const at::Tensor denominator = variance_.sqrt().div_(std::sqrt(correction2)).add_(params_.epsilon);
  values_.addcdiv_(mean_, denominator, -result.lr / correction1);
  return result;
}

}  // namespace deepsearch
