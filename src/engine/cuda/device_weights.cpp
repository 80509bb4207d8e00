#include "engine/cuda/device_weights.h"

#include <algorithm>
#include <cstring>

#include "core/error.h"

namespace deepsearch::cuda {
namespace {

constexpr int64_t kStagingBytes = int64_t{32} << 20;  // two halves

int64_t round_up(int64_t value, int64_t step) {
  return (value + step - 1) / step * step;
}

int64_t padded_head(int64_t head_dim) {
  for (const int size : kHeadSizes) {
    if (head_dim <= size) return size;
  }
  bad_input("the CUDA engine knows heads of up to {} values, and this model's have {}", kHeadSizes.back(), head_dim);
}

}  // namespace

PaddedShape::PaddedShape(const ModelConfig& config)
    : hidden(round_up(config.hidden_size, kWidthStep)),
      head(padded_head(config.head_dim)),
      intermediate(round_up(config.intermediate_size, kWidthStep)),
      vocab(round_up(config.vocab_size, kOutputStep)),
      qkv((config.n_heads + 2 * config.n_kv_heads) * head),
      attention(config.n_heads * head) {}

DeviceWeights::DeviceWeights(Device& device, const ModelConfig& config, DType type)
    : device_(device), config_(config), shape_(config), type_(type) {
  take_memory(0);
  memory_ = DeviceArray(device_, used_, "the model's weights", "a smaller model or a 16-bit [engine].weights");
  base_ = memory_.as<std::byte>();
  take_memory(1);
  staging_ = PinnedArray(device_, kStagingBytes, "staging weights");
  staged_ = DeviceArray(device_, kStagingBytes, "staging weights", "[engine].kv_memory_mb");
}

// Twice: to add up sizes, and to hand out addresses.
void DeviceWeights::take_memory(int pass) {
  used_ = 0;
  targets_.clear();
  layers_.assign(static_cast<size_t>(config_.n_layers), {});
  embedding_ = take(shape_.vocab * shape_.hidden, false);
  add_matrix("model.embed_tokens.weight", embedding_, config_.vocab_size, config_.hidden_size, shape_.hidden);
  for (size_t i = 0; i < layers_.size(); ++i) add_layer(i);
  final_norm_ = static_cast<float*>(take(config_.hidden_size, true));
  add_vector("model.norm.weight", final_norm_, config_.hidden_size);
  head_ = embedding_;
  if (!config_.tie_embeddings) {
    head_ = take(shape_.vocab * shape_.hidden, false);
    add_matrix("lm_head.weight", head_, config_.vocab_size, config_.hidden_size, shape_.hidden);
  }
  if (pass == 0) targets_.clear();
}

void* DeviceWeights::take(int64_t values, bool is_float) {
  std::byte* at = base_ == nullptr ? nullptr : base_ + used_;
  used_ += round_up(values * (is_float ? 4 : bytes_of(type_)), 256);
  return at;
}

void DeviceWeights::add_layer(size_t index) {
  LayerWeights& layer = layers_[index];
  const std::string prefix = fmt::format("model.layers.{}.", index);
  const auto vector = [&](const std::string& name, int64_t values) {
    auto* to = static_cast<float*>(take(values, true));
    add_vector(prefix + name, to, values);
    return to;
  };
  layer.input_norm = vector("input_layernorm.weight", config_.hidden_size);
  layer.qkv = take(shape_.qkv * shape_.hidden, false);
  if (config_.qkv_bias) layer.qkv_bias = static_cast<float*>(take(shape_.qkv, true));
  add_heads(prefix + "self_attn.q_proj", config_.n_heads, 0, layer);
  add_heads(prefix + "self_attn.k_proj", config_.n_kv_heads, config_.n_heads, layer);
  add_heads(prefix + "self_attn.v_proj", config_.n_kv_heads, config_.n_heads + config_.n_kv_heads, layer);
  if (config_.qk_norm) {
    layer.q_norm = vector("self_attn.q_norm.weight", config_.head_dim);
    layer.k_norm = vector("self_attn.k_norm.weight", config_.head_dim);
  }
  const std::string out = prefix + "self_attn.o_proj.weight";
  layer.out = take(shape_.hidden * shape_.attention, false);
  add_matrix(out, layer.out, config_.hidden_size, config_.n_heads * config_.head_dim, shape_.attention);
  targets_[out].place.column_run = config_.head_dim;
  targets_[out].place.column_stride = shape_.head;
  if (config_.out_bias) layer.out_bias = vector("self_attn.o_proj.bias", config_.hidden_size);
  layer.post_norm = vector("post_attention_layernorm.weight", config_.hidden_size);
  layer.gate_up = take(2 * shape_.intermediate * shape_.hidden, false);
  for (const int64_t which : {0, 1}) {
    const std::string name = prefix + (which == 0 ? "mlp.gate_proj.weight" : "mlp.up_proj.weight");
    add_matrix(name, layer.gate_up, config_.intermediate_size, config_.hidden_size, shape_.hidden);
    PlaceArgs& place = targets_[name].place;
    place.first_row = 8 * which;
    place.run = 8;
    place.run_stride = 16;
  }
  layer.down = take(shape_.hidden * shape_.intermediate, false);
  add_matrix(prefix + "mlp.down_proj.weight", layer.down, config_.hidden_size, config_.intermediate_size,
             shape_.intermediate);
}

void DeviceWeights::add_matrix(const std::string& name, void* to, int64_t rows, int64_t columns, int64_t to_columns) {
  PlaceArgs place{
      .to = to, .columns = columns, .column_run = columns, .column_stride = to_columns, .to_columns = to_columns};
  targets_[name] = {.place = place, .rows = rows, .columns = columns};
}

void DeviceWeights::add_heads(const std::string& prefix, int64_t heads, int64_t first_head, const LayerWeights& layer) {
  const int64_t rows = heads * config_.head_dim;
  const auto spread = [&](PlaceArgs& place) {
    place.first_row = first_head * shape_.head;
    place.run = config_.head_dim;
    place.run_stride = shape_.head;
  };
  add_matrix(prefix + ".weight", layer.qkv, rows, config_.hidden_size, shape_.hidden);
  spread(targets_[prefix + ".weight"].place);
  if (!config_.qkv_bias) return;
  add_vector(prefix + ".bias", layer.qkv_bias, rows);
  PlaceArgs& bias = targets_[prefix + ".bias"].place;
  spread(bias);
}

// A matrix of one column.
void DeviceWeights::add_vector(const std::string& name, float* to, int64_t values) {
  add_matrix(name, to, values, 1, 1);
  targets_[name].place.to_float = true;
}

void DeviceWeights::set(const WeightSource& source) {
  if (source.tensor_count() != targets_.size()) {
    failure("CUDA engine: {} weight tensors, {} expected", source.tensor_count(), targets_.size());
  }
  for (auto& [name, target] : targets_) target.set = false;
  for (size_t i = 0; i < source.tensor_count(); ++i) {
    const TensorView view = source.view(i);
    const auto found = targets_.find(*view.name);
    if (found == targets_.end() || found->second.set) failure("CUDA engine: unexpected weight tensor '{}'", *view.name);
    Target& target = found->second;
    if (view.count != target.rows * target.columns || view.shape.empty() || view.shape[0] != target.rows) {
      failure("CUDA engine: weight tensor '{}' has {} values, {}×{} expected", *view.name, view.count, target.rows,
              target.columns);
    }
    copy(view, target);
    target.set = true;
    source.release(i);
  }
  device_.synchronize();
}

void DeviceWeights::copy(const TensorView& view, const Target& target) {
  const int64_t half_bytes = kStagingBytes / 2;
  const int64_t row_bytes = target.columns * bytes_of(view.type);
  // Blocks of a grid that a launch may have are many more than rows that fit.
  const int64_t rows_at_once = std::min<int64_t>(half_bytes / row_bytes, 1 << 20);
  if (rows_at_once == 0) failure("CUDA engine: a row of '{}' is larger than {} bytes", *view.name, half_bytes);
  for (int64_t row = 0; row < target.rows; row += rows_at_once) {
    const int64_t n = std::min(rows_at_once, target.rows - row);
    const int64_t at = half_ * half_bytes;
    device_.wait(half_);
    std::memcpy(staging_.data() + at, view.data + row * row_bytes, static_cast<size_t>(n * row_bytes));
    device_.upload(staged_.as<std::byte>() + at, staging_.data() + at, n * row_bytes);
    PlaceArgs place = target.place;
    place.from = staged_.as<std::byte>() + at;
    place.type = view.type;
    place.rows = n;
    place.source_row = row;
    device_.kernels().place(place);
    device_.mark(half_);
    half_ ^= 1;
  }
}

}  // namespace deepsearch::cuda
