// The golden policy-loss cases through what training uses: rows, weights, denominator, ATen terms.
#include "learn/aggregation.h"

#include <limits>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "golden/golden_data.h"
#include "learn/loss.h"
#include "learn/sample_rows.h"

namespace deepsearch {
namespace {

using testing::Json;

LossAggregation aggregation_of(const std::string& name) {
  if (name == "token_mean") return LossAggregation::kTokenMean;
  if (name == "seq_mean_token_sum") return LossAggregation::kSequenceMeanTokenSum;
  if (name == "seq_mean_token_mean") return LossAggregation::kSequenceMeanTokenMean;
  EXPECT_EQ("seq_mean_token_sum_norm", name);
  return LossAggregation::kSequenceMeanTokenSumNorm;
}

// The unmasked values, row after row.
std::vector<double> unmasked(const Json& line, const Json& values) {
  std::vector<double> kept;
  for (size_t r = 0; r < values.size(); ++r) {
    for (size_t c = 0; c < values[r].size(); ++c) {
      if (line["mask"][r][c] != 0) kept.push_back(values[r][c]);
    }
  }
  return kept;
}

std::vector<Row> rows_of_mask(const Json& mask) {
  std::vector<Row> rows;
  for (const Json& line : mask) {
    Row row;
    row.n_prompt = 2;
    row.tokens.assign(2, 1);
    for (const Json& value : line) {
      if (value != 0) row.tokens.push_back(1);
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

at::Tensor weights_of(const std::vector<Row>& rows, const LearnParams& params, int32_t oldest) {
  std::vector<double> weights;
  for (const Row& row : rows) {
    const double weight = row_weight(row, params, oldest);
    for (int64_t j = 0; j < row.n_response(); ++j) {
      const bool counts = row.versions.empty() || row.versions[static_cast<size_t>(j)] >= oldest;
      weights.push_back(counts ? weight : 0);
    }
  }
  return at::tensor(weights, at::kDouble);
}

void compare(const Json& line) {
  LearnParams params;
  params.clip_low = line["options"]["clip_low"];
  params.clip_high = line["options"]["clip_high"];
  params.dual_clip = line["options"]["dual_clip"];
  params.loss_aggregation = aggregation_of(line["options"]["aggregation"]);
  params.response_budget = static_cast<int64_t>(line["mask"][0].size());
  const std::vector<Row> rows = rows_of_mask(line["mask"]);
  LossInputs inputs;
  inputs.logprobs = at::tensor(unmasked(line, line["logp_new"]), at::kDouble).requires_grad_(true);
  inputs.engine = at::tensor(unmasked(line, line["logp_old"]), at::kDouble);
  inputs.advantages = at::tensor(unmasked(line, line["advantages"]), at::kDouble);
  const TermLoss terms = term_losses(inputs, params);
  double denominator = loss_denominator(rows, params, 0);
  // The reference leaves the number of rows out here, a constant factor.
  if (params.loss_aggregation == LossAggregation::kSequenceMeanTokenSumNorm) {
    denominator /= static_cast<double>(rows.size());
  }
  const at::Tensor loss = (terms.loss * weights_of(rows, params, 0)).sum() / denominator;
  loss.backward();
  // The reference divides by count + 1e-8.
  EXPECT_TRUE(testing::is_near(line["expected"]["loss"], loss.item<double>(), 2e-9));
  const std::vector<double> expected = unmasked(line, line["expected"]["grad_logp_new"]);
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_TRUE(testing::is_near(expected[i], inputs.logprobs.grad()[static_cast<int64_t>(i)].item<double>(), 2e-9));
  }
}

TEST(Aggregation, GoldenPolicyLosses) {
  const std::vector<Json> lines = testing::golden_lines("advantages.jsonl");
  DEEPSEARCH_NEEDS_GOLDEN(lines, "advantages.jsonl");
  int seen = 0;
  for (const Json& line : lines) {
    if (line["kind"] != "policy_loss") continue;
    SCOPED_TRACE(line["id"].get<std::string>());
    ++seen;
    compare(line);
  }
  EXPECT_EQ(20, seen);
}

constexpr LossAggregation kAll[] = {LossAggregation::kTokenMean, LossAggregation::kSequenceMeanTokenSum,
                                    LossAggregation::kSequenceMeanTokenMean,
                                    LossAggregation::kSequenceMeanTokenSumNorm};

TEST(Aggregation, OldTokensAreAsIfTheyWereNotThere) {
  for (const LossAggregation aggregation : kAll) {
    LearnParams params;
    params.loss_aggregation = aggregation;
    params.response_budget = 20;
    params.max_token_age = 2;
    EXPECT_EQ(5, oldest_version(params, 7));
    EXPECT_EQ(0, oldest_version(params, 1));
    std::vector<Row> rows = sample_rows(9, 4);
    std::vector<Row> without;
    for (size_t r = 0; r < rows.size(); ++r) {
      Row& row = rows[r];
      Row kept = row;
      kept.tokens.resize(static_cast<size_t>(row.n_prompt));
      for (int64_t j = 0; j < row.n_response(); ++j) {
        const bool old = r == 3 || (r % 2 == 0 && j % 3 == 1);
        row.versions.push_back(old ? 4 : 5);
        if (!old) kept.tokens.push_back(1);
      }
      EXPECT_EQ(kept.n_response(), counted_tokens(row, 5));
      EXPECT_EQ(row.n_response(), counted_tokens(row, 0));
      if (kept.n_response() > 0) without.push_back(kept);
    }
    EXPECT_EQ(0, row_weight(rows[3], params, 5));
    EXPECT_EQ(8U, without.size());
    EXPECT_EQ(loss_denominator(without, params, 5), loss_denominator(rows, params, 5));
    EXPECT_EQ(row_weight(without[0], params, 5), row_weight(rows[0], params, 5));
    params.max_token_age = 0;
    EXPECT_EQ(0, oldest_version(params, 7));
  }
}

// Losses of 1 on every token, by hand: rows of 1 and 3 tokens, budget 8.
TEST(Aggregation, ByHand) {
  std::vector<Row> rows = rows_of_mask(Json::parse("[[1, 0, 0], [1, 1, 1]]"));
  const auto mean_of_ones = [&](LossAggregation aggregation) {
    LearnParams params;
    params.loss_aggregation = aggregation;
    params.response_budget = 8;
    return weights_of(rows, params, 0).sum().item<double>() / loss_denominator(rows, params, 0);
  };
  EXPECT_DOUBLE_EQ(1, mean_of_ones(LossAggregation::kTokenMean));
  EXPECT_DOUBLE_EQ(2, mean_of_ones(LossAggregation::kSequenceMeanTokenSum));
  EXPECT_DOUBLE_EQ(1, mean_of_ones(LossAggregation::kSequenceMeanTokenMean));
  EXPECT_DOUBLE_EQ(4.0 / 16, mean_of_ones(LossAggregation::kSequenceMeanTokenSumNorm));
}

TEST(Aggregation, NothingToCountIsALossOfZero) {
  for (const LossAggregation aggregation : kAll) {
    LearnParams params;
    params.loss_aggregation = aggregation;
    EXPECT_EQ(1, loss_denominator({}, params, 0));
    std::vector<Row> rows = rows_of_mask(Json::parse("[[1, 1]]"));
    rows[0].versions = {0, 1};
    EXPECT_EQ(1, loss_denominator(rows, params, 2));
    EXPECT_EQ(0, weights_of(rows, params, 2).sum().item<double>());
  }
  LearnParams params;
  params.loss_aggregation = LossAggregation::kSequenceMeanTokenSumNorm;
  EXPECT_THROW(loss_denominator(rows_of_mask(Json::parse("[[1]]")), params, 0), Error);
}

}  // namespace
}  // namespace deepsearch
