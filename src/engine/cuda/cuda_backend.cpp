#include "engine/cuda/cuda_backend.h"

#include <algorithm>
#include <cstring>
#include <unordered_map>

#include "core/error.h"
#include "engine/cuda/device.h"
#include "engine/cuda/device_weights.h"
#include "engine/cuda/forward.h"
#include "engine/cuda/pass_plan.h"

namespace deepsearch::cuda {
namespace {

// Left free for what the driver and the library take later (graphs, their kernels' own memory).
constexpr int64_t kReservedBytes = int64_t{512} << 20;
constexpr size_t kMostRows = 65535;  // of a launch
constexpr int64_t kLeastBufferBytes = int64_t{1} << 20;

const char* name_of(DType type) {
  if (type == DType::kF32) return "fp32";
  return type == DType::kF16 ? "fp16" : "bf16";
}

// failure() for a pass that the scheduler must not make. Nothing on the device may depend on unchecked numbers.
void check(const Pass& pass, const ModelConfig& config, int64_t n_blocks) {
  if (std::max(pass.tokens.size(), pass.copies.size()) > kMostRows) {
    failure("pass: {} tokens, {} copies; at most {} fit", pass.tokens.size(), pass.copies.size(), kMostRows);
  }
  const auto n_tokens = static_cast<int64_t>(pass.tokens.size());
  for (const Token token : pass.tokens) {
    if (token < 0 || token >= config.vocab_size) failure("pass: token {} is not in the vocabulary", token);
  }
  int64_t next = 0;
  for (const PassSpan& span : pass.spans) {
    const int64_t end = int64_t{span.start} + span.n_tokens;
    if (span.first_token != next || span.n_tokens <= 0 || span.start < 0) failure("pass: spans leave a gap");
    if (end > config.max_positions) failure("pass: position {} of {}", end - 1, config.max_positions);
    const int64_t needed = (end + kKvBlockTokens - 1) / kKvBlockTokens;
    if (span.n_blocks < needed || span.first_block < 0 ||
        int64_t{span.first_block} + span.n_blocks > static_cast<int64_t>(pass.tables.size())) {
      failure("pass: a table of {} blocks for {} positions", span.n_blocks, end);
    }
    next += span.n_tokens;
  }
  if (next != n_tokens) failure("pass: {} tokens in spans, {} given", next, n_tokens);
  const auto bad_block = [n_blocks](BlockId block) { return block < 0 || block >= n_blocks; };
  if (std::any_of(pass.tables.begin(), pass.tables.end(), bad_block)) failure("pass: KV block out of range");
  for (const BlockCopy& copy : pass.copies) {
    if (bad_block(copy.from) || bad_block(copy.to)) failure("pass: copy of a KV block out of range");
  }
  int32_t row = 0;
  for (const Draw& draw : pass.draws) {
    if (draw.row < row || draw.row >= n_tokens) failure("pass: draw of row {} out of order or range", draw.row);
    if (draw.forced >= config.vocab_size) failure("pass: forced token {} is not in the vocabulary", draw.forced);
    row = draw.row;
  }
}

class CudaBackend final : public Backend {
 public:
  CudaBackend(std::unique_ptr<Device> device, const ModelConfig& config, const CudaOptions& options)
      : device_(std::move(device)),
        config_(config),
        options_(options),
        shape_(config),
        weights_(*device_, config, options.dtype),
        forward_(*device_, config, options),
        plan_(forward_.plan_shape()) {}
  ~CudaBackend() override { device_->discard_graphs(); }

  void set_weights(const WeightSource& weights) override { weights_.set(weights); }

  int64_t block_bytes() const override {
    return 2 * config_.n_layers * config_.n_kv_heads * shape_.head * kKvBlockTokens * bytes_of(options_.dtype);
  }

  int64_t memory_for_blocks() const override {
    return std::max<int64_t>(0, device_->memory().free_bytes - kReservedBytes - block_bytes());
  }

  void reserve_blocks(int64_t n) override {
    if (pool_.n_blocks != 0) failure("KV blocks were reserved before");
    pool_.memory = DeviceArray(*device_, (n + 1) * block_bytes(), "KV blocks", "[engine].kv_memory_mb");
    pool_.n_blocks = n + 1;
  }

  void release_blocks() override {
    pool_.memory = DeviceArray();
    pool_.n_blocks = 0;
  }

  void run(const Pass& pass, std::vector<SampledToken>& drawn) override {
    drawn.resize(pass.draws.size());
    if (pass.tokens.empty() && pass.copies.empty()) return;
    if (pool_.n_blocks == 0) failure("no KV blocks were reserved");
    check(pass, config_, pool_.n_blocks - 1);
    const auto scratch = static_cast<BlockId>(pool_.n_blocks - 1);
    plan_.make(pass, scratch);
    make_room();
    plan_.write(pass, host_.data());
    device_->upload(buffer_.data(), host_.data(), plan_.bytes());
    forward_.copy_blocks(plan_, buffer_.as<std::byte>(), pool_);
    if (plan_.rows() > 0) run_decoder();
    kept_logits_ = Forward::first_kept(plan_.n_logit_rows());
    const auto bytes = static_cast<int64_t>(drawn.size() * sizeof(SampledToken));
    if (bytes > 0) device_->download(results_.data(), drawn_.data(), bytes);
    device_->synchronize();
    if (bytes > 0) std::memcpy(drawn.data(), results_.data(), static_cast<size_t>(bytes));
    for (size_t i = 0; i < drawn.size(); ++i) {
      if (drawn[i].token != kNotFinite) continue;
      failure("sampler: the model's logits after row {} are not finite; its weights have diverged or are damaged",
              pass.draws[i].row);
    }
  }

  std::vector<float> logits_of_draw(size_t draw) const override {
    if (draw >= static_cast<size_t>(plan_.draws())) failure("no draw {} in the last pass", draw);
    const float* from = forward_.logits_of(plan_.logit_row_of(draw), plan_.n_logit_rows(), kept_logits_, weights_);
    const int64_t bytes = config_.vocab_size * 4;
    const PinnedArray host(*device_, bytes, "logits");
    device_->download(host.data(), from, bytes);
    device_->synchronize();
    std::vector<float> logits(static_cast<size_t>(config_.vocab_size));
    std::memcpy(logits.data(), host.data(), static_cast<size_t>(bytes));
    return logits;
  }

  std::string description() const override {
    return fmt::format("{}, {} weights and KV{}", device_->name(), name_of(options_.dtype),
                       options_.deterministic ? ", batch-invariant" : "");
  }

 private:
  void make_room() {
    bool moved = forward_.make_room(std::max(plan_.padded_rows(), plan_.n_logit_rows()));
    if (plan_.bytes() > buffer_.bytes()) {
      const int64_t bytes = std::max(plan_.bytes() + plan_.bytes() / 2, kLeastBufferBytes);
      buffer_.reset();
      buffer_ = DeviceArray(*device_, bytes, "a pass's indices", "engine.max_batch");
      host_ = PinnedArray(*device_, bytes, "a pass's indices");
      moved = true;
    }
    const auto results = static_cast<int64_t>(plan_.padded_draws() * sizeof(SampledToken));
    if (results > drawn_.bytes()) {
      const int64_t bytes = std::max(results + results / 2, kLeastBufferBytes / 16);
      drawn_.reset();
      drawn_ = DeviceArray(*device_, bytes, "sampled tokens", "engine.max_batch");
      results_ = PinnedArray(*device_, bytes, "sampled tokens");
      moved = true;
    }
    if (!moved) return;
    device_->discard_graphs();
    graphs_.clear();
  }

  void launch() { forward_.run(plan_, buffer_.as<std::byte>(), pool_, weights_, drawn_.as<SampledToken>()); }

  // The first pass of a bucket runs as it is: whatever is set up lazily below is set up then, outside a capture.
  void run_decoder() {
    if (!options_.graphs || !plan_.is_bucket()) {
      launch();
      return;
    }
    const auto [found, is_new] = graphs_.try_emplace(plan_.padded_rows(), kSeen);
    if (is_new) {
      launch();
      return;
    }
    if (found->second == kSeen) {
      device_->begin_capture();
      launch();
      found->second = device_->end_capture();
    }
    device_->replay(found->second);
  }

  static constexpr Device::Graph kSeen = -1;

  std::unique_ptr<Device> device_;
  ModelConfig config_;
  CudaOptions options_;
  PaddedShape shape_;
  DeviceWeights weights_;
  mutable Forward forward_;  // logits_of_draw() computes them again
  mutable int kept_logits_ = 0;
  PassPlan plan_;
  KvPool pool_;
  DeviceArray buffer_;
  PinnedArray host_;
  DeviceArray drawn_;
  PinnedArray results_;
  std::unordered_map<int, Device::Graph> graphs_;  // by bucket
};

}  // namespace

std::unique_ptr<Backend> make_backend(std::unique_ptr<Device> device, const ModelConfig& config,
                                      const CudaOptions& options) {
  return std::make_unique<CudaBackend>(std::move(device), config, options);
}

}  // namespace deepsearch::cuda
