#include "data/curation.h"

#include <algorithm>
#include <unordered_map>

namespace deepsearch {

std::string normalised_text(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\r\n\v\f";
  std::string normal;
  normal.reserve(text.size());
  bool blank = false;
  for (const char c : text) {
    if (kBlanks.find(c) != std::string_view::npos) {
      blank = true;
      continue;
    }
    if (blank && !normal.empty()) normal += ' ';
    blank = false;
    normal += c;
  }
  return normal;
}

Curation curate(const std::vector<ProblemRow>& rows, bool keep_conflicts,
                const std::function<bool(const std::string&, const std::string&)>& same_answer) {
  std::unordered_map<std::string, std::vector<int64_t>> places;
  std::vector<const std::vector<int64_t>*> groups;  // in order of their first row
  places.reserve(rows.size());
  for (size_t i = 0; i < rows.size(); ++i) {
    const auto [found, is_new] = places.try_emplace(normalised_text(rows[i].problem.prompt));
    found->second.push_back(static_cast<int64_t>(i));
    if (is_new) groups.push_back(&found->second);
  }
  Curation result;
  const auto answer = [&](int64_t place) -> const std::string& {
    return rows[static_cast<size_t>(place)].problem.answer;
  };
  for (const std::vector<int64_t>* group : groups) {
    std::vector<int64_t> distinct;  // the first row of each answer
    for (const int64_t place : *group) {
      const bool known = std::any_of(distinct.begin(), distinct.end(), [&](int64_t other) {
        return answer(other) == answer(place) || same_answer(answer(other), answer(place));
      });
      if (!known) distinct.push_back(place);
    }
    result.repeats += static_cast<int64_t>(group->size() - distinct.size());
    if (distinct.size() > 1) {
      result.conflicts.push_back({distinct[0], distinct[1]});
      result.contradicting += static_cast<int64_t>(distinct.size());
      if (!keep_conflicts) continue;
    }
    result.kept.insert(result.kept.end(), distinct.begin(), distinct.end());
  }
  std::sort(result.kept.begin(), result.kept.end());
  return result;
}

}  // namespace deepsearch
