// The filter's rule (algorithm.md section 4, step 1): K full responses a problem from the current policy; what passes
// at most a share δ of them is hard. Pure.
#pragma once

#include <cstdint>
#include <vector>

namespace deepsearch {

// Pass1@K ≤ δ.
bool is_hard(int64_t correct, int64_t samples, double max_pass_rate);

// One pass over the problems of the round before, in waves. The next round's candidates are this one's hard problems,
// so that the hard set only shrinks.
struct FilterPass {
  std::vector<int64_t> candidates = {};  // numbers in the pool
  std::vector<int32_t> correct = {};     // of the first so many of them: responses that were correct

  bool done() const { return correct.size() == candidates.size(); }
  // The candidates of the next wave.
  std::vector<int64_t> next_wave(int64_t problems) const;
  std::vector<int64_t> hard(int64_t samples, double max_pass_rate) const;
  // How many candidates had 0, 1, … `samples` correct responses.
  std::vector<int64_t> histogram(int64_t samples) const;
  double mean_pass_rate(int64_t samples) const;  // 0 for none

  bool operator==(const FilterPass&) const = default;
};

}  // namespace deepsearch
