// Which terminal of an expansion is backed up and recorded: algorithm.md section 2, step 3. Pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "data/verdict.h"
#include "search/params.h"

namespace deepsearch {

// Best first.
enum class TerminalClass : uint8_t { kCorrect = 0, kWrong = 1, kIncomplete = 2 };

struct TerminalCandidate {
  int32_t node = -1;
  double reward = 0;
  TerminalClass cls = TerminalClass::kWrong;
  double entropy = 0;  // trajectory mean, nats
};

// By verdict, or (classes = "reward") by the reward's value: +1 correct, −1 wrong, anything else incomplete.
TerminalClass class_of(Outcome outcome, double reward, Classes classes);

// Index of the pick: best class present; within it the lowest entropy, first of equals. Without a correct one
// `negative` may ask for the highest entropy or a random one; `uniform` in [0, 1) is used for the latter only.
// `candidates` is not empty.
size_t pick_terminal(std::span<const TerminalCandidate> candidates, NegativeSelection negative, double uniform);

// The order in which leftovers fill the missing places once the frontier ran dry: best class first, lowest entropy
// first, then as given.
void sort_leftovers(std::vector<TerminalCandidate>& leftovers);

const char* to_string(TerminalClass cls);

}  // namespace deepsearch
