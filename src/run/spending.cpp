#include "run/spending.h"

#include <utility>

#include "core/error.h"

namespace deepsearch {

namespace {

std::pair<double, const char*> amount_of(Budget budget, const Spending& spent) {
  switch (budget) {
    case Budget::kTrainedTokens:
      return {static_cast<double>(spent.tokens_trained), "tokens trained on"};
    case Budget::kGeneratedTokens:
      return {static_cast<double>(spent.tokens_generated), "tokens generated"};
    case Budget::kCost:
      return {spent.cost(), "tokens of cost (generated + 3 x trained)"};
    case Budget::kDeviceSeconds:
      return {spent.device_seconds, "device seconds"};
    case Budget::kSteps:
      break;
  }
  return {static_cast<double>(spent.steps), "steps"};
}

}  // namespace

double budget_progress(const LearnParams& learn, const Spending& spent) {
  if (learn.budget_amount <= 0) return -1;
  return amount_of(learn.budget, spent).first / learn.budget_amount;
}

bool is_spent(const LearnParams& learn, const Spending& spent) {
  return spent.steps >= learn.steps || budget_progress(learn, spent) >= 1;
}

std::string budget_text(const LearnParams& learn, const Spending& spent) {
  if (learn.budget_amount <= 0) return "";
  const auto [amount, unit] = amount_of(learn.budget, spent);
  return fmt::format("{:.0f} of {:.0f} {}", amount, learn.budget_amount, unit);
}

}  // namespace deepsearch
