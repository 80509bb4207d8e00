#include "engine/native/native_backend.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "core/error.h"
#include "engine/native/native_kv.h"
#include "engine/native/packed_model.h"
#include "engine/native/thread_pool.h"

namespace deepsearch {
namespace native {
namespace {

constexpr int64_t kRowsPerPass = 1024;  // bounds the activations' memory
constexpr int64_t kRowsPerBlock = 48;   // a thread's unit: activations stay in its L1/L2 cache

class NativeBackend : public Backend {
 public:
  NativeBackend(const ModelConfig& config, int64_t threads, const Kernels& kernels)
      : config_(config),
        kernels_(kernels),
        pool_(threads),
        scores_(static_cast<size_t>(pool_.threads())),
        views_(static_cast<size_t>(pool_.threads())) {
    shape_ = {.n_heads = config.n_heads,
              .n_kv_heads = config.n_kv_heads,
              .head_dim = config.head_dim,
              .head_dim_padded = round_up(config.head_dim, kLanes)};
  }

  void set_weights(const ModelWeights& weights) override {
    if (!(weights.config == config_)) failure("engine: weights of another model shape than the engine was made for");
    model_.emplace(pack_model(weights));
  }

  std::unique_ptr<KvStore> make_store(int32_t tokens) override {
    auto store = std::make_unique<NativeKv>(shape_, config_.n_layers, kv_bytes_);
    store->resize(tokens);
    return store;
  }

  void forward(std::span<const BackendRow> rows, std::vector<float>& logits) override;
  int64_t kv_bytes() const override { return kv_bytes_; }
  std::string description() const override {
    return fmt::format("native CPU, {} thread{}, {}", pool_.threads(), pool_.threads() == 1 ? "" : "s", kernels_.name);
  }

 private:
  // One link of a row's path.
  struct Link {
    const NativeKv* kv;
    int64_t n;
  };

  void start_pass(std::span<const BackendRow> rows);
  void project(const PackedLayer& layer, int64_t index, std::span<const BackendRow> rows, int64_t first, int64_t last);
  void attend(const PackedLayer& layer, int64_t index, std::span<const BackendRow> rows, int64_t first, int64_t last,
              int64_t thread);
  void add_logits(std::span<const BackendRow> rows, float* logits);
  template <class Body>
  void for_blocks(int64_t n, Body body) {
    pool_.run((n + kRowsPerBlock - 1) / kRowsPerBlock, [&](int64_t block, int64_t thread) {
      body(block * kRowsPerBlock, std::min(n, (block + 1) * kRowsPerBlock), thread);
    });
  }
  void multiply(const float* a, int64_t stride, int64_t rows, const PackedMatrix& w, float* c, int64_t c_stride,
                bool add) const {
    kernels_.matmul(a, stride, rows, w.k, w.values.data(), w.panels, c, c_stride, add);
  }

  ModelConfig config_;
  const Kernels& kernels_;
  AttentionShape shape_;
  int64_t kv_bytes_ = 0;
  std::optional<PackedModel> model_;
  ThreadPool pool_;
  // The pass's activations, one line a row.
  AlignedBuffer x_;                              // [rows, hidden] residual stream
  AlignedBuffer normed_;                         // [rows, hidden]
  AlignedBuffer qkv_;                            // [rows, qkv_stride]
  AlignedBuffer context_;                        // [rows, context_stride]
  AlignedBuffer gate_up_;                        // [rows, 2·ff]
  AlignedBuffer logits_;                         // [rows, vocab padded]
  std::vector<Link> links_;                      // paths of all rows
  std::vector<size_t> links_begin_;              // [rows + 1]
  std::vector<AlignedBuffer> scores_;            // per thread
  std::vector<std::vector<SegmentView>> views_;  // per thread
};

void NativeBackend::start_pass(std::span<const BackendRow> rows) {
  const PackedModel& m = *model_;
  const auto n = static_cast<int64_t>(rows.size());
  x_.at_least(n * m.hidden);
  normed_.at_least(n * m.hidden);
  qkv_.at_least(n * m.qkv_stride);
  context_.at_least(n * m.context_stride);
  gate_up_.at_least(n * 2 * m.ff);
  links_.clear();
  links_begin_.assign(1, 0);
  int64_t longest = 0;
  for (int64_t r = 0; r < n; ++r) {
    const BackendRow& row = rows[static_cast<size_t>(r)];
    const int64_t position = row.segment->start + row.offset;
    const Token token = row.segment->tokens[static_cast<size_t>(row.offset)];
    if (position >= config_.max_positions) {
      failure("engine: position {} is past the model's max_positions {}", position, config_.max_positions);
    }
    if (token < 0 || token >= config_.vocab_size)
      failure("engine: token {} is not in a vocabulary of {}", token, config_.vocab_size);
    longest = std::max(longest, position + 1);
    std::copy_n(m.embedding.data() + token * m.hidden, m.hidden, x_.data() + r * m.hidden);
    for (const KvSegment* s = row.segment; s != nullptr; s = s->parent.get()) {
      const int64_t tokens = s == row.segment ? row.offset + 1 : s->size();
      if (tokens > 0) links_.push_back({static_cast<const NativeKv*>(s->store.get()), tokens});
    }
    std::reverse(links_.begin() + static_cast<std::ptrdiff_t>(links_begin_.back()), links_.end());
    links_begin_.push_back(links_.size());
  }
  for (AlignedBuffer& scores : scores_) {
    // Rounded up so that a growing context does not allocate at every step.
    scores.at_least(config_.n_heads * (round_up(longest, 256) + 2 * kLanes));
  }
}

// Up to the KV of this layer: normalise, project, rotate, store.
void NativeBackend::project(const PackedLayer& layer, int64_t index, std::span<const BackendRow> rows, int64_t first,
                            int64_t last) {
  const PackedModel& m = *model_;
  const int64_t n = last - first;
  float* normed = normed_.data() + first * m.hidden;
  float* qkv = qkv_.data() + first * m.qkv_stride;
  kernels_.rms_norm(x_.data() + first * m.hidden, m.hidden, n, config_.hidden_size, layer.input_norm.data(),
                    static_cast<float>(config_.rms_norm_eps), normed, m.hidden);
  multiply(normed, m.hidden, n, layer.qkv, qkv, m.qkv_stride, false);
  const int64_t half = shape_.head_dim / 2;
  const float scale = 1.0F / std::sqrt(static_cast<float>(shape_.head_dim));
  for (int64_t r = 0; r < n; ++r, qkv += m.qkv_stride) {
    const BackendRow& row = rows[static_cast<size_t>(first + r)];
    const int64_t position = row.segment->start + row.offset;
    const float* cos = m.cos.data() + position * half;
    const float* sin = m.sin.data() + position * half;
    kernels_.rope(qkv, shape_.n_heads, shape_.head_dim, cos, sin, scale);
    if (!row.write) continue;
    kernels_.rope(qkv + m.q_size, shape_.n_kv_heads, shape_.head_dim, cos, sin, 1.0F);
    static_cast<NativeKv*>(row.segment->store.get())
        ->write(index, row.offset, qkv + m.q_size, qkv + m.q_size + m.kv_size);
  }
}

// From the KV of this layer to its output: attention and the feed-forward block.
void NativeBackend::attend(const PackedLayer& layer, int64_t index, std::span<const BackendRow> rows, int64_t first,
                           int64_t last, int64_t thread) {
  const PackedModel& m = *model_;
  const int64_t n = last - first;
  std::vector<SegmentView>& views = views_[static_cast<size_t>(thread)];
  float* scores = scores_[static_cast<size_t>(thread)].data();
  for (int64_t r = first; r < last; ++r) {
    const auto at = static_cast<size_t>(r);
    views.clear();
    for (size_t i = links_begin_[at]; i < links_begin_[at + 1]; ++i) {
      views.push_back(links_[i].kv->view(index, links_[i].n));
    }
    const int64_t positions = rows[at].segment->start + rows[at].offset + 1;
    kernels_.attention(shape_, qkv_.data() + r * m.qkv_stride, views.data(), static_cast<int64_t>(views.size()),
                       positions, scores, context_.data() + r * m.context_stride);
  }
  float* x = x_.data() + first * m.hidden;
  float* normed = normed_.data() + first * m.hidden;
  float* gate_up = gate_up_.data() + first * 2 * m.ff;
  multiply(context_.data() + first * m.context_stride, m.context_stride, n, layer.out, x, m.hidden, true);
  kernels_.rms_norm(x, m.hidden, n, config_.hidden_size, layer.post_norm.data(),
                    static_cast<float>(config_.rms_norm_eps), normed, m.hidden);
  multiply(normed, m.hidden, n, layer.gate_up, gate_up, 2 * m.ff, false);
  for (int64_t r = 0; r < n; ++r) {
    float* gate = gate_up + r * 2 * m.ff;
    kernels_.swiglu(gate, gate + m.ff, m.ff, gate);
  }
  multiply(gate_up, 2 * m.ff, n, layer.down, x, m.hidden, true);
}

void NativeBackend::add_logits(std::span<const BackendRow> rows, float* logits) {
  const PackedModel& m = *model_;
  // The rows that want logits are moved together; x_ is not needed afterwards.
  int64_t n = 0;
  for (size_t r = 0; r < rows.size(); ++r) {
    if (!rows[r].wants_logits) continue;
    if (n != static_cast<int64_t>(r)) {
      std::copy_n(x_.data() + static_cast<int64_t>(r) * m.hidden, m.hidden, x_.data() + n * m.hidden);
    }
    ++n;
  }
  logits_.at_least(n * m.vocab);
  for_blocks(n, [&](int64_t first, int64_t last, int64_t) {
    float* normed = normed_.data() + first * m.hidden;
    float* out = logits_.data() + first * m.vocab;
    kernels_.rms_norm(x_.data() + first * m.hidden, m.hidden, last - first, config_.hidden_size, m.final_norm.data(),
                      static_cast<float>(config_.rms_norm_eps), normed, m.hidden);
    multiply(normed, m.hidden, last - first, m.head, out, m.vocab, false);
    for (int64_t r = first; r < last; ++r) {
      std::copy_n(logits_.data() + r * m.vocab, config_.vocab_size, logits + r * config_.vocab_size);
    }
  });
}

void NativeBackend::forward(std::span<const BackendRow> rows, std::vector<float>& logits) {
  if (!model_) failure("engine: no weights were set");
  const auto wanted = std::count_if(rows.begin(), rows.end(), [](const BackendRow& row) { return row.wants_logits; });
  logits.resize(static_cast<size_t>(wanted * config_.vocab_size));
  float* out = logits.data();
  for (size_t begin = 0; begin < rows.size(); begin += kRowsPerPass) {
    const std::span<const BackendRow> pass = rows.subspan(begin, std::min<size_t>(kRowsPerPass, rows.size() - begin));
    const auto n = static_cast<int64_t>(pass.size());
    start_pass(pass);
    // Layer by layer over the whole pass: a row sees the KV that rows before it in this pass wrote.
    for (int64_t i = 0; i < config_.n_layers; ++i) {
      const PackedLayer& layer = model_->layers[static_cast<size_t>(i)];
      for_blocks(n, [&](int64_t first, int64_t last, int64_t) { project(layer, i, pass, first, last); });
      for_blocks(n, [&](int64_t first, int64_t last, int64_t thread) { attend(layer, i, pass, first, last, thread); });
    }
    add_logits(pass, out);
    out += std::count_if(pass.begin(), pass.end(), [](const BackendRow& row) { return row.wants_logits; }) *
           config_.vocab_size;
  }
}

}  // namespace
}  // namespace native

std::unique_ptr<Backend> make_native_backend(const ModelConfig& config, int64_t threads,
                                             const native::Kernels& kernels) {
  return std::make_unique<native::NativeBackend>(config, threads, kernels);
}

}  // namespace deepsearch
