#include "run/spending.h"

#include <gtest/gtest.h>

namespace deepsearch {
namespace {

constexpr Spending kSpent = {.steps = 7, .tokens_generated = 1000, .tokens_trained = 300, .device_seconds = 40};

TEST(Spending, CountsWhatTheBudgetSays) {
  const auto progress = [](Budget budget, double amount) {
    LearnParams learn;
    learn.budget = budget;
    learn.budget_amount = amount;
    return budget_progress(learn, kSpent);
  };
  EXPECT_DOUBLE_EQ(progress(Budget::kSteps, 14), 0.5);
  EXPECT_DOUBLE_EQ(progress(Budget::kTrainedTokens, 1200), 0.25);
  EXPECT_DOUBLE_EQ(progress(Budget::kGeneratedTokens, 4000), 0.25);
  EXPECT_DOUBLE_EQ(progress(Budget::kCost, 3800), 0.5);
  EXPECT_DOUBLE_EQ(progress(Budget::kDeviceSeconds, 10), 4);
  EXPECT_EQ(progress(Budget::kSteps, 0), -1);
}

TEST(Spending, StepsStayTheUpperBound) {
  LearnParams learn;
  learn.steps = 8;
  EXPECT_FALSE(is_spent(learn, kSpent));
  EXPECT_EQ(budget_text(learn, kSpent), "");
  learn.budget = Budget::kCost;
  learn.budget_amount = 1901;
  EXPECT_FALSE(is_spent(learn, kSpent));
  learn.budget_amount = 1900;
  EXPECT_TRUE(is_spent(learn, kSpent));
  EXPECT_EQ(budget_text(learn, kSpent), "1900 of 1900 tokens of cost (generated + 3 x trained)");
  learn.budget_amount = 1e9;
  learn.steps = 7;
  EXPECT_TRUE(is_spent(learn, kSpent));
}

}  // namespace
}  // namespace deepsearch
