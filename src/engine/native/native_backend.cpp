#include "engine/native/native_backend.h"

#include <algorithm>
#include <atomic>
#include <cmath>

#include <fmt/format.h>

#include "core/error.h"
#include "core/memory.h"
#include "engine/native/attention.h"
#include "engine/native/kv_blocks.h"
#include "engine/native/packed_model.h"
#include "engine/native/rotations.h"
#include "engine/native/team.h"
#include "engine/sampler.h"

namespace deepsearch {
namespace native {
namespace {

constexpr int64_t kBlockFloats = int64_t{64} * 1024;  // of a product's input rows worked on together: a core's L2 cache
constexpr int64_t kSharesPerThread = 4;               // so that a slower thread does not hold up the others
constexpr int64_t kRowsPerShare = 8;                  // of work done row by row
constexpr int64_t kLogitFloats = 16 << 20;            // of logits at a time, 64 MB

class NativeBackend : public Backend {
 public:
  NativeBackend(const ModelConfig& config, int64_t threads, WeightStorage storage, const Kernels& kernels)
      : config_(config),
        storage_(storage),
        kernels_(kernels),
        model_(config, storage),
        blocks_(config),
        rotations_(config),
        team_(threads),
        plan_(config, threads),
        attention_scratch_(static_cast<size_t>(threads)),
        later_(static_cast<size_t>(threads)),
        samplers_(static_cast<size_t>(threads), Sampler(kernels)) {}

  void set_weights(const WeightSource& weights) override { model_.fill(weights); }
  int64_t block_bytes() const override { return blocks_.block_bytes(); }
  int64_t memory_for_blocks() const override {
    const int64_t untouched = model_.filled() ? 0 : model_.bytes();
    return std::max<int64_t>(0, available_memory() - untouched);
  }
  void reserve_blocks(int64_t n) override { blocks_.reserve(n); }
  void release_blocks() override { blocks_.release(); }
  void run(const Pass& pass, std::vector<SampledToken>& drawn) override;
  std::vector<float> logits_of_draw(size_t draw) const override;
  std::string description() const override {
    return fmt::format("native CPU, {} thread{}, {}, {} weights", team_.size(), team_.size() == 1 ? "" : "s",
                       kernels_.name, name_of(storage_));
  }

 private:
  // A run of draws that share a row.
  struct DrawRow {
    int32_t row;
    size_t first;
    size_t last;
  };

  void check(const Pass& pass) const;
  void check_span(const Pass& pass, const PassSpan& span) const;
  void check_draws(const Pass& pass) const;
  void make_room(const Pass& pass);
  // The parts of a pass; every thread goes through all of them.
  void decode(const Pass& pass, int64_t thread);
  void run_layer(const Pass& pass, int64_t index, int64_t thread);
  void fetch_layer(int64_t layer, int64_t thread);
  void store_heads(const PackedLayer& layer, int64_t index, int64_t row);
  void sample(const Pass& pass, SampledToken* drawn, int64_t thread);

  template <class Body>
  void for_rows(int64_t thread, int64_t n, const Body& body) {
    team_.share(thread, (n + kRowsPerShare - 1) / kRowsPerShare,
                [&](int64_t share) { body(share * kRowsPerShare, std::min(n, (share + 1) * kRowsPerShare)); });
  }
  void multiply(const PackedMatrix& w, int64_t thread, Product product);
  void normalise(const float* x, const float* weight, float* out, int64_t first, int64_t last) const {
    const int64_t width = model_.widths().hidden;
    kernels_.rms_norm(x + first * width, width, last - first, config_.hidden_size, weight,
                      static_cast<float>(config_.rms_norm_eps), out + first * width, width);
  }

  ModelConfig config_;
  WeightStorage storage_;
  const Kernels& kernels_;
  PackedModel model_;
  KvBlocks blocks_;
  Rotations rotations_;
  Team team_;
  AttentionPlan plan_;
  int64_t rows_ = 0;
  // The pass's activations, one line a row.
  Scratch x_;                               // [rows, hidden] residual stream
  Scratch normed_;                          // [rows, hidden]; at the end [draw rows, hidden], the head's input
  Scratch qkv_;                             // [rows, qkv]
  Scratch q_;                               // [kv_heads, rows, queries, head_dim]
  Scratch context_;                         // [rows, context]
  Scratch inner_;                           // [rows, ff]
  Scratch logits_;                          // [some draw rows, vocab padded]
  Scratch keys_;                            // [rows, kv]
  std::vector<Scratch> attention_scratch_;  // per thread
  std::vector<FetchList> later_;            // per thread: the KV of the next layer
  std::vector<Sampler> samplers_;           // per thread
  std::vector<BlockId> block_of_row_;
  std::vector<DrawRow> draw_rows_;
  std::vector<int32_t> draw_row_of_draw_;
  std::atomic<bool> finite_{true};
};

void NativeBackend::check(const Pass& pass) const {
  if (!model_.filled()) failure("engine: no weights were set");
  int32_t next = 0;
  for (const PassSpan& span : pass.spans) {
    if (span.first_token != next || span.n_tokens < 1)
      failure("engine: a pass's spans do not cover its tokens in order");
    next += span.n_tokens;
    check_span(pass, span);
  }
  if (next != static_cast<int32_t>(pass.tokens.size())) failure("engine: a pass has tokens outside its spans");
  for (const Token token : pass.tokens) {
    if (token < 0 || token >= config_.vocab_size) {
      failure("engine: token {} is not in a vocabulary of {}", token, config_.vocab_size);
    }
  }
  for (const BlockCopy& copy : pass.copies) {
    if (copy.from < 0 || copy.from >= blocks_.count() || copy.to < 0 || copy.to >= blocks_.count() ||
        copy.n_slots < 0 || copy.n_slots > kKvBlockTokens) {
      failure("engine: a copy of {} slots from block {} to {}, of {} blocks", copy.n_slots, copy.from, copy.to,
              blocks_.count());
    }
  }
  check_draws(pass);
}

void NativeBackend::check_span(const Pass& pass, const PassSpan& span) const {
  const int64_t end = static_cast<int64_t>(span.start) + span.n_tokens;
  if (span.start < 0 || end > config_.max_positions) {
    failure("engine: positions {} to {} are not among the model's {}", span.start, end - 1, config_.max_positions);
  }
  if (span.first_block < 0 || span.n_blocks < 0 ||
      static_cast<size_t>(span.first_block) + static_cast<size_t>(span.n_blocks) > pass.tables.size() ||
      span.n_blocks * int64_t{kKvBlockTokens} < end) {
    failure("engine: a table of {} blocks does not cover {} positions", span.n_blocks, end);
  }
  for (int32_t i = 0; i < span.n_blocks; ++i) {
    const BlockId block = pass.tables[static_cast<size_t>(span.first_block + i)];
    if (block < 0 || block >= blocks_.count()) failure("engine: block {} of {}", block, blocks_.count());
  }
}

void NativeBackend::check_draws(const Pass& pass) const {
  int32_t row = 0;
  for (const Draw& draw : pass.draws) {
    if (draw.row < row || draw.row >= static_cast<int32_t>(pass.tokens.size())) {
      failure("engine: a draw of row {}, after one of row {}, in a pass of {} tokens", draw.row, row,
              pass.tokens.size());
    }
    if (draw.forced >= config_.vocab_size) {
      failure("engine: forced token {} is not in a vocabulary of {}", draw.forced, config_.vocab_size);
    }
    row = draw.row;
  }
}

// Everything a pass needs, so that its threads allocate nothing.
void NativeBackend::make_room(const Pass& pass) {
  const Widths& w = model_.widths();
  rows_ = static_cast<int64_t>(pass.tokens.size());
  x_.at_least(rows_ * w.hidden);
  normed_.at_least(rows_ * w.hidden);
  qkv_.at_least(rows_ * w.qkv);
  q_.at_least(rows_ * w.q);
  keys_.at_least(rows_ * w.kv);
  context_.at_least(rows_ * w.context);
  inner_.at_least(rows_ * w.ff);
  for (Scratch& scratch : attention_scratch_) scratch.at_least(plan_.scratch_floats());
  block_of_row_.resize(pass.tokens.size());
  for (const PassSpan& span : pass.spans) {
    rotations_.reach(static_cast<size_t>(span.start + span.n_tokens));
    for (int32_t i = 0; i < span.n_tokens; ++i) {
      const int32_t block = span.first_block + (span.start + i) / kKvBlockTokens;
      block_of_row_[static_cast<size_t>(span.first_token + i)] = pass.tables[static_cast<size_t>(block)];
    }
  }
  draw_rows_.clear();
  draw_row_of_draw_.resize(pass.draws.size());
  for (size_t i = 0; i < pass.draws.size(); ++i) {
    if (i == 0 || pass.draws[i].row != pass.draws[i - 1].row) draw_rows_.push_back({pass.draws[i].row, i, i});
    draw_rows_.back().last = i + 1;
    draw_row_of_draw_[i] = static_cast<int32_t>(draw_rows_.size()) - 1;
  }
  const int64_t at_once =
      std::max<int64_t>(1, std::min<int64_t>(static_cast<int64_t>(draw_rows_.size()), kLogitFloats / w.vocab));
  logits_.at_least(at_once * w.vocab);
  for (Sampler& sampler : samplers_) sampler.make_room(static_cast<size_t>(config_.vocab_size));
}

// By blocks of rows, so that these stay in cache while panels go by, and by panels among threads.
void NativeBackend::multiply(const PackedMatrix& w, int64_t thread, Product product) {
  product.later = &later_[static_cast<size_t>(thread)];
  const int64_t most = std::max<int64_t>(24, kBlockFloats / w.k() / 12 * 12);
  const int64_t row_blocks = (product.rows + most - 1) / most;
  if (row_blocks == 0) return;
  const int64_t height = round_up((product.rows + row_blocks - 1) / row_blocks, 12);
  int64_t width = w.panels();
  if (team_.size() > 1) {
    const int64_t shares = std::max<int64_t>(1, kSharesPerThread * team_.size() / row_blocks);
    width = round_up((w.panels() + shares - 1) / shares, 4);  // whole tiles, and pairs together
  }
  const int64_t columns = (w.panels() + width - 1) / width;
  team_.share(thread, row_blocks * columns, [&](int64_t item) {
    const int64_t row = item / columns * height;
    const int64_t panel = item % columns * width;
    Product part = product;
    w.select(panel, std::min(width, w.panels() - panel), part);
    part.rows = std::min(height, product.rows - row);
    if (part.rows <= 0) return;
    part.a += row * product.a_stride;
    part.c += row * product.c_stride + (product.output == Output::kSwiglu ? panel / 2 : panel) * kLanes;
    if (product.bias != nullptr) part.bias += panel * kLanes;
    kernels_.product[static_cast<size_t>(storage_)](part);
  });
}

// Turns a row's heads; its keys and values go to their block, its queries beside those of the same kv head.
void NativeBackend::store_heads(const PackedLayer& layer, int64_t index, int64_t row) {
  const Widths& w = model_.widths();
  const int64_t position = plan_.position(row);
  const float* qkv = qkv_.data() + row * w.qkv;
  HeadTurn turn{.head_dim = config_.head_dim,
                .norm = layer.q_norm,
                .eps = static_cast<float>(config_.rms_norm_eps),
                .cosines = rotations_.cosines(position),
                .sines = rotations_.sines(position),
                .scale = 1.0F / std::sqrt(static_cast<float>(config_.head_dim))};
  const int64_t queries = config_.n_heads / config_.n_kv_heads;
  const int64_t size = queries * config_.head_dim;
  for (int64_t h = 0; h < config_.n_kv_heads; ++h) {
    kernels_.turn_heads(turn, qkv + h * size, queries, q_.data() + (h * rows_ + row) * size);
  }
  turn.norm = layer.k_norm;
  turn.scale = 1.0F;
  float* keys = keys_.data() + row * w.kv;
  kernels_.turn_heads(turn, qkv + w.q, config_.n_kv_heads, keys);
  blocks_.write(index, block_of_row_[static_cast<size_t>(row)], position % kKvBlockTokens, keys, qkv + w.q + w.kv);
}

// During the products between two layers' attention, a thread asks for its share of the second's KV; after the last
// layer of the first's, for the next pass. Not worth it where all of it stays in the caches.
void NativeBackend::fetch_layer(int64_t layer, int64_t thread) {
  constexpr int64_t kCached = int64_t{1} << 20;
  FetchList& list = later_[static_cast<size_t>(thread)];
  list = blocks_.layer_of_blocks(layer);
  const auto blocks = static_cast<int64_t>(plan_.lone_blocks().size());
  if (blocks * blocks_.block_bytes() < kCached) return;
  list.ids = plan_.lone_blocks().data();
  list.next = blocks * thread / team_.size() * list.lines;
  list.end = blocks * (thread + 1) / team_.size() * list.lines;
}

void NativeBackend::run_layer(const Pass& pass, int64_t index, int64_t thread) {
  const PackedLayer& layer = model_.layer(index);
  const Widths& w = model_.widths();
  for_rows(thread, rows_,
           [&](int64_t first, int64_t last) { normalise(x_.data(), layer.input_norm, normed_.data(), first, last); });
  multiply(layer.qkv, thread,
           {.a = normed_.data(),
            .a_stride = w.hidden,
            .rows = rows_,
            .bias = layer.qkv_bias,
            .c = qkv_.data(),
            .c_stride = w.qkv});
  for_rows(thread, rows_, [&](int64_t first, int64_t last) {
    for (int64_t row = first; row < last; ++row) store_heads(layer, index, row);
  });
  const AttentionTask task{.kernels = &kernels_,
                           .pass = &pass,
                           .plan = &plan_,
                           .blocks = &blocks_,
                           .layer = index,
                           .kv_heads = config_.n_kv_heads,
                           .queries = config_.n_heads / config_.n_kv_heads,
                           .head_dim = config_.head_dim,
                           .q = q_.data(),
                           .rows = rows_,
                           .context = context_.data(),
                           .context_stride = w.context};
  team_.share(thread, attention_items(task), [&](int64_t item) {
    attend(task, item, item + team_.size(), attention_scratch_[static_cast<size_t>(thread)].data());
  });
  fetch_layer((index + 1) % config_.n_layers, thread);
  multiply(layer.out, thread,
           {.a = context_.data(),
            .a_stride = w.context,
            .rows = rows_,
            .bias = layer.out_bias,
            .c = x_.data(),
            .c_stride = w.hidden,
            .output = Output::kAdd});
  for_rows(thread, rows_,
           [&](int64_t first, int64_t last) { normalise(x_.data(), layer.post_norm, normed_.data(), first, last); });
  multiply(layer.gate_up, thread,
           {.a = normed_.data(),
            .a_stride = w.hidden,
            .rows = rows_,
            .c = inner_.data(),
            .c_stride = w.ff,
            .output = Output::kSwiglu});
  multiply(layer.down, thread,
           {.a = inner_.data(),
            .a_stride = w.ff,
            .rows = rows_,
            .c = x_.data(),
            .c_stride = w.hidden,
            .output = Output::kAdd});
}

void NativeBackend::decode(const Pass& pass, int64_t thread) {
  const int64_t hidden = model_.widths().hidden;
  if (!pass.copies.empty()) {
    team_.share(thread, config_.n_layers, [&](int64_t layer) {
      for (const BlockCopy& copy : pass.copies) blocks_.copy(layer, copy);
    });
  }
  for_rows(thread, rows_, [&](int64_t first, int64_t last) {
    for (int64_t row = first; row < last; ++row) {
      model_.embed(pass.tokens[static_cast<size_t>(row)], x_.data() + row * hidden);
    }
  });
  for (int64_t i = 0; i < config_.n_layers; ++i) run_layer(pass, i, thread);
}

void NativeBackend::sample(const Pass& pass, SampledToken* drawn, int64_t thread) {
  const Widths& w = model_.widths();
  const auto n = static_cast<int64_t>(draw_rows_.size());
  for_rows(thread, n, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) {
      kernels_.rms_norm(x_.data() + draw_rows_[static_cast<size_t>(i)].row * w.hidden, w.hidden, 1, config_.hidden_size,
                        model_.final_norm(), static_cast<float>(config_.rms_norm_eps), normed_.data() + i * w.hidden,
                        w.hidden);
    }
  });
  const int64_t at_once = std::max<int64_t>(1, kLogitFloats / w.vocab);
  for (int64_t begin = 0; begin < n; begin += at_once) {
    const int64_t rows = std::min(at_once, n - begin);
    multiply(model_.head(), thread,
             {.a = normed_.data() + begin * w.hidden,
              .a_stride = w.hidden,
              .rows = rows,
              .c = logits_.data(),
              .c_stride = w.vocab});
    team_.share(thread, rows, [&](int64_t i) {
      const DrawRow& row = draw_rows_[static_cast<size_t>(begin + i)];
      const std::span<const float> logits(logits_.data() + i * w.vocab, static_cast<size_t>(config_.vocab_size));
      const std::span<const Draw> draws(pass.draws.data() + row.first, row.last - row.first);
      if (!samplers_[static_cast<size_t>(thread)].draw(logits, draws, drawn + row.first)) {
        finite_.store(false, std::memory_order_relaxed);
      }
    });
  }
}

void NativeBackend::run(const Pass& pass, std::vector<SampledToken>& drawn) {
  check(pass);
  plan_.make(pass);
  make_room(pass);
  drawn.resize(pass.draws.size());
  finite_.store(true, std::memory_order_relaxed);
  const auto body = [&](int64_t thread) {
    decode(pass, thread);
    sample(pass, drawn.data(), thread);
  };
  team_.run(body);
  if (!finite_.load(std::memory_order_relaxed)) {
    failure("engine: the model's logits are not finite; its weights have diverged or are damaged");
  }
}

std::vector<float> NativeBackend::logits_of_draw(size_t draw) const {
  if (draw >= draw_row_of_draw_.size()) {
    failure("engine: the logits of draw {} of {}", draw, draw_row_of_draw_.size());
  }
  // Computed again: a pass keeps the logits of a few rows only, and a row's bits are the same in any company.
  const Widths& w = model_.widths();
  std::vector<float> logits(static_cast<size_t>(w.vocab));
  Product product{.a = normed_.data() + draw_row_of_draw_[draw] * w.hidden,
                  .a_stride = w.hidden,
                  .rows = 1,
                  .c = logits.data(),
                  .c_stride = w.vocab};
  model_.head().select(0, model_.head().panels(), product);
  kernels_.product[static_cast<size_t>(storage_)](product);
  logits.resize(static_cast<size_t>(config_.vocab_size));
  return logits;
}

}  // namespace
}  // namespace native

native::WeightStorage weight_storage_of(const std::string& name) {
  for (const auto storage :
       {native::WeightStorage::kFp32, native::WeightStorage::kBf16, native::WeightStorage::kInt8}) {
    if (name == name_of(storage)) return storage;
  }
  bad_input("weights \"{}\"; they are kept as fp32, bf16 or int8", name);
}

const char* name_of(native::WeightStorage storage) {
  switch (storage) {
    case native::WeightStorage::kFp32:
      return "fp32";
    case native::WeightStorage::kBf16:
      return "bf16";
    case native::WeightStorage::kInt8:
      return "int8";
  }
  failure("engine: no such weight storage");
}

std::unique_ptr<Backend> make_native_backend(const ModelConfig& config, int64_t threads, native::WeightStorage weights,
                                             const native::Kernels& kernels) {
  check_model_config(config);
  if (threads < 1) failure("engine: {} threads; at least 1", threads);
  return std::make_unique<native::NativeBackend>(config, threads, weights, kernels);
}

}  // namespace deepsearch
