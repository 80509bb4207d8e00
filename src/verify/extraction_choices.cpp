#include <algorithm>
#include <array>
#include <cctype>

#include "verify/extraction_impl.h"

namespace deepsearch::math {

bool Extractor::choice_at(size_t k, std::string& found) const {
  for (const std::string& c : options_.choices) {
    if (!s_.substr(k).starts_with(c)) continue;
    const size_t end = k + c.size();
    const auto word = [&](size_t p) { return letter(s_[p]) || digit(s_[p]) || s_[p] == '_'; };
    if ((k > 0 && word(k - 1)) || (end < s_.size() && word(end))) continue;
    found = c;
    return true;
  }
  return false;
}

void Extractor::add_choice(const std::string& found, int rank, size_t at) {
  std::string text = found;
  if (options_.lowercase) {
    std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
  }
  out_.push_back({text, rank, at + found.size(), false});
}

// Behind "answer is".
bool Extractor::announced_choice() {
  std::string found;
  for (size_t at = scan_.last(s_, "nswer", s_.size()); at != kNone; at = scan_.last(s_, "nswer", at)) {
    size_t k = at + 5;
    while (k < s_.size() && (blank(s_[k]) || s_[k] == ':' || s_[k] == '*' || s_[k] == '(' || s_[k] == '=' ||
                             s_[k] == '$' || s_.substr(k).starts_with("is"))) {
      k += s_.substr(k).starts_with("is") ? 2 : 1;
    }
    if (k < s_.size() && choice_at(k, found)) {
      add_choice(found, 100, k);
      return true;
    }
  }
  return false;
}

void Extractor::choice() {
  if (announced_choice()) return;
  std::string found;
  size_t k = 0;
  while (k < s_.size() && (blank(s_[k]) || s_[k] == '*' || s_[k] == '(' || s_[k] == '$')) ++k;
  if (k < s_.size() && choice_at(k, found)) {
    size_t end = k + found.size();
    if (end >= s_.size() || s_[end] != ' ') {
      add_choice(found, 200, k);
      return;
    }
  }
  std::array<bool, 256> starts{};
  for (const std::string& c : options_.choices) {
    if (!c.empty()) starts[static_cast<unsigned char>(c.front())] = true;
  }
  for (size_t p = s_.size(); p-- > 0;) {
    if (!starts[static_cast<unsigned char>(s_[p])]) continue;
    if (!scan_.spend(4)) return;
    if (!choice_at(p, found)) continue;
    // "A man walks": an article.
    const size_t end = p + found.size();
    if (found == "A" && end + 1 < s_.size() && s_[end] == ' ' && s_[end + 1] >= 'a' && s_[end + 1] <= 'z') continue;
    add_choice(found, 300, p);
    return;
  }
}

}  // namespace deepsearch::math
