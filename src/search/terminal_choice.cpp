#include "search/terminal_choice.h"

#include <algorithm>
#include <tuple>

namespace deepsearch {

TerminalClass class_of(Outcome outcome, double reward, Classes classes) {
  if (classes == Classes::kReward) {
    if (reward == 1.0) return TerminalClass::kCorrect;
    return reward == -1.0 ? TerminalClass::kWrong : TerminalClass::kIncomplete;
  }
  if (outcome == Outcome::kCorrect) return TerminalClass::kCorrect;
  return outcome == Outcome::kIncomplete ? TerminalClass::kIncomplete : TerminalClass::kWrong;
}

size_t pick_terminal(std::span<const TerminalCandidate> candidates, NegativeSelection negative, double uniform) {
  TerminalClass best_class = TerminalClass::kIncomplete;
  for (const auto& candidate : candidates) best_class = std::min(best_class, candidate.cls);
  if (best_class == TerminalClass::kCorrect) negative = NegativeSelection::kMostConfident;
  const auto in_class = [&](const TerminalCandidate& candidate) { return candidate.cls == best_class; };
  const auto members = std::count_if(candidates.begin(), candidates.end(), in_class);
  auto to_skip = std::min(static_cast<std::ptrdiff_t>(uniform * static_cast<double>(members)), members - 1);
  size_t pick = candidates.size();
  for (size_t i = 0; i < candidates.size(); ++i) {
    if (!in_class(candidates[i])) continue;
    if (negative == NegativeSelection::kRandom) {
      if (to_skip-- == 0) return i;
      continue;
    }
    const bool better = pick == candidates.size() || (negative == NegativeSelection::kMostConfident
                                                          ? candidates[i].entropy < candidates[pick].entropy
                                                          : candidates[i].entropy > candidates[pick].entropy);
    if (better) pick = i;
  }
  return pick;
}

void sort_leftovers(std::vector<TerminalCandidate>& leftovers) {
  std::stable_sort(leftovers.begin(), leftovers.end(), [](const TerminalCandidate& a, const TerminalCandidate& b) {
    return std::tie(a.cls, a.entropy) < std::tie(b.cls, b.entropy);
  });
}

const char* to_string(TerminalClass cls) {
  switch (cls) {
    case TerminalClass::kCorrect:
      return "correct";
    case TerminalClass::kWrong:
      return "wrong";
    case TerminalClass::kIncomplete:
      break;
  }
  return "incomplete";
}

}  // namespace deepsearch
