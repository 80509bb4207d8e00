// GCC 12 reports null pointers inside LibTorch's inlined autograd templates, which it instantiates here.
#pragma GCC diagnostic ignored "-Wnull-dereference"

#include "learn/network/tree_attention.h"

#include <cmath>
#include <vector>

#include <ATen/TensorOperators.h>
#include <ATen/ops/_flash_attention_forward.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/full.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/tensor.h>
#include <torch/csrc/autograd/custom_function.h>

#include "core/error.h"
#include "learn/network/cpu/attention.h"

namespace deepsearch {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

at::Tensor with_dense_heads(const at::Tensor& x) {
  return x.stride(-1) == 1 || x.size(-1) == 1 ? x : x.contiguous();
}
network::ConstHeads heads_of(const at::Tensor& x) {
  return {x.const_data_ptr<float>(), x.stride(0), x.stride(1)};
}
network::Heads mutable_heads_of(const at::Tensor& x) {
  return {x.mutable_data_ptr<float>(), x.stride(0), x.stride(1)};
}

struct PlanHolder : torch::CustomClassHolder {
  explicit PlanHolder(std::shared_ptr<const AttentionPlan> held) : plan(std::move(held)) {}
  std::shared_ptr<const AttentionPlan> plan;
};

class TreeAttention : public torch::autograd::Function<TreeAttention> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& q_in, const at::Tensor& k_in,
                            const at::Tensor& v_in, const std::shared_ptr<const AttentionPlan>& plan) {
    const at::Tensor q = with_dense_heads(q_in);
    const at::Tensor k = with_dense_heads(k_in);
    const at::Tensor v = with_dense_heads(v_in);
    const at::Tensor out = at::empty(q.sizes(), q.options());
    const at::Tensor lse = at::empty({q.size(0), q.size(1)}, q.options());
    network::attention_forward(*plan, {q.size(1), k.size(1), q.size(2)}, heads_of(q), heads_of(k), heads_of(v),
                               mutable_heads_of(out), lse.mutable_data_ptr<float>());
    context->save_for_backward({q, k, v, out, lse});
    context->saved_data["plan"] = c10::IValue::make_capsule(c10::make_intrusive<PlanHolder>(plan));
    return out;
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    const variable_list saved = context->get_saved_variables();
    const auto holder = context->saved_data["plan"].toCapsule();
    const AttentionPlan& plan = *static_cast<const PlanHolder&>(*holder).plan;
    const at::Tensor& q = saved[0];
    const at::Tensor& k = saved[1];
    const at::Tensor dout = with_dense_heads(grads[0]);
    const at::Tensor dq = at::empty(q.sizes(), q.options());
    const at::Tensor dk = at::empty(k.sizes(), q.options());
    const at::Tensor dv = at::empty(k.sizes(), q.options());
    network::attention_backward(plan, {q.size(1), k.size(1), q.size(2)}, heads_of(q), heads_of(k), heads_of(saved[2]),
                                heads_of(saved[3]), saved[4].const_data_ptr<float>(), heads_of(dout),
                                {mutable_heads_of(dq), mutable_heads_of(dk), mutable_heads_of(dv)});
    return {dq, dk, dv, at::Tensor()};
  }
};

void check(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const AttentionPlan& plan) {
  const bool right = q.dim() == 3 && k.dim() == 3 && k.sizes() == v.sizes() && q.size(0) == plan.tokens() &&
                     k.size(0) == plan.tokens() && k.size(2) == q.size(2) && k.size(1) > 0 &&
                     q.size(1) % k.size(1) == 0 && q.scalar_type() == k.scalar_type() &&
                     k.scalar_type() == v.scalar_type();
  if (!right)
    failure("attention: queries, keys and values do not fit each other or a plan of {} tokens", plan.tokens());
}

bool is_half(const at::Tensor& x) {
  return x.scalar_type() == at::kBFloat16 || x.scalar_type() == at::kHalf;
}

// FlashAttention-2's causal mask is aligned at the lower right where keys are more than queries: a segment over its
// path.
at::Tensor flash_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const AttentionPlan& plan) {
  const AttentionPlan::DeviceLayout& layout = plan.device_layout();
  const auto result = at::_flash_attention_forward(
      q, k.index_select(0, layout.keys), v.index_select(0, layout.keys), layout.query_starts, layout.key_starts,
      layout.longest_query, layout.longest_path, /*dropout_p=*/0.0, /*is_causal=*/true, /*return_debug_mask=*/false);
  return std::get<0>(result);
}

}  // namespace

at::Tensor tree_attention_by_definition(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                        const AttentionPlan& plan) {
  check(q, k, v, plan);
  const int64_t n_kv = k.size(1);
  const int64_t group = q.size(1) / n_kv;
  const double scale = 1.0 / std::sqrt(static_cast<double>(q.size(2)));
  const at::ScalarType type = is_half(q) ? at::kFloat : q.scalar_type();
  std::vector<at::Tensor> parts;
  for (size_t s = 0; s < plan.segments().size(); ++s) {
    const Segment& segment = plan.segments()[s];
    const int64_t n = segment.count;
    const std::vector<int64_t> path = plan.path_of(s);
    const auto keys = static_cast<int64_t>(path.size());
    const at::Tensor tokens = at::tensor(path, at::TensorOptions().dtype(at::kLong).device(q.device()));
    // [n_kv, group, n, head_dim] and [n_kv, 1, keys, head_dim].
    const at::Tensor queries =
        q.narrow(0, segment.first, n).to(type).view({n, n_kv, group, q.size(2)}).permute({1, 2, 0, 3});
    const auto of_path = [&](const at::Tensor& x) {
      return x.index_select(0, tokens).to(type).transpose(0, 1).unsqueeze(1);
    };
    const at::Tensor never = at::full({n, keys}, -INFINITY, queries.options()).triu(keys - n + 1);
    const at::Tensor scores = at::matmul(queries, of_path(k).transpose(-1, -2)) * scale + never;
    const at::Tensor mixed = at::matmul(at::softmax(scores, -1), of_path(v));  // [n_kv, group, n, head_dim]
    parts.push_back(mixed.permute({2, 0, 1, 3}).reshape({n, q.size(1), q.size(2)}).to(q.scalar_type()));
  }
  return at::cat(parts);
}

at::Tensor tree_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                          const std::shared_ptr<const AttentionPlan>& plan) {
  check(q, k, v, *plan);
  if (q.is_cuda() && is_half(q)) return flash_attention(q, k, v, *plan);
  if (q.is_cpu() && q.size(2) <= network::kMaxHeadDim) {
    if (q.scalar_type() == at::kFloat) return TreeAttention::apply(q, k, v, plan);
    if (is_half(q)) {
      return TreeAttention::apply(q.to(at::kFloat), k.to(at::kFloat), v.to(at::kFloat), plan).to(q.scalar_type());
    }
  }
  return tree_attention_by_definition(q, k, v, *plan);
}

}  // namespace deepsearch
