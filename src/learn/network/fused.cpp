// GCC 12 reports null pointers inside LibTorch's inlined autograd templates, which it instantiates here.
#pragma GCC diagnostic ignored "-Wnull-dereference"

#include "learn/network/fused.h"

#include <algorithm>
#include <cmath>

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/rms_norm.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/silu_backward.h>
#include <torch/csrc/autograd/custom_function.h>

namespace deepsearch {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Rows a block: the unit of parallel work, and of the weight gradient's partial sums.
constexpr int64_t kBlockRows = 256;

bool has_loops(const at::Tensor& x) {
  return x.is_cpu() && x.scalar_type() == at::kFloat;
}

// Sums in eight lanes: vectorises without reassociation by the compiler, and is the same on every machine.
template <class Term>
float lane_sum(int64_t n, Term&& term) {
  float lanes[8] = {};
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    for (int64_t lane = 0; lane < 8; ++lane) lanes[lane] += term(i + lane);
  }
  float sum = 0;
  for (; i < n; ++i) sum += term(i);
  for (const float lane : lanes) sum += lane;
  return sum;
}

class RmsNorm : public torch::autograd::Function<RmsNorm> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& input, const at::Tensor& weight, double eps) {
    const at::Tensor x = input.contiguous();
    const int64_t n = x.size(-1);
    const int64_t rows = x.numel() / n;
    at::Tensor out = at::empty_like(x);
    at::Tensor scales = at::empty({rows}, x.options());
    const float* in = x.const_data_ptr<float>();
    const float* w = weight.const_data_ptr<float>();
    float* to = out.mutable_data_ptr<float>();
    float* scale_of = scales.mutable_data_ptr<float>();
    at::parallel_for(0, rows, kBlockRows, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const float* a = in + row * n;
        float* b = to + row * n;
        const float squares = lane_sum(n, [&](int64_t i) { return a[i] * a[i]; });
        const float scale = 1.0F / std::sqrt(squares / static_cast<float>(n) + static_cast<float>(eps));
        scale_of[row] = scale;
        for (int64_t i = 0; i < n; ++i) b[i] = a[i] * scale * w[i];
      }
    });
    context->save_for_backward({x, weight, scales});
    return out;
  }

  // With s = scale, h = g·w:  dx = s·h − x·s³·(h·x)/n,  dw = Σ_rows g·x·s.
  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor grad = grads[0].contiguous();
    const int64_t n = saved[0].size(-1);
    const int64_t rows = saved[0].numel() / n;
    const int64_t blocks = (rows + kBlockRows - 1) / kBlockRows;
    at::Tensor dx = at::empty_like(saved[0]);
    at::Tensor partial = at::empty({blocks, n}, saved[0].options()).zero_();
    const float* x = saved[0].const_data_ptr<float>();
    const float* w = saved[1].const_data_ptr<float>();
    const float* scales = saved[2].const_data_ptr<float>();
    const float* g = grad.const_data_ptr<float>();
    float* dx_to = dx.mutable_data_ptr<float>();
    float* dw_to = partial.mutable_data_ptr<float>();
    at::parallel_for(0, blocks, 1, [&](int64_t first, int64_t last) {
      for (int64_t block = first; block < last; ++block) {
        float* dw = dw_to + block * n;
        for (int64_t row = block * kBlockRows; row < std::min(rows, (block + 1) * kBlockRows); ++row) {
          const float* a = x + row * n;
          const float* gr = g + row * n;
          float* d = dx_to + row * n;
          const float s = scales[row];
          const float dot = lane_sum(n, [&](int64_t i) { return gr[i] * w[i] * a[i]; });
          const float c = s * s * s * dot / static_cast<float>(n);
          for (int64_t i = 0; i < n; ++i) {
            d[i] = s * gr[i] * w[i] - c * a[i];
            dw[i] += gr[i] * a[i] * s;
          }
        }
      }
    });
    return {dx, partial.sum(0), at::Tensor()};
  }
};

// ATen throughout (its SiLU is vectorised); only the gradients' places are ours.
class GatedSilu : public torch::autograd::Function<GatedSilu> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x) {
    const int64_t n = x.size(-1) / 2;
    const at::Tensor active = at::silu(x.narrow(-1, 0, n));
    context->save_for_backward({x, active});
    return active * x.narrow(-1, n, n);
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor& x = saved[0];
    const int64_t n = x.size(-1) / 2;
    at::Tensor dx = at::empty_like(x);
    at::Tensor left = dx.narrow(-1, 0, n);
    at::Tensor right = dx.narrow(-1, n, n);
    at::mul_out(right, grads[0], x.narrow(-1, n, n));
    at::silu_backward_out(left, right, x.narrow(-1, 0, n));
    at::mul_out(right, grads[0], saved[1]);
    return {dx};
  }
};

// Row-major strides of [B, T, heads, ·] that one side of the rotation has.
struct HeadView {
  float* data;
  int64_t row, token, head;  // strides
};
HeadView view_of(const at::Tensor& heads_first) {  // [B, heads, T, head_dim], last dimension contiguous
  return {heads_first.mutable_data_ptr<float>(), heads_first.stride(0), heads_first.stride(2), heads_first.stride(1)};
}

// Between joined heads and q, k, v: forward turns by +angle, backward (the transpose) by −angle, the other way round.
void turn_heads(const HeadView& joined, const HeadView (&parts)[3], const int64_t (&n_heads)[3], int64_t rows,
                int64_t length, int64_t half, const at::Tensor& cosines, const at::Tensor& sines, bool forward) {
  const float* cos_data = cosines.const_data_ptr<float>();
  const float* sin_data = sines.const_data_ptr<float>();
  const int64_t angle_row = cosines.size(0) == 1 ? 0 : length * half;
  const float sign = forward ? 1.0F : -1.0F;
  at::parallel_for(0, rows * length, kBlockRows, [&](int64_t begin, int64_t end) {
    for (int64_t at = begin; at < end; ++at) {
      const int64_t row = at / length;
      const int64_t token = at % length;
      const float* c = cos_data + row * angle_row + token * half;
      const float* s = sin_data + row * angle_row + token * half;
      float* whole = joined.data + row * joined.row + token * joined.token;
      for (int part = 0; part < 3; ++part) {
        for (int64_t head = 0; head < n_heads[part]; ++head, whole += joined.head) {
          float* piece = parts[part].data + row * parts[part].row + token * parts[part].token + head * parts[part].head;
          const float* from = forward ? whole : piece;
          float* to = forward ? piece : whole;
          if (part == 2) {
            std::copy(from, from + 2 * half, to);
            continue;
          }
          for (int64_t i = 0; i < half; ++i) {
            to[i] = from[i] * c[i] - sign * from[half + i] * s[i];
            to[half + i] = from[half + i] * c[i] + sign * from[i] * s[i];
          }
        }
      }
    }
  });
}

class SplitAndRotate : public torch::autograd::Function<SplitAndRotate> {
 public:
  static variable_list forward(AutogradContext* context, const at::Tensor& input, int64_t n_heads, int64_t n_kv,
                               const at::Tensor& cosines, const at::Tensor& sines) {
    const at::Tensor joined = input.contiguous();
    const int64_t rows = joined.size(0);
    const int64_t length = joined.size(1);
    const int64_t dim = joined.size(3);
    const auto make = [&](int64_t heads) {  // laid out [B, T, heads, dim]: attention's output then joins without a copy
      return at::empty({rows, length, heads, dim}, joined.options()).transpose(1, 2);
    };
    const at::Tensor q = make(n_heads);
    const at::Tensor k = make(n_kv);
    const at::Tensor v = make(n_kv);
    turn_heads(view_of(joined.transpose(1, 2)), {view_of(q), view_of(k), view_of(v)}, {n_heads, n_kv, n_kv}, rows,
               length, dim / 2, cosines, sines, true);
    context->save_for_backward({cosines, sines});
    context->saved_data["n_heads"] = n_heads;
    context->saved_data["n_kv"] = n_kv;
    return {q, k, v};
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    const variable_list angles = context->get_saved_variables();
    const int64_t n_heads = context->saved_data["n_heads"].toInt();
    const int64_t n_kv = context->saved_data["n_kv"].toInt();
    const auto dense = [](const at::Tensor& grad) { return grad.stride(-1) == 1 ? grad : grad.contiguous(); };
    const at::Tensor dq = dense(grads[0]);
    const at::Tensor dk = dense(grads[1]);
    const at::Tensor dv = dense(grads[2]);
    const int64_t rows = dq.size(0);
    const int64_t length = dq.size(2);
    const int64_t dim = dq.size(3);
    const at::Tensor joined = at::empty({rows, length, n_heads + 2 * n_kv, dim}, dq.options());
    turn_heads(view_of(joined.transpose(1, 2)), {view_of(dq), view_of(dk), view_of(dv)}, {n_heads, n_kv, n_kv}, rows,
               length, dim / 2, angles[0], angles[1], false);
    return {joined, at::Tensor(), at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

at::Tensor rotate(const at::Tensor& x, const at::Tensor& cosines, const at::Tensor& sines) {
  const auto halves = x.chunk(2, -1);
  return at::cat({halves[0] * cosines - halves[1] * sines, halves[1] * cosines + halves[0] * sines}, -1);
}

}  // namespace

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps) {
  if (has_loops(x)) return RmsNorm::apply(x, weight, eps);
  return at::rms_norm(x, {weight.size(0)}, weight, eps);
}

at::Tensor gated_silu(const at::Tensor& x) {
  if (has_loops(x)) return GatedSilu::apply(x);
  const auto halves = x.chunk(2, -1);
  return at::silu(halves[0]) * halves[1];
}

QueryKeyValue split_and_rotate(const at::Tensor& joined, int64_t n_heads, int64_t n_kv_heads, const at::Tensor& cosines,
                               const at::Tensor& sines) {
  if (has_loops(joined)) {
    const variable_list parts = SplitAndRotate::apply(joined, n_heads, n_kv_heads, cosines, sines);
    return {parts[0], parts[1], parts[2]};
  }
  const at::Tensor turned = rotate(joined.narrow(2, 0, n_heads + n_kv_heads), cosines, sines).transpose(1, 2);
  return {turned.narrow(1, 0, n_heads), turned.narrow(1, n_heads, n_kv_heads),
          joined.narrow(2, n_heads + n_kv_heads, n_kv_heads).transpose(1, 2)};
}

}  // namespace deepsearch
