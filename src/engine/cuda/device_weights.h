// A model's weights on the device, in the shapes the kernels want: q, k and v joined, gate and up joined (in groups of
// 16 rows, 8 of each), heads and widths padded with zeros. One piece of memory, taken once; every set() writes into it.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "engine/cuda/device.h"
#include "model/model_config.h"
#include "model/weights.h"

namespace deepsearch::cuda {

// Sizes as stored.
struct PaddedShape {
  explicit PaddedShape(const ModelConfig& config);

  int64_t hidden = 0;
  int64_t head = 0;
  int64_t intermediate = 0;
  int64_t vocab = 0;
  int64_t qkv = 0;        // (heads + 2·kv_heads)·head
  int64_t attention = 0;  // heads·head
};

struct LayerWeights {
  float* input_norm = nullptr;
  void* qkv = nullptr;        // [qkv, hidden]
  float* qkv_bias = nullptr;  // [qkv] or null
  float* q_norm = nullptr;    // [head_dim] or null
  float* k_norm = nullptr;
  void* out = nullptr;        // [hidden rounded up to kOutputStep, attention]
  float* out_bias = nullptr;  // [hidden] or null
  float* post_norm = nullptr;
  void* gate_up = nullptr;  // [2·intermediate, hidden]
  void* down = nullptr;     // [hidden …, intermediate]
};

class DeviceWeights {
 public:
  // Takes the memory; all zeros until set().
  DeviceWeights(Device& device, const ModelConfig& config, DType type);

  // failure() when the source is of another shape. The source's tensors go through a pinned buffer, two halves in
  // turn, in their own type; the device converts. Each is released once it was read.
  void set(const WeightSource& source);

  const std::vector<LayerWeights>& layers() const { return layers_; }
  const void* embedding() const { return embedding_; }  // [vocab, hidden]
  const void* head() const { return head_; }            // [vocab, hidden]; the embedding when they are tied
  const float* final_norm() const { return final_norm_; }
  int64_t bytes() const { return memory_.bytes(); }

 private:
  // Where a tensor goes; its shape, for checking.
  struct Target {
    PlaceArgs place;
    int64_t rows = 0;
    int64_t columns = 0;
    bool set = false;
  };

  void take_memory(int pass);
  void* take(int64_t values, bool is_float);
  void add_layer(size_t index);
  void add_matrix(const std::string& name, void* to, int64_t rows, int64_t columns, int64_t to_columns);
  void add_heads(const std::string& prefix, int64_t heads, int64_t first_head, const LayerWeights& layer);
  void add_vector(const std::string& name, float* to, int64_t values);
  void copy(const TensorView& view, const Target& target);

  Device& device_;
  ModelConfig config_;
  PaddedShape shape_;
  DType type_;
  DeviceArray memory_;
  DeviceArray staged_;
  PinnedArray staging_;
  std::byte* base_ = nullptr;  // null while sizes are added up
  int64_t used_ = 0;
  int half_ = 0;
  std::unordered_map<std::string, Target> targets_;
  std::vector<LayerWeights> layers_;
  void* embedding_ = nullptr;
  void* head_ = nullptr;
  float* final_norm_ = nullptr;
};

}  // namespace deepsearch::cuda
