#include "learn/sft.h"

#include <cmath>

#include <gtest/gtest.h>

#include "core/error.h"
#include "core/signals.h"
#include "learn/sample_rows.h"
#include "learn/solo.h"
#include "learn/trainer.h"

namespace deepsearch {
namespace {

std::vector<Demonstration> demonstrations(int n, uint64_t seed) {
  std::vector<Demonstration> result;
  for (const Row& row : sample_rows(n, seed)) result.push_back({.tokens = row.tokens, .n_prompt = row.n_prompt});
  return result;
}

SftParams quick_sft() {
  SftParams params;
  params.batch = 4;
  params.epochs = 3;
  params.validate_every = 2;
  params.optimizer = {.lr = 1e-2, .warmup_steps = 0, .weight_decay = 0};
  return params;
}

LearnParams one_thread() {
  LearnParams learn;
  learn.threads = 1;
  return learn;
}

struct Trained {
  ModelWeights end;
  std::vector<SftProgress> reports;
};

Trained run(const SftParams& params, const LearnParams& learn, uint64_t seed,
            const std::vector<Demonstration>& validation) {
  SoloCollectives solo;
  Trained result;
  result.end = fine_tune(fresh_weights(small_model(), 1), demonstrations(10, 1), validation, params, learn, seed, solo,
                         [&](const SftProgress& now) { result.reports.push_back(now); })
                   .weights;
  return result;
}

TEST(Sft, GoesThroughTheDataInEpochsAndValidatesOnTheWay) {
  const Trained found = run(quick_sft(), one_thread(), 1, demonstrations(5, 2));
  // Ten demonstrations in batches of four: three updates an epoch, the last one of two.
  ASSERT_EQ(found.reports.size(), 10U);
  for (int64_t update = 0; update <= 9; ++update) {
    const SftProgress& now = found.reports[static_cast<size_t>(update)];
    EXPECT_EQ(now.update, update);
    EXPECT_EQ(now.updates, 9);
    EXPECT_EQ(now.epoch, (update + 2) / 3);
    EXPECT_EQ(now.validation_loss.has_value(), update % 2 == 0 || update == 9) << update;
  }
}

TEST(Sft, ValidationLossIsTheMeanCrossEntropyPerResponseToken) {
  const std::vector<Demonstration> validation = demonstrations(5, 2);
  SftParams params = quick_sft();
  params.optimizer.lr = 0;
  params.epochs = 1;
  const Trained found = run(params, one_thread(), 1, validation);
  SoloCollectives solo;
  Trainer trainer(fresh_weights(small_model(), 1), one_thread(), solo, 1);
  double sum = 0;
  double tokens = 0;
  for (const std::vector<float>& row : trainer.logprobs(sample_rows(5, 2))) {
    for (const float logprob : row) sum -= static_cast<double>(logprob);
    tokens += static_cast<double>(row.size());
  }
  EXPECT_NEAR(found.reports.front().validation_loss.value(), sum / tokens, 1e-5);
  EXPECT_NEAR(found.reports.back().validation_loss.value(), sum / tokens, 1e-5);  // a rate of zero changes nothing
}

TEST(Sft, LearnsItsDataAndRepeats) {
  SftParams params = quick_sft();
  params.epochs = 40;
  const Trained one = run(params, one_thread(), 1, demonstrations(10, 1));  // the training rows themselves
  EXPECT_LT(one.reports.back().validation_loss.value(), 0.5 * one.reports.front().validation_loss.value());
  params.epochs = 2;
  const std::vector<float> first = flatten(run(params, one_thread(), 1, {}).end);
  EXPECT_EQ(first, flatten(run(params, one_thread(), 1, {}).end));
  EXPECT_NE(first, flatten(run(params, one_thread(), 2, {}).end));  // another order
}

TEST(Sft, OnlyResponsesAreLearned) {
  // Two prompts of the same length, the same response: were prompts learned, the losses would differ by their tokens.
  SoloCollectives solo;
  SftParams params = quick_sft();
  params.batch = 1;
  params.epochs = 1;
  const std::vector<Demonstration> data = {{.tokens = {3, 4, 5, 6, 7, 1}, .n_prompt = 5}};
  double loss = 0;
  fine_tune(fresh_weights(small_model(), 1), data, {}, params, one_thread(), 1, solo,
            [&](const SftProgress& now) { loss = now.loss; });
  Trainer trainer(fresh_weights(small_model(), 1), one_thread(), solo, 1);
  const Row row = {
      .tokens = data[0].tokens, .n_prompt = 5, .advantages = {0}, .behaviour = {0}, .versions = {}, .key = {}};
  EXPECT_NEAR(loss, -static_cast<double>(trainer.logprobs({row})[0].at(0)), 1e-5);
}

TEST(Sft, TheRulesOfReinforcementAreLeftOut) {
  LearnParams learn = one_thread();
  learn.kl_coef = 10;
  learn.entropy_coef = 1;
  learn.temperature = 3;
  learn.loss_aggregation = LossAggregation::kSequenceMeanTokenSum;
  learn.behaviour = Behaviour::kRecomputed;
  EXPECT_EQ(flatten(run(quick_sft(), learn, 1, {}).end), flatten(run(quick_sft(), one_thread(), 1, {}).end));
}

TEST(Sft, AStopSignalCutsShortAndIsToldButTheLastUpdateIsTheEnd) {
  SoloCollectives solo;
  const SftParams params = quick_sft();
  for (const int64_t stop_at : {4, 9}) {
    int64_t updates = 0;
    const SupervisedModel end = fine_tune(fresh_weights(small_model(), 1), demonstrations(10, 1), {}, params,
                                          one_thread(), 1, solo, [&](const SftProgress& now) {
                                            updates = now.update;
                                            if (now.update == stop_at) request_stop(15);
                                          });
    clear_stop_request();
    EXPECT_EQ(updates, std::min<int64_t>(stop_at + 1, 9));
    EXPECT_EQ(end.stop_signal, stop_at == 9 ? 0 : 15);
  }
}

TEST(Sft, ALossThatIsNotFiniteIsAnError) {
  ModelWeights start = fresh_weights(small_model(), 1);
  start.tensors.back().values.front() = std::nanf("");
  SoloCollectives solo;
  EXPECT_THROW(
      fine_tune(start, demonstrations(4, 1), {}, quick_sft(), one_thread(), 1, solo, [](const SftProgress&) {}), Error);
}

}  // namespace
}  // namespace deepsearch
