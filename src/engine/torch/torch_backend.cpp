#include "engine/torch/torch_backend.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>
#include <utility>

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/zeros.h>
#include <fmt/format.h>

#include "core/error.h"

namespace deepsearch {
namespace {

constexpr size_t kRowsPerPass = 2048;         // bounds the activations' memory
constexpr int64_t kSlotsPerGather = 1 << 17;  // rows × longest context gathered at once: bounds the attention's memory
constexpr int64_t kFirstSlots = 1024;         // the pool grows by doubling

// KV of token slots: [layers, slots, kv_heads, head_dim] each. Grows when it runs out; slots are reused.
class SlotPool {
 public:
  SlotPool(const ModelConfig& config, at::Device device) : config_(config), device_(device) {}

  int64_t take() {
    if (free_.empty()) grow();
    const int64_t slot = free_.back();
    free_.pop_back();
    return slot;
  }
  void give_back(int64_t slot) { free_.push_back(slot); }
  int64_t bytes_in_use() const {
    const int64_t slot_bytes =
        2 * config_.n_layers * config_.n_kv_heads * config_.head_dim * static_cast<int64_t>(sizeof(float));
    return (size_ - static_cast<int64_t>(free_.size())) * slot_bytes;
  }
  at::Tensor k(int64_t layer) const { return k_.select(0, layer); }
  at::Tensor v(int64_t layer) const { return v_.select(0, layer); }

 private:
  void grow() {
    const int64_t added = std::max(kFirstSlots, size_);
    const at::Tensor more = at::zeros({config_.n_layers, added, config_.n_kv_heads, config_.head_dim},
                                      at::TensorOptions().dtype(at::kFloat).device(device_));
    k_ = size_ == 0 ? more.clone() : at::cat({k_, more}, 1);
    v_ = size_ == 0 ? more.clone() : at::cat({v_, more}, 1);
    for (int64_t slot = size_ + added; slot-- > size_;) free_.push_back(slot);
    size_ += added;
  }

  const ModelConfig& config_;
  at::Device device_;
  at::Tensor k_;
  at::Tensor v_;
  int64_t size_ = 0;
  std::vector<int64_t> free_;
};

class TorchKv : public KvStore {
 public:
  explicit TorchKv(SlotPool& pool) : pool_(pool) {}
  ~TorchKv() override { TorchKv::resize(0); }
  TorchKv(const TorchKv&) = delete;
  TorchKv& operator=(const TorchKv&) = delete;

  void resize(int32_t tokens) override {
    while (capacity() < tokens) slots_.push_back(pool_.take());
    while (capacity() > tokens) {
      pool_.give_back(slots_.back());
      slots_.pop_back();
    }
  }
  int32_t capacity() const override { return static_cast<int32_t>(slots_.size()); }
  const std::vector<int64_t>& slots() const { return slots_; }

 private:
  SlotPool& pool_;
  std::vector<int64_t> slots_;
};

const std::vector<int64_t>& slots_of(const KvSegment& segment) {
  return static_cast<const TorchKv*>(segment.store.get())->slots();
}

// Slots of a row's path, the row's own last.
std::vector<int64_t> path_slots(const BackendRow& row) {
  std::vector<int64_t> slots(static_cast<size_t>(row.segment->start + row.offset + 1));
  for (const KvSegment* s = row.segment; s != nullptr; s = s->parent.get()) {
    const int32_t n = s == row.segment ? row.offset + 1 : s->size();
    if (n > 0) std::copy_n(slots_of(*s).begin(), n, slots.begin() + s->start);
  }
  return slots;
}

struct Layer {
  at::Tensor input_norm, q, k, v, out, post_norm, gate, up, down;
};

// Rows whose attention is computed by one call.
struct Group {
  int64_t first = 0;  // rows [first, first + n) of the pass
  int64_t n = 0;
  at::Tensor slots;  // a run of one segment: [context]; otherwise [n, longest context], padded with slot 0
  at::Tensor mask;   // bool, true: attend. A run: [n, context]; otherwise [n, 1, 1, longest]
  bool run = false;  // consecutive tokens of one segment (a prefill)
};

class TorchBackend : public Backend {
 public:
  TorchBackend(const ModelConfig& config, const std::string& device, int64_t threads)
      : config_(config), device_(device), pool_(config_, device_), threads_(threads) {
    at::set_num_threads(static_cast<int>(threads));
  }

  void set_weights(const ModelWeights& weights) override;
  std::unique_ptr<KvStore> make_store(int32_t tokens) override {
    auto store = std::make_unique<TorchKv>(pool_);
    store->resize(tokens);
    return store;
  }
  void forward(std::span<const BackendRow> rows, std::vector<float>& logits) override;
  int64_t kv_bytes() const override { return pool_.bytes_in_use(); }
  std::string description() const override {
    return fmt::format("LibTorch on {}, {} thread{}, fp32", device_.str(), threads_, threads_ == 1 ? "" : "s");
  }

 private:
  at::Tensor longs(const std::vector<int64_t>& values) const {
    return at::from_blob(const_cast<int64_t*>(values.data()), {static_cast<int64_t>(values.size())}, at::kLong)
        .clone()
        .to(device_);
  }
  at::Tensor load(const ModelWeights& weights, const std::string& name) const {
    const HostTensor& tensor = weights.at(name);
    return at::from_blob(const_cast<float*>(tensor.values.data()), tensor.shape, at::kFloat).clone().to(device_);
  }
  at::Tensor norm(const at::Tensor& x, const at::Tensor& weight) const {
    return x * at::rsqrt(x.square().mean(-1, true) + config_.rms_norm_eps) * weight;
  }
  at::Tensor rotate(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin) const;
  std::vector<Group> make_groups(std::span<const BackendRow> rows) const;
  Group make_run(std::span<const BackendRow> rows, int64_t first, int64_t n) const;
  Group make_decode(std::span<const BackendRow> rows, int64_t first, int64_t n) const;
  at::Tensor attend(const Group& group, const at::Tensor& q, int64_t layer) const;
  at::Tensor run_pass(std::span<const BackendRow> rows);

  const ModelConfig config_;
  at::Device device_;
  SlotPool pool_;
  int64_t threads_;
  bool has_weights_ = false;
  at::Tensor embedding_, final_norm_, head_;
  std::vector<Layer> layers_;
  at::Tensor cos_, sin_;  // [max_positions, head_dim/2]
};

void TorchBackend::set_weights(const ModelWeights& weights) {
  if (!(weights.config == config_)) failure("engine: weights of another model shape than the engine was made for");
  const at::NoGradGuard no_grad;
  embedding_ = load(weights, "model.embed_tokens.weight");
  layers_.clear();
  for (int64_t i = 0; i < config_.n_layers; ++i) {
    const std::string prefix = fmt::format("model.layers.{}.", i);
    layers_.push_back({.input_norm = load(weights, prefix + "input_layernorm.weight"),
                       .q = load(weights, prefix + "self_attn.q_proj.weight"),
                       .k = load(weights, prefix + "self_attn.k_proj.weight"),
                       .v = load(weights, prefix + "self_attn.v_proj.weight"),
                       .out = load(weights, prefix + "self_attn.o_proj.weight"),
                       .post_norm = load(weights, prefix + "post_attention_layernorm.weight"),
                       .gate = load(weights, prefix + "mlp.gate_proj.weight"),
                       .up = load(weights, prefix + "mlp.up_proj.weight"),
                       .down = load(weights, prefix + "mlp.down_proj.weight")});
  }
  final_norm_ = load(weights, "model.norm.weight");
  head_ = config_.tie_embeddings ? embedding_ : load(weights, "lm_head.weight");
  // In double, as the native backend's tables.
  const at::Tensor powers =
      at::arange(0, config_.head_dim / 2, at::kDouble) * (-2.0 / static_cast<double>(config_.head_dim));
  const at::Tensor frequencies = (powers * std::log(config_.rope_theta)).exp();
  const at::Tensor angles = at::arange(0, config_.max_positions, at::kDouble).unsqueeze(1) * frequencies.unsqueeze(0);
  cos_ = angles.cos().to(at::kFloat).to(device_);
  sin_ = angles.sin().to(at::kFloat).to(device_);
  has_weights_ = true;
}

// x: [rows, heads, head_dim]; cos, sin: [rows, 1, head_dim/2]. Hugging Face's rotate_half.
at::Tensor TorchBackend::rotate(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin) const {
  const int64_t half = config_.head_dim / 2;
  const at::Tensor low = x.narrow(-1, 0, half);
  const at::Tensor high = x.narrow(-1, half, half);
  return at::cat({low * cos - high * sin, high * cos + low * sin}, -1);
}

Group TorchBackend::make_run(std::span<const BackendRow> rows, int64_t first, int64_t n) const {
  Group group{.first = first, .n = n, .slots = {}, .mask = {}, .run = true};
  const std::vector<int64_t> slots = path_slots(rows[static_cast<size_t>(first + n - 1)]);
  const auto context = static_cast<int64_t>(slots.size());
  group.slots = longs(slots);
  const at::Tensor key = at::arange(0, context, at::kLong).unsqueeze(0);
  const at::Tensor query = at::arange(context - n, context, at::kLong).unsqueeze(1);
  group.mask = key.le(query).to(device_);
  return group;
}

Group TorchBackend::make_decode(std::span<const BackendRow> rows, int64_t first, int64_t n) const {
  Group group{.first = first, .n = n, .slots = {}, .mask = {}, .run = false};
  int64_t longest = 0;
  std::vector<int64_t> lengths;
  for (int64_t r = first; r < first + n; ++r) {
    const BackendRow& row = rows[static_cast<size_t>(r)];
    lengths.push_back(row.segment->start + row.offset + 1);
    longest = std::max(longest, lengths.back());
  }
  std::vector<int64_t> slots(static_cast<size_t>(n * longest), 0);
  for (int64_t r = 0; r < n; ++r) {
    const std::vector<int64_t> path = path_slots(rows[static_cast<size_t>(first + r)]);
    std::copy(path.begin(), path.end(), slots.begin() + r * longest);
  }
  group.slots = longs(slots).view({n, longest});
  const at::Tensor key = at::arange(0, longest, at::kLong).unsqueeze(0);
  group.mask = key.to(device_).lt(longs(lengths).unsqueeze(1)).view({n, 1, 1, longest});
  return group;
}

std::vector<Group> TorchBackend::make_groups(std::span<const BackendRow> rows) const {
  const auto n = static_cast<int64_t>(rows.size());
  const auto run_length = [&](int64_t first) {
    int64_t last = first + 1;
    while (last < n && rows[static_cast<size_t>(last)].segment == rows[static_cast<size_t>(first)].segment &&
           rows[static_cast<size_t>(last)].offset == rows[static_cast<size_t>(last - 1)].offset + 1) {
      ++last;
    }
    return last - first;
  };
  std::vector<Group> groups;
  for (int64_t first = 0; first < n;) {
    if (const int64_t run = run_length(first); run > 1) {
      groups.push_back(make_run(rows, first, run));
      first += run;
      continue;
    }
    int64_t last = first;
    int64_t longest = 0;
    while (last < n && run_length(last) == 1) {
      const BackendRow& row = rows[static_cast<size_t>(last)];
      const int64_t wider = std::max<int64_t>(longest, row.segment->start + row.offset + 1);
      if (last > first && wider * (last - first + 1) > kSlotsPerGather) break;
      longest = wider;
      ++last;
    }
    groups.push_back(make_decode(rows, first, last - first));
    first = last;
  }
  return groups;
}

// q: [rows of the group, heads, head_dim] → [rows, heads · head_dim]
at::Tensor TorchBackend::attend(const Group& group, const at::Tensor& q, int64_t layer) const {
  const int64_t repeat = config_.n_heads / config_.n_kv_heads;
  const int64_t batch = group.run ? 1 : group.n;
  const int64_t context = group.slots.size(-1);
  const auto gather = [&](const at::Tensor& pool) {  // → [batch, heads, context, head_dim]
    const at::Tensor picked = pool.index_select(0, group.slots.view({-1}))
                                  .view({batch, context, config_.n_kv_heads, config_.head_dim})
                                  .transpose(1, 2);
    return repeat == 1 ? picked : picked.repeat_interleave(repeat, 1);
  };
  const at::Tensor query = group.run ? q.transpose(0, 1).unsqueeze(0) : q.unsqueeze(2);  // [batch, heads, tokens, d]
  const at::Tensor mixed =
      at::scaled_dot_product_attention(query, gather(pool_.k(layer)), gather(pool_.v(layer)), group.mask);
  return (group.run ? mixed.squeeze(0).transpose(0, 1) : mixed.squeeze(2)).reshape({group.n, -1});
}

// → logits of the rows that want them, [wanted, vocab], on the device
at::Tensor TorchBackend::run_pass(std::span<const BackendRow> rows) {
  const auto n = static_cast<int64_t>(rows.size());
  std::vector<int64_t> tokens, positions, write_rows, write_slots, wanted;
  for (int64_t r = 0; r < n; ++r) {
    const BackendRow& row = rows[static_cast<size_t>(r)];
    tokens.push_back(row.segment->tokens[static_cast<size_t>(row.offset)]);
    positions.push_back(row.segment->start + row.offset);
    if (positions.back() >= config_.max_positions) {
      failure("engine: position {} is past the model's max_positions {}", positions.back(), config_.max_positions);
    }
    if (row.write) {
      write_rows.push_back(r);
      write_slots.push_back(slots_of(*row.segment)[static_cast<size_t>(row.offset)]);
    }
    if (row.wants_logits) wanted.push_back(r);
  }
  const at::Tensor at_positions = longs(positions);
  const at::Tensor cos = cos_.index_select(0, at_positions).unsqueeze(1);
  const at::Tensor sin = sin_.index_select(0, at_positions).unsqueeze(1);
  const at::Tensor writers = longs(write_rows);
  const at::Tensor targets = longs(write_slots);
  const std::vector<Group> groups = make_groups(rows);

  at::Tensor x = embedding_.index_select(0, longs(tokens));
  for (int64_t i = 0; i < config_.n_layers; ++i) {
    const Layer& layer = layers_[static_cast<size_t>(i)];
    const at::Tensor normed = norm(x, layer.input_norm);
    const at::Tensor q = rotate(at::linear(normed, layer.q).view({n, config_.n_heads, config_.head_dim}), cos, sin);
    const at::Tensor k = rotate(at::linear(normed, layer.k).view({n, config_.n_kv_heads, config_.head_dim}), cos, sin);
    const at::Tensor v = at::linear(normed, layer.v).view({n, config_.n_kv_heads, config_.head_dim});
    if (!write_rows.empty()) {
      pool_.k(i).index_copy_(0, targets, k.index_select(0, writers));
      pool_.v(i).index_copy_(0, targets, v.index_select(0, writers));
    }
    std::vector<at::Tensor> mixed;
    for (const Group& group : groups) mixed.push_back(attend(group, q.narrow(0, group.first, group.n), i));
    x = x + at::linear(at::cat(mixed, 0), layer.out);
    const at::Tensor inner = norm(x, layer.post_norm);
    x = x + at::linear(at::silu(at::linear(inner, layer.gate)) * at::linear(inner, layer.up), layer.down);
  }
  return at::linear(norm(x.index_select(0, longs(wanted)), final_norm_), head_);
}

void TorchBackend::forward(std::span<const BackendRow> rows, std::vector<float>& logits) {
  if (!has_weights_) failure("engine: no weights were set");
  const at::NoGradGuard no_grad;
  logits.clear();
  for (size_t begin = 0; begin < rows.size(); begin += kRowsPerPass) {
    const at::Tensor out =
        run_pass(rows.subspan(begin, std::min(kRowsPerPass, rows.size() - begin))).to(at::kCPU).contiguous();
    const float* values = out.const_data_ptr<float>();
    logits.insert(logits.end(), values, values + out.numel());
  }
}

}  // namespace

std::unique_ptr<Backend> make_torch_backend(const ModelConfig& config, const std::string& device, int64_t threads) {
  return std::make_unique<TorchBackend>(config, device, threads);
}

bool torch_cuda_available() {
  return at::hasCUDA();
}

}  // namespace deepsearch
