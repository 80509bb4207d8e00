// Attention over the tokens of a tree of segments, with gradients: each token attends to itself, to those before it in
// its segment, and to all of its segment's ancestors.
#pragma once

#include <memory>

#include <ATen/core/Tensor.h>

#include "learn/network/attention_plan.h"

namespace deepsearch {

// softmax(q·kᵀ / sqrt(head_dim)) · v.
//   q     [tokens, n_heads, head_dim]
//   k, v  [tokens, n_kv_heads, head_dim]; head h uses kv head h / (n_heads / n_kv_heads)
//   →     [tokens, n_heads, head_dim], of q's type
// All on the plan's device and of one type. The last dimension must be dense, which views of joined heads are.
//
//   fp32, bf16 and fp16 on the CPU   kernels of cpu/, in fp32; the same bits for any number of threads
//   bf16 and fp16 on a GPU           FlashAttention-2 over gathered paths (gather_layout)
//   anything else                    tree_attention_by_definition
at::Tensor tree_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                          const std::shared_ptr<const AttentionPlan>& plan);

// The same segment by segment, in plain ATen: any device and type, slow.
at::Tensor tree_attention_by_definition(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                        const AttentionPlan& plan);

}  // namespace deepsearch
