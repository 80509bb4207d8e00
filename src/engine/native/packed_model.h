// A model's weights in the order the CPU kernels read them, and the rotation tables. Immutable once made.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/native/aligned_buffer.h"
#include "engine/native/kernels.h"
#include "model/weights.h"

namespace deepsearch::native {

// A Linear [out, in] as panels of 16 output columns: [panels, in, 16], zeros in the columns past `out`.
struct PackedMatrix {
  AlignedBuffer values;
  int64_t k = 0;
  int64_t panels = 0;
};

struct PackedLayer {
  AlignedBuffer input_norm;  // [hidden padded]
  PackedMatrix qkv;          // out: heads·d of q, then k, then v, each unpadded
  PackedMatrix out;
  AlignedBuffer post_norm;
  PackedMatrix gate_up;  // out: gate padded to 16, then up
  PackedMatrix down;
};

struct PackedModel {
  ModelConfig config;
  AlignedBuffer embedding;  // [vocab, hidden padded]
  std::vector<PackedLayer> layers;
  AlignedBuffer final_norm;
  PackedMatrix head;
  // Rotary position embedding: [max_positions, head_dim/2] each.
  AlignedBuffer cos;
  AlignedBuffer sin;

  AttentionShape attention;
  int64_t hidden = 0;   // padded to kLanes, as the next four
  int64_t q_size = 0;   // n_heads · head_dim, not padded
  int64_t kv_size = 0;  // n_kv_heads · head_dim, not padded
  int64_t qkv_stride = 0;
  int64_t context_stride = 0;  // attention's output
  int64_t ff = 0;              // intermediate, padded
  int64_t vocab = 0;           // padded
};

PackedModel pack_model(const ModelWeights& weights);

// Floating-point operations of one decoded token with `positions` tokens of context (a multiply-add counts two).
double flops_per_token(const ModelConfig& config, int64_t positions);

}  // namespace deepsearch::native
