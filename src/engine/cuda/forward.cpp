#include "engine/cuda/forward.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "model/rope.h"

namespace deepsearch::cuda {
namespace {

// Rows up to which our own product is used instead of the library's.
constexpr int64_t kFewRows = 32;
// Logits are made for so many rows at a time.
constexpr int64_t kLogitRows = 256;
// Attention parts that the workspace holds.
constexpr int64_t kSlots = 8192;

constexpr const char* kRowsKey = "[engine].prefill_chunk or max_batch";

DeviceArray upload_floats(Device& device, const std::vector<float>& values, const char* what) {
  const auto bytes = static_cast<int64_t>(values.size() * sizeof(float));
  DeviceArray to(device, bytes, what, "model.max_positions");
  const PinnedArray from(device, bytes, what);
  std::memcpy(from.data(), values.data(), values.size() * sizeof(float));
  device.upload(to.data(), from.data(), bytes);
  device.synchronize();
  return to;
}

template <class V>
const V* at(const std::byte* buffer, int64_t offset) {
  return reinterpret_cast<const V*>(buffer + offset);
}

}  // namespace

Forward::Forward(Device& device, const ModelConfig& config, const CudaOptions& options)
    : device_(device), config_(config), options_(options), shape_(config) {
  const RopeTable rope = make_rope_table(config, config.max_positions);
  cosines_ = upload_floats(device, rope.cosines, "the rotary table");
  sines_ = upload_floats(device, rope.sines, "the rotary table");
  logits_ = DeviceArray(device, kLogitRows * shape_.vocab * 4, "logits", kRowsKey);
  partial_ = DeviceArray(device, kSlots * shape_.attention * 4, "partial attention", kRowsKey);
  partial_stats_ = DeviceArray(device, kSlots * config.n_heads * 8, "partial attention", kRowsKey);
  make_room(options.max_rows);
}

bool Forward::make_room(int64_t rows) {
  if (rows <= capacity_) return false;
  // Growing by half at least keeps the number of times small.
  rows = std::max(rows, capacity_ + capacity_ / 2);
  rows = (rows + kRowStep - 1) / kRowStep * kRowStep;
  const int64_t width = bytes_of(options_.dtype);
  const auto renew = [&](DeviceArray& array, int64_t columns, int64_t bytes, const char* what) {
    array.reset();
    array = DeviceArray(device_, rows * columns * bytes, what, kRowsKey);
  };
  renew(x_, shape_.hidden, 4, "activations");
  renew(normed_, shape_.hidden, width, "activations");
  renew(qkv_, shape_.qkv, width, "activations");
  renew(attended_, shape_.attention, width, "activations");
  renew(gate_up_, 2 * shape_.intermediate, width, "activations");
  renew(activated_, shape_.intermediate, width, "activations");
  capacity_ = rows;
  return true;
}

PlanShape Forward::plan_shape() const {
  return {.heads = static_cast<int>(config_.n_heads),
          .kv_heads = static_cast<int>(config_.n_kv_heads),
          .deterministic = options_.deterministic,
          .parallelism = device_.parallelism(),
          .slot_capacity = static_cast<int>(kSlots)};
}

KvView Forward::layer_blocks(const KvPool& pool, int64_t layer) const {
  const int64_t bytes = pool.n_blocks * config_.n_kv_heads * shape_.head * kKvBlockTokens * bytes_of(options_.dtype);
  auto* base = pool.memory.as<std::byte>() + 2 * layer * bytes;
  return {.keys = base, .values = base + bytes};
}

void Forward::copy_blocks(const PassPlan& plan, const std::byte* buffer, const KvPool& pool) {
  if (plan.copies() == 0) return;
  device_.kernels().copy_blocks({.copies = at<BlockCopy>(buffer, plan.copies_at()),
                                 .n_copies = plan.copies(),
                                 .pool = pool.memory.data(),
                                 .n_blocks = pool.n_blocks,
                                 .layers = static_cast<int>(config_.n_layers),
                                 .kv_heads = static_cast<int>(config_.n_kv_heads),
                                 .padded_head = static_cast<int>(shape_.head)});
}

bool Forward::own_gemm(int64_t rows) const {
  return options_.deterministic || rows <= kFewRows;
}

void Forward::multiply(const void* x, const void* weights, void* out, int64_t rows, int64_t n, int64_t k,
                       int64_t stride, Epilogue epilogue) {
  if (own_gemm(rows)) {
    device_.kernels().rows_gemm({.x = x,
                                 .weights = weights,
                                 .out = out,
                                 .rows = static_cast<int>(rows),
                                 .n = static_cast<int>(n),
                                 .k = static_cast<int>(k),
                                 .stride = static_cast<int>(stride),
                                 .epilogue = epilogue});
    return;
  }
  device_.gemm({.x = x,
                .weights = weights,
                .out = out,
                .rows = rows,
                .n = n,
                .k = k,
                .stride = stride,
                .float_out = epilogue != Epilogue::kStore,
                .accumulate = epilogue == Epilogue::kAddFloat});
}

void Forward::run(const PassPlan& plan, const std::byte* buffer, const KvPool& pool, const DeviceWeights& weights,
                  SampledToken* drawn) {
  const PassLayout& layout = plan.layout();
  Kernels& kernels = device_.kernels();
  const auto hidden = static_cast<int>(shape_.hidden);
  kernels.embed({.tokens = at<int32_t>(buffer, layout.tokens),
                 .table = weights.embedding(),
                 .x = x_.as<float>(),
                 .rows = plan.padded_rows(),
                 .padded = hidden});
  for (int64_t layer = 0; layer < config_.n_layers; ++layer) {
    run_layer(plan, buffer, pool, weights.layers()[static_cast<size_t>(layer)], layer);
  }
  if (plan.n_logit_rows() == 0) return;
  kernels.norm({.x = x_.as<float>(),
                .gain = weights.final_norm(),
                .row_of = at<int32_t>(buffer, layout.logit_rows),
                .out = normed_.data(),
                .rows = plan.n_logit_rows(),
                .width = static_cast<int>(config_.hidden_size),
                .padded = hidden,
                .eps = static_cast<float>(config_.rms_norm_eps)});
  for (int first = 0; first < plan.n_logit_rows(); first += static_cast<int>(kLogitRows)) {
    const int rows = std::min(static_cast<int>(kLogitRows), plan.n_logit_rows() - first);
    compute_logits(first, rows, weights);
    kernels.sample({.logits = logits_.as<float>(),
                    .draws = at<DeviceDraw>(buffer, layout.draws),
                    .n_draws = at<int32_t>(buffer, 0),
                    .drawn = drawn,
                    .grid = plan.padded_draws(),
                    .first_logit_row = first,
                    .logit_rows = rows,
                    .vocab = static_cast<int>(config_.vocab_size),
                    .stride = static_cast<int>(shape_.vocab)});
  }
}

void Forward::compute_logits(int first, int rows, const DeviceWeights& weights) {
  const auto* x = normed_.as<std::byte>() + first * shape_.hidden * bytes_of(options_.dtype);
  multiply(x, weights.head(), logits_.data(), rows, shape_.vocab, shape_.hidden, shape_.vocab, Epilogue::kStoreFloat);
}

int Forward::first_kept(int n_logit_rows) {
  return n_logit_rows == 0 ? 0 : (n_logit_rows - 1) / static_cast<int>(kLogitRows) * static_cast<int>(kLogitRows);
}

const float* Forward::logits_of(int logit_row, int n_logit_rows, int& kept, const DeviceWeights& weights) {
  const int first = first_kept(logit_row + 1);
  if (first != kept) compute_logits(first, std::min(static_cast<int>(kLogitRows), n_logit_rows - first), weights);
  kept = first;
  return logits_.as<float>() + (logit_row - first) * shape_.vocab;
}

void Forward::run_layer(const PassPlan& plan, const std::byte* buffer, const KvPool& pool, const LayerWeights& weights,
                        int64_t layer) {
  const int rows = plan.padded_rows();
  Kernels& kernels = device_.kernels();
  NormArgs norm{.x = x_.as<float>(),
                .gain = weights.input_norm,
                .out = normed_.data(),
                .rows = rows,
                .width = static_cast<int>(config_.hidden_size),
                .padded = static_cast<int>(shape_.hidden),
                .eps = static_cast<float>(config_.rms_norm_eps)};
  kernels.norm(norm);
  multiply(normed_.data(), weights.qkv, qkv_.data(), rows, shape_.qkv, shape_.hidden, shape_.qkv, Epilogue::kStore);
  const KvView kv = layer_blocks(pool, layer);
  kernels.qkv({.qkv = qkv_.data(),
               .bias = weights.qkv_bias,
               .q_gain = weights.q_norm,
               .k_gain = weights.k_norm,
               .positions = at<int32_t>(buffer, plan.layout().positions),
               .slots = at<int32_t>(buffer, plan.layout().slots),
               .cosines = cosines_.as<float>(),
               .sines = sines_.as<float>(),
               .kv = kv,
               .rows = rows,
               .heads = static_cast<int>(config_.n_heads),
               .kv_heads = static_cast<int>(config_.n_kv_heads),
               .head_dim = static_cast<int>(config_.head_dim),
               .padded_head = static_cast<int>(shape_.head),
               .eps = norm.eps});
  attend(plan, buffer, kv);
  multiply(attended_.data(), weights.out, x_.data(), rows, shape_.hidden, shape_.attention, shape_.hidden,
           Epilogue::kAddFloat);
  norm.add = weights.out_bias;
  norm.gain = weights.post_norm;
  kernels.norm(norm);
  if (own_gemm(rows)) {
    multiply(normed_.data(), weights.gate_up, activated_.data(), rows, 2 * shape_.intermediate, shape_.hidden,
             shape_.intermediate, Epilogue::kSwiGlu);
  } else {
    multiply(normed_.data(), weights.gate_up, gate_up_.data(), rows, 2 * shape_.intermediate, shape_.hidden,
             2 * shape_.intermediate, Epilogue::kStore);
    kernels.swiglu({.gate_up = gate_up_.data(),
                    .out = activated_.data(),
                    .rows = rows,
                    .padded = static_cast<int>(shape_.intermediate)});
  }
  multiply(activated_.data(), weights.down, x_.data(), rows, shape_.hidden, shape_.intermediate, shape_.hidden,
           Epilogue::kAddFloat);
}

void Forward::attend(const PassPlan& plan, const std::byte* buffer, const KvView& kv) {
  const PassLayout& layout = plan.layout();
  AttentionArgs args{.qkv = qkv_.data(),
                     .out = attended_.data(),
                     .buffer = at<int32_t>(buffer, 0),
                     .positions = at<int32_t>(buffer, layout.positions),
                     .part_first = at<int32_t>(buffer, layout.part_first),
                     .part_count = at<int32_t>(buffer, layout.part_count),
                     .partial = partial_.as<float>(),
                     .partial_stats = partial_stats_.as<float>(),
                     .kv = kv,
                     .groups = head_groups(static_cast<int>(config_.n_heads), static_cast<int>(config_.n_kv_heads)),
                     .heads = static_cast<int>(config_.n_heads),
                     .kv_heads = static_cast<int>(config_.n_kv_heads),
                     .padded_head = static_cast<int>(shape_.head),
                     .stride = static_cast<int>(shape_.attention),
                     .scale = static_cast<float>(M_LOG2E / std::sqrt(static_cast<double>(config_.head_dim)))};
  for (size_t i = 0; i < plan.waves().size(); ++i) {
    const Wave& wave = plan.waves()[i];
    args.n_items = at<int32_t>(buffer, layout.wave_items) + i;
    args.items = at<AttentionItem>(buffer, layout.items) + wave.first_item;
    args.grid = plan.is_bucket() ? device_.parallelism() : wave.n_items * args.groups.n_groups;
    device_.kernels().attention(args);
    args.first_row = wave.first_row;
    args.rows = plan.is_bucket() ? plan.padded_rows() : wave.n_rows;
    if (plan.is_bucket() || wave.merge) device_.kernels().merge(args);
  }
}

}  // namespace deepsearch::cuda
