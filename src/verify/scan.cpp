#include "verify/scan.h"

#include <algorithm>
#include <cstring>

namespace deepsearch::math {

namespace {
constexpr int kManyCandidates = 1000;
}

size_t Scan::last(std::string_view s, std::string_view what, size_t before, size_t from) {
  before = std::min(before, s.size());
  if (spent_ > kBudget || before < what.size() || before - what.size() < from) return kNone;
  const char first = what.front();
  const char end = what.back();
  const char* const text = s.data();
  size_t k = before - what.size() + 1;
  int candidates = 0;
  while (k > from) {
    // memrchr flies over other characters; where the text is made of this one, a plain loop is faster.
    if (candidates < kManyCandidates) {
      const void* hit = memrchr(text + from, first, k - from);
      if (hit == nullptr) break;
      k = static_cast<size_t>(static_cast<const char*>(hit) - text) + 1;
      ++candidates;
    }
    --k;
    if (text[k] == first && text[k + what.size() - 1] == end && s.substr(k, what.size()) == what) {
      spend(before - k);
      return k;
    }
  }
  spend(before - from);
  return kNone;
}

size_t Scan::next(std::string_view s, std::string_view what, size_t from, size_t before) {
  before = std::min(before, s.size());
  if (spent_ > kBudget || from >= before) return kNone;
  const size_t at = s.substr(0, before).find(what, from);
  spend((at == kNone ? before : at) - from);
  return at;
}

size_t Scan::last_digit(std::string_view s, size_t before) {
  if (spent_ > kBudget) return kNone;
  size_t k = std::min(before, s.size());
  while (k > 0 && !digit(s[k - 1])) --k;
  spend(before - k);
  return k == 0 ? kNone : k - 1;
}

}  // namespace deepsearch::math
