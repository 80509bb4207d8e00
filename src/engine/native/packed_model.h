// A model's weights in the order the CPU kernels read them. The memory is laid out once, for
// a shape; filling it again writes into the same places.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/native/kernels.h"
#include "engine/native/memory.h"
#include "engine/native/packed_matrix.h"
#include "model/weights.h"

namespace deepsearch::native {

struct PackedLayer {
  float* input_norm = nullptr;  // [hidden padded]
  PackedMatrix qkv;             // out: heads·d of q, then k, then v, each unpadded
  float* qkv_bias = nullptr;    // [qkv padded], when the model has it
  float* q_norm = nullptr;      // [head_dim], when the model has it; k_norm too
  float* k_norm = nullptr;
  PackedMatrix out;
  float* out_bias = nullptr;   // [hidden padded], when the model has it
  float* post_norm = nullptr;  // [hidden padded]
  PackedMatrix gate_up;        // out: 16 columns of gate, 16 of up, …
  PackedMatrix down;
};

// Sizes in floats; "padded" is to kLanes.
struct Widths {
  explicit Widths(const ModelConfig& config);
  int64_t hidden;   // padded
  int64_t q;        // n_heads · head_dim, not padded
  int64_t kv;       // n_kv_heads · head_dim, not padded
  int64_t qkv;      // padded
  int64_t context;  // attention's output, padded
  int64_t ff;       // intermediate, padded
  int64_t vocab;    // padded
};

class PackedModel {
 public:
  // Lays out and reserves the memory; nothing is touched yet.
  PackedModel(const ModelConfig& config, WeightStorage storage);
  PackedModel(const PackedModel&) = delete;
  PackedModel& operator=(const PackedModel&) = delete;

  // Takes every tensor over, one after the other, releasing each. failure() when the shapes differ or a tensor is
  // missing. Allocates nothing that depends on the weights' size.
  void fill(const WeightSource& weights);
  bool filled() const { return filled_; }
  int64_t bytes() const { return memory_.bytes(); }

  const Widths& widths() const { return widths_; }
  const PackedLayer& layer(int64_t index) const { return layers_[static_cast<size_t>(index)]; }
  const float* final_norm() const { return final_norm_; }
  const PackedMatrix& head() const { return head_; }
  // The token's row of the embedding, [hidden padded].
  void embed(Token token, float* out) const;

 private:
  // Where a tensor goes.
  struct Place {
    std::string name;
    int64_t rows = 1;
    int64_t columns = 0;
    PackedMatrix* matrix = nullptr;  // or
    float* vector = nullptr;
    int64_t first_column = 0;
    int64_t panel_step = 1;
  };
  template <class Allocate>
  void lay_out(const Allocate& allocate);
  void add_places();
  void take(const Place& place, const TensorView& tensor);

  ModelConfig config_;
  WeightStorage storage_;
  Widths widths_;
  Pages memory_;
  PackedMatrix embedding_;  // unless tied to the head
  std::vector<PackedLayer> layers_;
  float* final_norm_ = nullptr;
  PackedMatrix head_;
  std::vector<Place> places_;
  std::vector<float> row_;  // scratch of fill
  bool filled_ = false;
};

// Floating-point operations of one decoded token with `positions` tokens of context (a multiply-add counts two).
double flops_per_token(const ModelConfig& config, int64_t positions);

}  // namespace deepsearch::native
