#include "learn/head.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>

#include "engine/native/kernels.h"

namespace deepsearch {

namespace {

// A chunk that stays in the cache next to the weights it is multiplied with; on a GPU one that fills it.
constexpr int64_t kChunkOnCpu = int64_t{1} << 22;
constexpr int64_t kChunkOnGpu = int64_t{1} << 28;
constexpr int64_t kLeastRows = 64;

bool has_kernels(const at::Tensor& x) {
  return x.is_cpu() && x.scalar_type() == at::kFloat;
}

// Outputs [first, last) and their logits, which backward turns into their gradient in place.
struct Chunk {
  int64_t first = 0, last = 0;
  int64_t first_target = 0, last_target = 0;
  at::Tensor logits;      // [rows, vocab], fp32 or fp64, not yet divided by the temperature
  at::Tensor normalizer;  // [rows]: log Σ exp(logits / temperature)
  at::Tensor rows;        // int64 [targets]: row of each target
  at::Tensor tokens;      // int64 [targets]
  HeadValues values;
};

class ChunkedHead {
 public:
  explicit ChunkedHead(const HeadInputs& inputs) : inputs_(inputs) {
    const at::Tensor starts = inputs.target_outputs.to(at::kCPU).contiguous();
    target_outputs_ = {starts.const_data_ptr<int64_t>(), starts.const_data_ptr<int64_t>() + starts.numel()};
    const int64_t values = inputs.chunk_values > 0   ? inputs.chunk_values
                           : inputs.hidden.is_cuda() ? kChunkOnGpu
                                                     : kChunkOnCpu;
    const int64_t least = inputs.chunk_values > 0 ? 1 : kLeastRows;
    rows_ = std::max(least, values / std::max<int64_t>(inputs.weight.size(0), 1));
  }

  template <class Use>
  void for_each(Use&& use) {
    const int64_t outputs = inputs_.hidden.size(0);
    for (int64_t first = 0; first < outputs; first += rows_) {
      Chunk chunk = compute(first, std::min(outputs, first + rows_));
      use(chunk);
    }
  }

 private:
  Chunk compute(int64_t first, int64_t last) {
    Chunk chunk;
    chunk.first = first;
    chunk.last = last;
    chunk.first_target =
        std::lower_bound(target_outputs_.begin(), target_outputs_.end(), first) - target_outputs_.begin();
    chunk.last_target =
        std::lower_bound(target_outputs_.begin(), target_outputs_.end(), last) - target_outputs_.begin();
    const int64_t targets = chunk.last_target - chunk.first_target;
    chunk.rows = inputs_.target_outputs.narrow(0, chunk.first_target, targets) - first;
    chunk.tokens = inputs_.target_tokens.narrow(0, chunk.first_target, targets);
    chunk.logits = at::mm(inputs_.hidden.narrow(0, first, last - first), inputs_.weight.t());
    if (chunk.logits.scalar_type() != at::kDouble) chunk.logits = chunk.logits.to(at::kFloat);
    normalize(chunk);
    at::Tensor picked = chunk.logits.index({chunk.rows, chunk.tokens});
    if (inputs_.temperature != 1.0) picked = picked / inputs_.temperature;
    chunk.values.logprobs = picked - chunk.normalizer.index_select(0, chunk.rows);
    return chunk;
  }

  void normalize(Chunk& chunk) const {
    if (has_kernels(chunk.logits)) {
      normalize_on_cpu(chunk);
      return;
    }
    const at::Tensor scaled = inputs_.temperature == 1.0 ? chunk.logits : chunk.logits / inputs_.temperature;
    chunk.normalizer = at::logsumexp(scaled, {1});
    const at::Tensor log_p = scaled - chunk.normalizer.unsqueeze(1);
    chunk.values.entropies = -(log_p.exp() * log_p).sum(1);
  }

  // H = log Σe − Σ e·y / Σe with y = (l − max)/T and e = exp(y).
  void normalize_on_cpu(Chunk& chunk) const {
    const int64_t rows = chunk.logits.size(0);
    const int64_t vocab = chunk.logits.size(1);
    chunk.normalizer = at::empty({rows}, chunk.logits.options());
    chunk.values.entropies = at::empty({rows}, chunk.logits.options());
    const auto scale = static_cast<float>(1.0 / inputs_.temperature);
    const float* logits = chunk.logits.const_data_ptr<float>();
    float* normalizer = chunk.normalizer.mutable_data_ptr<float>();
    float* entropies = chunk.values.entropies.mutable_data_ptr<float>();
    const native::Kernels& kernels = native::best_kernels();
    at::parallel_for(0, rows, 1, [&](int64_t begin, int64_t end) {
      std::vector<double> sums(static_cast<size_t>((vocab + native::kSumChunk - 1) / native::kSumChunk));
      for (int64_t row = begin; row < end; ++row) {
        const float* x = logits + row * vocab;
        const float most = kernels.largest(x, vocab);
        const double weighted = kernels.exp_sums(x, vocab, most, scale, sums.data());
        double sum = 0;
        for (const double part : sums) sum += part;
        const double log_sum = std::log(sum);
        normalizer[row] = static_cast<float>(static_cast<double>(most) * static_cast<double>(scale) + log_sum);
        entropies[row] = static_cast<float>(log_sum - weighted / sum);
      }
    });
  }

  const HeadInputs& inputs_;
  std::vector<int64_t> target_outputs_;
  int64_t rows_ = 1;
};

// logits ← ∂loss/∂logits: with p = softmax(l/T), G = Σ of the row's target gradients, and h = ∂loss/∂H,
//   (onehot·g − p·G − h·p·(log p + H)) / T.
void logits_gradient(Chunk& chunk, const HeadGradients& gradients, double temperature) {
  at::Tensor& logits = chunk.logits;
  const int64_t rows = logits.size(0);
  at::Tensor sums = at::zeros({rows}, logits.options());
  sums.index_add_(0, chunk.rows, gradients.logprobs.to(logits.scalar_type()));
  if (has_kernels(logits) && !gradients.entropies.defined()) {
    const int64_t vocab = logits.size(1);
    const auto scale = static_cast<float>(1.0 / temperature);
    const float* normalizer = chunk.normalizer.const_data_ptr<float>();
    const float* g = sums.const_data_ptr<float>();
    float* data = logits.mutable_data_ptr<float>();
    const native::Kernels& kernels = native::best_kernels();
    at::parallel_for(0, rows, 1, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        float* x = data + row * vocab;
        if (g[row] == 0.0F) {
          std::fill(x, x + vocab, 0.0F);
          continue;
        }
        kernels.exp_shifted(x, vocab, normalizer[row] / scale, scale, x);
        const float factor = -g[row] * scale;
        for (int64_t i = 0; i < vocab; ++i) x[i] *= factor;
      }
    });
  } else {
    const at::Tensor log_p = logits.div_(temperature).sub_(chunk.normalizer.unsqueeze(1));
    at::Tensor factor = sums.unsqueeze(1);
    if (gradients.entropies.defined()) {
      const at::Tensor h = gradients.entropies.to(logits.scalar_type()).unsqueeze(1);
      factor = factor + h * (log_p + chunk.values.entropies.unsqueeze(1));
    }
    logits = log_p.exp().mul_(factor).mul_(-1.0 / temperature);
  }
  logits.index_put_({chunk.rows, chunk.tokens}, gradients.logprobs.to(logits.scalar_type()) / temperature,
                    /*accumulate=*/true);
}

}  // namespace

HeadValues head_values(const HeadInputs& inputs) {
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> logprobs;
  std::vector<at::Tensor> entropies;
  ChunkedHead(inputs).for_each([&](Chunk& chunk) {
    logprobs.push_back(chunk.values.logprobs);
    entropies.push_back(chunk.values.entropies);
  });
  const auto type = inputs.hidden.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  if (logprobs.empty()) return {at::empty({0}, type), at::empty({0}, type)};
  return {at::cat(logprobs), at::cat(entropies)};
}

at::Tensor head_backward(const HeadInputs& inputs, const ChunkLoss& loss) {
  const at::NoGradGuard no_grad;
  at::Tensor hidden_gradient = at::empty_like(inputs.hidden);
  at::Tensor weight_gradient = inputs.weight.grad();
  ChunkedHead(inputs).for_each([&](Chunk& chunk) {
    HeadGradients gradients;
    {
      const at::AutoGradMode grad(true);
      gradients = loss(chunk.first_target, chunk.last_target, chunk.first, chunk.values);
    }
    logits_gradient(chunk, gradients, inputs.temperature);
    const at::Tensor dlogits = chunk.logits.to(inputs.weight.scalar_type());
    const at::Tensor hidden = inputs.hidden.narrow(0, chunk.first, chunk.last - chunk.first);
    at::Tensor into = hidden_gradient.narrow(0, chunk.first, chunk.last - chunk.first);
    at::mm_out(into, dlogits, inputs.weight);
    weight_gradient.addmm_(dlogits.t(), hidden);
  });
  return hidden_gradient;
}

}  // namespace deepsearch
