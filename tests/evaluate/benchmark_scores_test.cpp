#include "evaluate/benchmark_scores.h"

#include <cmath>

#include <gtest/gtest.h>

namespace deepsearch {
namespace {

std::vector<SampleResult> samples_of(const std::vector<int32_t>& answers) {
  std::vector<SampleResult> samples;
  for (const int32_t answer : answers) {
    SampleResult sample;
    sample.outcome = answer == 0 ? Outcome::kCorrect : Outcome::kWrong;
    sample.answer = answer;
    sample.tokens = 10 + answer;
    samples.push_back(sample);
  }
  return samples;
}

bool majority(const std::vector<int32_t>& answers) {
  return majority_correct(samples_of(answers).data(), static_cast<int64_t>(answers.size()));
}

TEST(Majority, MostVotesWinAndTheFirstBreaksTies) {
  EXPECT_TRUE(majority({1, 0, 2, 0}));
  EXPECT_FALSE(majority({1, 0, 1}));
  EXPECT_TRUE(majority({0, 1, 1, 0}));  // a tie: the one that came first
  EXPECT_FALSE(majority({1, 0, 0, 1}));
  EXPECT_TRUE(majority({-1, -1, -1, 0}));  // no answer, no vote
  EXPECT_FALSE(majority({-1, -1}));
  EXPECT_TRUE(majority({2, 1, 3, 1, 0, 0, 0}));
}

TEST(Majority, AtKIsTheMeanOverRunsOfKSamples) {
  const auto samples = samples_of({0, 1, 1, 0, 0, 0, 1});
  EXPECT_DOUBLE_EQ(majority_at_k(samples, 1), 4.0 / 7);
  EXPECT_DOUBLE_EQ(majority_at_k(samples, 2), 2.0 / 3);  // {0,1} yes, {1,0} no, {0,0} yes; the last is left over
  EXPECT_DOUBLE_EQ(majority_at_k(samples, 7), 1);
}

TEST(Answers, AreNumberedByFirstMentionAndComparedByTheirEquality) {
  std::vector<SampleResult> samples(6);
  const char* texts[] = {"0.5", "7", "", "1/2", "07", "3"};
  for (size_t i = 0; i < 6; ++i) samples[i].extracted = texts[i];
  samples[5].outcome = Outcome::kCorrect;
  number_answers(samples, [](const std::string& a, const std::string& b) {
    return (a == "0.5" && b == "1/2") || (a == "7" && b == "07");
  });
  const std::vector<int32_t> expected = {1, 2, -1, 1, 2, 0};
  for (size_t i = 0; i < 6; ++i) EXPECT_EQ(samples[i].answer, expected[i]) << i;
}

TEST(Scores, MeansIntervalsAndTheAverage) {
  BenchmarkResult one{.name = "one"};
  for (int i = 0; i < 40; ++i) {  // half of the problems always right, half never
    one.problems.push_back({.id = std::to_string(i), .samples = samples_of({i % 2, i % 2})});
  }
  BenchmarkResult two{.name = "two"};
  two.problems.push_back({.id = "a", .samples = samples_of({0, 1})});
  const std::vector<BenchmarkScores> scores = score_benchmarks({one, two}, {.ks = {1, 2}});
  ASSERT_EQ(scores.size(), 3U);
  const Score& pass = scores[0].at(Measure::kPass, 1);
  EXPECT_DOUBLE_EQ(pass.value, 0.5);
  // A mean of 40 with deviation 1/2: 0.5 ± 1.96 · 0.5/√40 = 0.345 to 0.655, in steps of 1/40.
  EXPECT_NEAR(pass.low, 0.345, 0.026);
  EXPECT_NEAR(pass.high, 0.655, 0.026);
  const Score& single = scores[1].at(Measure::kPass, 1);
  EXPECT_DOUBLE_EQ(single.value, 0.5);
  EXPECT_DOUBLE_EQ(single.low, 0.5);  // one problem can only be drawn
  EXPECT_DOUBLE_EQ(scores[1].at(Measure::kPass, 2).value, 1);
  EXPECT_EQ(scores[2].name, "average");
  EXPECT_DOUBLE_EQ(scores[2].at(Measure::kPass, 2).value, 0.75);
  EXPECT_NEAR(scores[2].at(Measure::kPass, 1).low, (pass.low + 0.5) / 2, 0.013);
  EXPECT_DOUBLE_EQ(scores[0].response_tokens, 10.5);
  EXPECT_EQ(scores[2].problems, 41);
  EXPECT_EQ(score_benchmarks({two}, {.ks = {1}}).size(), 1U);  // one benchmark is its own average
}

TEST(Scores, KsAreThePowersOfTwoAndTheWhole) {
  EXPECT_EQ(default_ks(1), (std::vector<int64_t>{1}));
  EXPECT_EQ(default_ks(32), (std::vector<int64_t>{1, 2, 4, 8, 16, 32}));
  EXPECT_EQ(default_ks(6), (std::vector<int64_t>{1, 2, 4, 6}));
}

}  // namespace
}  // namespace deepsearch
