// [learn].budget: what a run has spent of it. Pure.
#pragma once

#include <cstdint>
#include <string>

#include "learn/params.h"

namespace deepsearch {

struct Spending {
  int64_t steps = 0;
  int64_t tokens_generated = 0;  // evaluations aside
  int64_t tokens_trained = 0;
  double device_seconds = 0;  // of wall time, times the job's ranks; all attempts

  // The cost rule of comparisons.
  double cost() const { return static_cast<double>(tokens_generated) + 3.0 * static_cast<double>(tokens_trained); }
};

// Share of the budget that is spent, 0 to 1 and above; −1 where no amount is set.
double budget_progress(const LearnParams& learn, const Spending& spent);
// Nothing more is to be begun: the budget or [learn].steps is used up.
bool is_spent(const LearnParams& learn, const Spending& spent);
// "120,345 of 100,000 tokens generated"; "" where no amount is set.
std::string budget_text(const LearnParams& learn, const Spending& spent);

}  // namespace deepsearch
