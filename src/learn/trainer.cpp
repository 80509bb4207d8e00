#include "learn/trainer.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <set>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <c10/core/CachingDeviceAllocator.h>

#include "core/activity.h"
#include "core/error.h"
#include "core/log.h"
#include "learn/aggregation.h"
#include "learn/flops.h"
#include "learn/micro_batch.h"
#include "learn/network/decoder.h"
#include "learn/optimizer.h"
#include "learn/policy_gradient.h"

namespace deepsearch {

namespace {

at::ScalarType dtype_of(Compute compute) {
  return compute == Compute::kBf16 ? at::kBFloat16 : at::kFloat;
}

CostModel cost_model(const ModelConfig& config) {
  const double head = 2 * static_cast<double>(config.hidden_size) * static_cast<double>(config.vocab_size);
  return {.per_pair = flops_per_pair(config) / (layer_flops_per_token(config) + head)};
}

void check_rows(const std::vector<Row>& rows, const ModelConfig& config) {
  for (const Row& row : rows) {
    if (row.n_prompt < 1 || row.n_response() < 1) failure("training row without a prompt or a response");
    if (static_cast<int64_t>(row.tokens.size()) > config.max_positions) {
      bad_input("a trajectory of {} tokens does not fit the model: [model].max_positions is {}", row.tokens.size(),
                config.max_positions);
    }
    const auto [least, most] = std::minmax_element(row.tokens.begin(), row.tokens.end());
    if (*least < 0 || *most >= config.vocab_size) {
      bad_input("token {} of a training row is not in the model's vocabulary of {}: tokenizer and model do not match",
                *least < 0 ? *least : *most, config.vocab_size);
    }
  }
}

// A micro-batch of this rank with what its loss is made of.
struct Work {
  MicroBatch batch;
  std::vector<TreeKey> keys;  // of its rows
};

std::string text_of(const std::set<TreeKey>& keys) {
  std::string text;
  for (const TreeKey& key : keys) {
    if (!text.empty()) text += ", ";
    text += fmt::format("step {} problem {} ({:016x})", key.step, key.problem_index, key.problem_key);
  }
  return text;
}

// Trees of the rows that have a term among `terms` whose loss is not finite.
std::set<TreeKey> trees_at_fault(const Work& work, TermRange terms, const at::Tensor& losses) {
  std::set<TreeKey> keys;
  const at::Tensor finite = at::isfinite(losses).to(at::kCPU).contiguous();
  const PackedRows& packed = work.batch.packed;
  for (size_t r = 0; r < work.keys.size(); ++r) {
    for (int64_t i = packed.row_first[r]; i < packed.row_first[r + 1]; ++i) {
      const int64_t term = packed.row_terms[static_cast<size_t>(i)];
      if (term < terms.first || term >= terms.last) continue;
      if (!finite.const_data_ptr<bool>()[term - terms.first]) keys.insert(work.keys[r]);
    }
  }
  return keys;
}

}  // namespace

struct Trainer::Impl {
  Impl(const ModelWeights& start, const LearnParams& learn, Collectives& group, int64_t planned_updates)
      : params(learn),
        collectives(group),
        device(group.on_device() ? at::Device("cuda") : at::Device(at::kCPU)),
        decoder(start.config, device, dtype_of(learn.compute)),
        config(start.config),
        cost(cost_model(start.config)) {
    if (params.threads > 0) at::set_num_threads(static_cast<int>(params.threads));
    peak_flops = device_peak_flops(device.is_cuda(), params.compute, at::get_num_threads());
    decoder.load(start);
    decoder.set_checkpointing(params.checkpoint_activations);
    optimizer.emplace(decoder.parameters(), decoder.parameter_groups(), params, collectives, planned_updates);
    if (params.kl_coef > 0) {
      reference.emplace(start.config, device, dtype_of(learn.compute));
      reference->load(start);
    }
  }

  // This rank's share of the rows, in micro-batches.
  std::vector<Work> share(const std::vector<Row>& rows, int64_t version) const;
  std::vector<WeightedRow> weighted(const std::vector<Row>& rows, const Piece& piece, int32_t oldest) const;

  // Backward of one micro-batch: `loss` as head_backward() wants it.
  void backward(const Work& work, bool last, double temperature, const ChunkLoss& loss);
  // Runs all of this rank's micro-batches of a minibatch and the update. `loss_of(work)` makes the loss of one.
  template <class LossOf>
  AdamW::Update update(const std::vector<Work>& share, double temperature, LossOf&& loss_of,
                       const std::function<void()>& between);
  ChunkLoss policy_loss(const Work& work, double divisor, bool first, StatsSums& sums, std::set<TreeKey>& at_fault);
  void learn_minibatch(const std::vector<Work>& share, double divisor, int64_t version, bool first, StatsSums& sums,
                       TrainStats& stats, const std::function<void()>& between);
  void report_bad_update(const std::set<TreeKey>& at_fault) const;

  LearnParams params;
  Collectives& collectives;
  at::Device device;
  Decoder decoder;
  ModelConfig config;
  CostModel cost;
  double peak_flops = 0;  // of this rank
  std::optional<AdamW> optimizer;
  std::optional<Decoder> reference;
};

std::vector<WeightedRow> Trainer::Impl::weighted(const std::vector<Row>& rows, const Piece& piece,
                                                 int32_t oldest) const {
  std::vector<WeightedRow> chosen;
  chosen.reserve(piece.rows.size());
  for (const int32_t index : piece.rows) {
    const Row& row = rows[static_cast<size_t>(index)];
    chosen.push_back({&row, row_weight(row, params, oldest), oldest});
  }
  return chosen;
}

std::vector<Work> Trainer::Impl::share(const std::vector<Row>& rows, int64_t version) const {
  const int32_t oldest = oldest_version(params, version);
  const std::vector<Piece> pieces = cut_into_pieces(rows, params.packing, params.tokens_per_microbatch, cost);
  const std::vector<int> owner = share_pieces(pieces, collectives.size());
  std::vector<Work> mine;
  for (size_t i = 0; i < pieces.size(); ++i) {
    if (owner[i] != collectives.rank()) continue;
    Work work;
    work.batch = make_micro_batch(weighted(rows, pieces[i], oldest), params.packing, config.pad_token, device);
    for (const int32_t row : pieces[i].rows) work.keys.push_back(rows[static_cast<size_t>(row)].key);
    mine.push_back(std::move(work));
  }
  return mine;
}

void Trainer::Impl::backward(const Work& work, bool last, double temperature, const ChunkLoss& loss) {
  const at::Tensor states = output_states(decoder, work.batch);
  const at::Tensor gradient = head_backward(head_inputs(decoder, work.batch, states.detach(), temperature), loss);
  report_progress();
  const bool tells = last && params.packing == Packing::kTree;
  decoder.on_gradients(!tells ? std::function<void(size_t)>() : [this](size_t group) {
    optimizer->gradients_ready(static_cast<int>(group));
    collectives.progress();
  });
  states.backward(gradient);
  report_progress();
}

template <class LossOf>
AdamW::Update Trainer::Impl::update(const std::vector<Work>& share, double temperature, LossOf&& loss_of,
                                    const std::function<void()>& between) {
  optimizer->zero_grad();
  for (size_t i = 0; i < share.size(); ++i) {
    const bool last = i + 1 == share.size();
    backward(share[i], last, temperature, loss_of(share[i]));
    if (!last) optimizer->accumulate();
    if (between) between();
  }
  return optimizer->step();
}

ChunkLoss Trainer::Impl::policy_loss(const Work& work, double divisor, bool first, StatsSums& sums,
                                     std::set<TreeKey>& at_fault) {
  at::Tensor reference_logprobs;
  if (reference) reference_logprobs = term_logprobs(*reference, work.batch, params.temperature);
  return policy_chunk_loss(work.batch, reference_logprobs, params, divisor,
                           [&work, &sums, &at_fault, divisor, first](const ChunkTerms& chunk) {
                             sums.add(work.batch, chunk, divisor, first);
                             if (!chunk.finite) at_fault.merge(trees_at_fault(work, chunk.terms, chunk.loss.loss));
                           });
}

void Trainer::Impl::report_bad_update(const std::set<TreeKey>& at_fault) const {
  if (!at_fault.empty()) log_warning("an update is skipped: the loss is not finite for {}", text_of(at_fault));
  const int64_t in_a_row = optimizer->skipped_in_a_row();
  if (params.max_bad_steps > 0 && in_a_row >= params.max_bad_steps) {
    failure(
        "{} updates in a row had a loss or gradient that is not finite ([learn].max_bad_steps): a smaller learning "
        "rate or gradient norm may help; the log names the trees at fault where the loss showed them",
        in_a_row);
  }
}

void Trainer::Impl::learn_minibatch(const std::vector<Work>& share, double divisor, int64_t version, bool first,
                                    StatsSums& sums, TrainStats& stats, const std::function<void()>& between) {
  std::set<TreeKey> at_fault;
  const AdamW::Update done = update(
      share, params.temperature, [&](const Work& work) { return policy_loss(work, divisor, first, sums, at_fault); },
      between);
  for (const Work& work : share) {
    sums.add(work.batch, version,
             train_flops(config, static_cast<double>(work.batch.computed_tokens()),
                         static_cast<double>(work.batch.outputs.numel()), work.batch.pairs));
  }
  ++stats.updates;
  stats.lr = done.lr;
  if (done.skipped) {
    ++stats.skipped_updates;
    report_bad_update(at_fault);
  } else {
    stats.grad_norm += done.grad_norm;
  }
}

Trainer::Trainer(const ModelWeights& start, const LearnParams& params, Collectives& collectives,
                 int64_t planned_updates)
    : impl_(std::make_unique<Impl>(start, params, collectives, planned_updates)) {}

Trainer::~Trainer() = default;

void Trainer::set_progress(double progress) {
  impl_->optimizer->set_progress(progress);
}

TrainStats Trainer::train(const std::vector<std::vector<Row>>& minibatches, const std::function<void()>& between,
                          int64_t version) {
  Impl& m = *impl_;
  for (const auto& rows : minibatches) check_rows(rows, m.config);
  std::vector<std::vector<Work>> shares;
  std::vector<double> divisors;
  for (const std::vector<Row>& rows : minibatches) {
    const int32_t oldest = oldest_version(m.params, version);
    if (std::ranges::all_of(rows, [&](const Row& row) { return counted_tokens(row, oldest) == 0; })) continue;
    divisors.push_back(loss_denominator(rows, m.params, oldest));
    shares.push_back(m.share(rows, version));
    if (m.params.behaviour != Behaviour::kRecomputed) continue;
    for (Work& work : shares.back()) {
      work.batch.recomputed = term_logprobs(m.decoder, work.batch, m.params.temperature);
      if (between) between();
    }
  }
  TrainStats stats;
  StatsSums sums;
  const double waited = m.optimizer->seconds_waiting();
  for (int64_t epoch = 0; epoch < m.params.epochs; ++epoch) {
    for (size_t i = 0; i < shares.size(); ++i) {
      m.learn_minibatch(shares[i], divisors[i], version, stats.updates == 0, sums, stats, between);
    }
  }
  sums.finish(m.collectives, stats);
  stats.grad_norm /= static_cast<double>(std::max<int64_t>(stats.updates - stats.skipped_updates, 1));
  stats.peak_flops = m.collectives.all_reduce_sum(m.peak_flops);
  stats.seconds_sync = m.optimizer->seconds_waiting() - waited;
  return stats;
}

double Trainer::supervise(const std::vector<Row>& rows) {
  Impl& m = *impl_;
  check_rows(rows, m.config);
  if (rows.empty()) return 0;
  const double divisor = loss_denominator(rows, m.params, 0);
  double sum = 0;
  m.update(m.share(rows, 0), 1.0,
           [&](const Work& work) {
             // Every target once, with all the weight that its terms have.
             const at::Tensor weights = at::zeros({work.batch.target_tokens.numel()}, work.batch.weights.options())
                                            .index_add_(0, work.batch.term_targets, work.batch.weights) /
                                        divisor;
             return [&sum, weights](int64_t first, int64_t last, int64_t, const HeadValues& values) {
               const at::Tensor slopes = weights.narrow(0, first, last - first);
               sum -= (values.logprobs * slopes).sum().item<double>();
               return HeadGradients{-slopes, {}};
             };
           },
           {});
  return m.collectives.all_reduce_sum(sum);
}

Trainer::LogLikelihood Trainer::log_likelihood(const std::vector<Row>& rows) {
  Impl& m = *impl_;
  check_rows(rows, m.config);
  double sum = 0;
  double tokens = 0;
  for (const Work& work : m.share(rows, 0)) {
    sum += (term_logprobs(m.decoder, work.batch, 1.0).to(at::kDouble) * work.batch.counts).sum().item<double>();
    tokens += work.batch.counts.sum().item<double>();
  }
  return {m.collectives.all_reduce_sum(sum), std::llround(m.collectives.all_reduce_sum(tokens))};
}

std::vector<std::vector<float>> Trainer::logprobs(const std::vector<Row>& rows) {
  Impl& m = *impl_;
  check_rows(rows, m.config);
  std::vector<std::vector<float>> result(rows.size());
  for (const Piece& piece : cut_into_pieces(rows, m.params.packing, m.params.tokens_per_microbatch, m.cost)) {
    const MicroBatch batch =
        make_micro_batch(m.weighted(rows, piece, 0), m.params.packing, m.config.pad_token, m.device);
    const at::Tensor values = term_logprobs(m.decoder, batch, m.params.temperature).to(at::kCPU).contiguous();
    const float* of_term = values.const_data_ptr<float>();
    for (size_t r = 0; r < piece.rows.size(); ++r) {
      std::vector<float>& row = result[static_cast<size_t>(piece.rows[r])];
      for (int64_t i = batch.packed.row_first[r]; i < batch.packed.row_first[r + 1]; ++i) {
        row.push_back(of_term[batch.packed.row_terms[static_cast<size_t>(i)]]);
      }
    }
  }
  return result;
}

void Trainer::give_back_memory() {
  if (impl_->device.is_cuda()) at::getDeviceAllocator(impl_->device.type())->emptyCache();
}

ModelWeights Trainer::weights() const {
  return impl_->decoder.store();
}

OptimizerState Trainer::optimizer_state() const {
  return impl_->optimizer->state();
}

OptimizerState Trainer::optimizer_layout() const {
  return impl_->optimizer->layout();
}

void Trainer::restore(const OptimizerState& state) {
  impl_->optimizer->restore(state);
}

}  // namespace deepsearch
