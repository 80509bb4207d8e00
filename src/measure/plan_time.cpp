// The seconds of plan.h.
#include <algorithm>
#include <cmath>

#include "learn/flops.h"
#include "measure/plan.h"
#include "model/weights.h"

namespace deepsearch {

namespace {

constexpr double kTera = 1e12;
constexpr double kGiga = 1e9;

double head_flops(const ModelConfig& m) {
  return 2 * static_cast<double>(m.hidden_size * m.vocab_size);
}

// Positions a token of the middle of a response attends to.
double mean_context(const Workload& work) {
  return work.prompt_tokens + work.response_tokens / 2;
}

// A device's figures are shared by its ranks of one kind; the other kind waits meanwhile.
double share_of_device(int64_t ranks_on_it) {
  return 1.0 / static_cast<double>(std::max<int64_t>(1, ranks_on_it));
}

struct Decoding {
  double batch, pass_seconds;
};

Decoding decoding(const PlanInput& input, double kv_bytes) {
  const Hardware& hardware = input.hardware;
  const Workload& work = input.work;
  const double share = share_of_device(input.search_per_device());
  const double context = mean_context(work);
  const double kv = kv_bytes_per_token(input);
  // Siblings hold a common prefix once; of their own each has half a step or so, which does not count beside it.
  const double kv_of_sequence = kv * context / work.read_together;
  const auto problems =
      std::min(static_cast<double>(input.problems_in_flight),
               std::ceil(static_cast<double>(input.learn.problems) / static_cast<double>(input.search_ranks)));
  const double batch = std::max(
      1.0, std::min({static_cast<double>(batch_of(input)), problems * work.sequences, kv_bytes / kv_of_sequence}));
  const ModelConfig& m = input.model;
  const double flops = batch * (layer_flops_per_token(m) + head_flops(m) + flops_per_pair(m) * context);
  // Every matrix is read once a pass, and the KV of all distinct prefixes; an untied embedding only by rows.
  const double embedding = m.tie_embeddings ? 0 : static_cast<double>(m.vocab_size * m.hidden_size);
  const double weight_width = search_memory(input, 0).terms.front().bytes / static_cast<double>(parameter_count(m));
  const double bytes = (static_cast<double>(parameter_count(m)) - embedding) * weight_width + batch * kv_of_sequence;
  const double peak = kTera * hardware.tflops(hardware.gpu && weight_width < 4 ? Compute::kBf16 : Compute::kFp32);
  const double seconds = std::max(flops / (peak * share * hardware.generate_share),
                                  bytes / (kGiga * hardware.bandwidth_gbs * share * hardware.bandwidth_share));
  return {batch, seconds + 1e-6 * hardware.pass_overhead_us};
}

}  // namespace

StepTime step_time(const PlanInput& input) {
  const Hardware& hardware = input.hardware;
  const Workload& work = input.work;
  const ModelConfig& m = input.model;
  const LearnParams& learn = input.learn;
  const auto n = static_cast<double>(parameter_count(m));
  const auto problems = static_cast<double>(learn.problems);
  const auto learners = static_cast<double>(input.learners);
  StepTime time;

  const double kv = input.engine.kv_memory_mb > 0 ? 1e6 * static_cast<double>(input.engine.kv_memory_mb)
                                                  : std::max(0.0, kv_room(input));
  const Decoding decode = decoding(input, kv);
  time.batch = decode.batch;
  time.pass_seconds = decode.pass_seconds;
  time.generated_tokens = problems * work.generated_tokens;
  time.generated_per_second = static_cast<double>(input.search_ranks) * decode.batch / decode.pass_seconds;
  time.generation = time.generated_tokens / time.generated_per_second;

  const auto epochs = static_cast<double>(learn.epochs);
  time.row_tokens = epochs * problems * work.row_tokens();
  const bool tree = learn.packing == Packing::kTree;
  time.computed_tokens = tree ? epochs * problems * work.unique_tokens() : time.row_tokens;
  const double outputs =
      epochs * problems * (tree ? work.response_tokens_unique() : work.trajectories * work.response_tokens);
  const double layers =
      layer_flops_per_token(m) * time.computed_tokens + flops_per_pair(m) * time.computed_tokens * mean_context(work);
  const double forward = layers + head_flops(m) * outputs;
  time.learn_flops = 3 * forward;
  double passes = 3;  // forward, and twice that for backward
  if (learn.kl_coef > 0) passes += 1;
  if (learn.behaviour == Behaviour::kRecomputed) passes += 1 / epochs;
  const double done = passes * forward + (learn.checkpoint_activations && tree ? layers : 0);
  const double peak = kTera * hardware.tflops(learn.compute) * share_of_device(input.learners_per_device());
  time.learning = done / (learners * peak * hardware.learn_share);

  time.updates = learn.epochs * ((learn.problems + learn.minibatch_problems - 1) / learn.minibatch_problems);
  const auto updates = static_cast<double>(time.updates);
  const double own = n / (learn.shard_optimizer ? learners : 1);
  const double bandwidth = kGiga * hardware.bandwidth_gbs * share_of_device(input.learners_per_device());
  const bool bf16 = learn.compute == Compute::kBf16;
  // Gradient, moments and master weights read; moments, master weights and weights written; once more for the norm.
  time.optimizer = updates * own * (bf16 ? 34 : 32) / bandwidth;
  // Half of a ring all-reduce sums fp32 gradients, the other hands out weights. The first runs beside the last
  // micro-batch's backward pass, two thirds of its time.
  if (input.learners > 1) {
    const double link = kGiga * hardware.link_gbs;
    const double ring = (learners - 1) / learners * n / link;
    const double minibatch = done / updates / (learners * peak * hardware.learn_share);
    const double per_rank =
        std::max(1.0, time.computed_tokens / updates / learners / static_cast<double>(learn.tokens_per_microbatch));
    const double hidden = minibatch * 2 / 3 / per_rank;
    time.gradient_sync = updates * (std::max(0.0, ring * 4 - hidden) + ring * (bf16 ? 2 : 4));
  }
  // The coordinator sends each search rank all values in fp32; a single rank hands them over in memory.
  time.broadcast = input.one_rank ? 3 * 4 * n / (kGiga * hardware.bandwidth_gbs)
                                  : static_cast<double>(input.search_ranks) * 4 * n / (kGiga * hardware.host_link_gbs);
  return time;
}

}  // namespace deepsearch
