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
  std::vector<size_t> members;
  for (size_t i = 0; i < candidates.size(); ++i) {
    if (candidates[i].cls == best_class) members.push_back(i);
  }
  if (best_class == TerminalClass::kCorrect) negative = NegativeSelection::kMostConfident;
  if (negative == NegativeSelection::kRandom) {
    const auto drawn = static_cast<size_t>(uniform * static_cast<double>(members.size()));
    return members[std::min(drawn, members.size() - 1)];
  }
  size_t pick = members.front();
  for (const size_t i : members) {
    const bool better = negative == NegativeSelection::kMostConfident
                            ? candidates[i].entropy < candidates[pick].entropy
                            : candidates[i].entropy > candidates[pick].entropy;
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
