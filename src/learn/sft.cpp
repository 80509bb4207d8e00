#include "learn/sft.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/error.h"
#include "core/rng.h"
#include "core/signals.h"
#include "core/timer.h"
#include "learn/rows.h"
#include "learn/trainer.h"

namespace deepsearch {

namespace {

Row row_of(const Demonstration& demonstration) {
  return supervised_row(demonstration.tokens, demonstration.n_prompt);
}

// Mean cross-entropy; a few rows at a time, since rows cost more than their tokens.
double validation_loss(Trainer& trainer, const std::vector<Demonstration>& validation) {
  constexpr size_t kRowsAtOnce = 1024;
  double sum = 0;
  double tokens = 0;
  for (size_t i = 0; i < validation.size();) {
    std::vector<Row> rows;
    for (; i < validation.size() && rows.size() < kRowsAtOnce; ++i) rows.push_back(row_of(validation[i]));
    const Trainer::LogLikelihood part = trainer.log_likelihood(rows);
    sum -= part.sum;
    tokens += static_cast<double>(part.tokens);
  }
  return sum / tokens;
}

std::vector<size_t> order_of(size_t n, uint64_t seed, int64_t epoch) {
  std::vector<size_t> order(n);
  std::iota(order.begin(), order.end(), size_t{0});
  RandomStream random(seed, RngPurpose::kShuffle, mix_all(hash_text("sft"), epoch));
  random.shuffle(order);
  return order;
}

}  // namespace

LearnParams supervised_params(const LearnParams& learn, const SftParams& params) {
  LearnParams result = learn;
  result.optimizer = params.optimizer;
  result.loss_aggregation = LossAggregation::kTokenMean;
  result.behaviour = Behaviour::kEngine;
  result.importance = Importance::kNone;
  result.max_token_age = 0;
  result.kl_coef = 0;
  result.entropy_coef = 0;
  result.temperature = 1;
  result.epochs = 1;
  return result;
}

bool CutShort::now() {
  // A signal's number, which is 1 or more, above the time's mark.
  const bool late = seconds_ > 0 && watch_.seconds() > seconds_;
  const double mark = stop_requested() ? deepsearch::stop_signal() : late ? 0.5 : 0;
  const double highest = collectives_.all_reduce_max(mark);
  stop_signal_ = static_cast<int>(highest);
  return highest > 0;
}

int64_t sft_updates(int64_t demonstrations, const SftParams& params) {
  return params.epochs * ((demonstrations + params.batch - 1) / params.batch);
}

SupervisedModel fine_tune(const ModelWeights& start, const std::vector<Demonstration>& data,
                          const std::vector<Demonstration>& validation, const SftParams& params,
                          const LearnParams& learn, uint64_t seed, Collectives& collectives,
                          const std::function<void(const SftProgress&)>& report) {
  if (data.empty()) failure("supervised training without a demonstration");
  SftProgress now;
  now.updates = sft_updates(static_cast<int64_t>(data.size()), params);
  Trainer trainer(start, supervised_params(learn, params), collectives, now.updates);
  CutShort cut_short(collectives, params.seconds);
  const auto measure = [&] {
    now.validation_loss.reset();
    if (!validation.empty()) now.validation_loss = validation_loss(trainer, validation);
  };
  measure();
  report(now);
  const auto batch = static_cast<size_t>(params.batch);
  bool stop = false;
  for (int64_t epoch = 0; epoch < params.epochs && !stop; ++epoch) {
    const std::vector<size_t> order = order_of(data.size(), seed, epoch);
    for (size_t first = 0; first < order.size() && !stop; first += batch) {
      std::vector<Row> rows;
      for (size_t i = first; i < std::min(order.size(), first + batch); ++i) rows.push_back(row_of(data[order[i]]));
      now.loss = trainer.supervise(rows);
      if (!std::isfinite(now.loss)) {
        failure("update {}: the loss is not finite; a smaller [sft.optimizer].lr may help", now.update + 1);
      }
      now.epoch = epoch + 1;
      ++now.update;
      now.mean_loss += (now.loss - now.mean_loss) / static_cast<double>(std::min<int64_t>(now.update, 100));
      const bool last = now.update == now.updates;
      stop = !last && cut_short.now();
      now.validation_loss.reset();
      const bool due = params.validate_every > 0 && now.update % params.validate_every == 0;
      if (due || stop || last) measure();
      report(now);
    }
  }
  return {.weights = trainer.weights(), .stop_signal = cut_short.stop_signal()};
}

}  // namespace deepsearch
