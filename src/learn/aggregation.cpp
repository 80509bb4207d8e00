#include "learn/aggregation.h"

#include <algorithm>

#include "core/error.h"

namespace deepsearch {

int32_t oldest_version(const LearnParams& params, int64_t current) {
  if (params.max_token_age == 0) return 0;
  return static_cast<int32_t>(std::max<int64_t>(0, current - params.max_token_age));
}

int64_t counted_tokens(const Row& row, int32_t oldest) {
  if (row.versions.empty()) return row.n_response();
  return std::count_if(row.versions.begin(), row.versions.end(), [&](int32_t version) { return version >= oldest; });
}

double row_weight(const Row& row, const LearnParams& params, int32_t oldest) {
  const int64_t counted = counted_tokens(row, oldest);
  if (counted == 0) return 0;
  return params.loss_aggregation == LossAggregation::kSequenceMeanTokenMean ? 1.0 / static_cast<double>(counted) : 1.0;
}

double loss_denominator(const std::vector<Row>& rows, const LearnParams& params, int32_t oldest) {
  int64_t tokens = 0;
  int64_t counted_rows = 0;
  for (const Row& row : rows) {
    const int64_t counted = counted_tokens(row, oldest);
    tokens += counted;
    if (counted > 0) ++counted_rows;
  }
  if (tokens == 0) return 1;
  switch (params.loss_aggregation) {
    case LossAggregation::kTokenMean:
      return static_cast<double>(tokens);
    case LossAggregation::kSequenceMeanTokenSum:
    case LossAggregation::kSequenceMeanTokenMean:
      return static_cast<double>(counted_rows);
    case LossAggregation::kSequenceMeanTokenSumNorm:
      break;
  }
  if (params.response_budget <= 0) failure("seq_mean_token_sum_norm without a response budget");
  return static_cast<double>(counted_rows) * static_cast<double>(params.response_budget);
}

}  // namespace deepsearch
