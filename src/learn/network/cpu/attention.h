// fp32 attention of a packed batch on the CPU: the kernels of kernels.h over all query tiles, in LibTorch's threads.
// Results depend neither on the number of threads nor on the instruction set.
#pragma once

#include "learn/network/attention_plan.h"
#include "learn/network/cpu/kernels.h"

namespace deepsearch::network {

struct AttentionShape {
  int64_t n_heads = 0, n_kv_heads = 0, head_dim = 0;  // head h uses kv head h / (n_heads / n_kv_heads)
};

// Heads of token t at data + t · token + h · head. lse: [tokens, n_heads].
void attention_forward(const AttentionPlan& plan, const AttentionShape& shape, const ConstHeads& q, const ConstHeads& k,
                       const ConstHeads& v, const Heads& out, float* lse, const Kernels& kernels = best_kernels());

struct AttentionGradients {
  Heads dq, dk, dv;  // written
};
void attention_backward(const AttentionPlan& plan, const AttentionShape& shape, const ConstHeads& q,
                        const ConstHeads& k, const ConstHeads& v, const ConstHeads& out, const float* lse,
                        const ConstHeads& dout, const AttentionGradients& to, const Kernels& kernels = best_kernels());

}  // namespace deepsearch::network
