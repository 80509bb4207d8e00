#include "rounds/safeguard.h"

#include <algorithm>
#include <map>
#include <utility>

#include "core/error.h"

namespace deepsearch {

namespace {

// The length of the UTF-8 character that `text` begins with; 0 for what is none (overlong forms and surrogates too).
size_t character_bytes(std::string_view text) {
  const auto byte = [&](size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U; };
  const auto follows = [&](size_t i) { return (byte(i) & 0xC0U) == 0x80U; };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return follows(1) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    const bool overlong = first == 0xE0 && byte(1) < 0xA0;
    const bool surrogate = first == 0xED && byte(1) >= 0xA0;
    return follows(1) && follows(2) && !overlong && !surrogate ? 3 : 0;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    const bool outside = (first == 0xF0 && byte(1) < 0x90) || (first == 0xF4 && byte(1) >= 0x90);
    return follows(1) && follows(2) && follows(3) && !outside ? 4 : 0;
  }
  return 0;
}

bool is_blank(std::string_view character) {
  return character == " " || character == "\t" || character == "\n" || character == "\r";
}

bool is_control(std::string_view character) {
  const auto byte = static_cast<unsigned char>(character[0]);
  const bool c1 = character.size() == 2 && byte == 0xC2 && static_cast<unsigned char>(character[1]) < 0xA0;
  return c1 || (character.size() == 1 && (byte < 0x20 || byte == 0x7F) && !is_blank(character));
}

// f(character), or f("") for a byte that belongs to none.
template <class F>
void for_each_character(std::string_view text, F&& f) {
  while (!text.empty()) {
    const size_t bytes = character_bytes(text);
    f(text.substr(0, bytes));
    text.remove_prefix(std::max<size_t>(bytes, 1));
  }
}

}  // namespace

// The failure function of Knuth, Morris and Pratt on the reversed tokens: the first n of them have the period
// n − border[n].
int64_t repeated_tail(TokenSpan tokens, int64_t times) {
  const auto n = static_cast<int64_t>(tokens.size());
  const auto at = [&](int64_t i) { return tokens[static_cast<size_t>(n - 1 - i)]; };
  std::vector<int64_t> border(static_cast<size_t>(n) + 1, 0);
  int64_t longest = 0;
  for (int64_t i = 1; i < n; ++i) {
    int64_t k = border[static_cast<size_t>(i)];
    while (k > 0 && at(i) != at(k)) k = border[static_cast<size_t>(k)];
    if (at(i) == at(k)) ++k;
    border[static_cast<size_t>(i) + 1] = k;
    const int64_t period = i + 1 - k;
    if (k > 0 && (i + 1) / period >= times) longest = i + 1;
  }
  return longest;
}

int64_t bad_characters(std::string_view text) {
  int64_t bad = 0;
  for_each_character(text, [&](std::string_view character) {
    if (character.empty() || character == "\xEF\xBF\xBD" || is_control(character)) ++bad;
  });
  return bad;
}

int64_t longest_run(std::string_view text) {
  int64_t longest = 0;
  int64_t run = 0;
  std::string_view last;
  for_each_character(text, [&](std::string_view character) {
    run = character == last ? run + 1 : 1;
    last = character;
    if (!character.empty() && !is_blank(character)) longest = std::max(longest, run);
  });
  return longest;
}

Safeguard::Safeguard(const RoundsParams& params, Vocabulary vocabulary)
    : params_(params), vocabulary_(std::move(vocabulary)) {}

Dropped Safeguard::judge(TokenSpan response) const {
  const auto ends = [&](Token token) {
    return std::find(vocabulary_.eos.begin(), vocabulary_.eos.end(), token) != vocabulary_.eos.end();
  };
  if (!response.empty() && ends(response.back())) response = response.first(response.size() - 1);
  if (repeated_tail(response, params_.repetition_times) >= params_.repetition_tokens) return Dropped::kRepetition;
  if (vocabulary_.pad >= 0 && std::find(response.begin(), response.end(), vocabulary_.pad) != response.end()) {
    return Dropped::kGarbled;
  }
  if (!vocabulary_.decode) return Dropped::kNo;
  const std::string text = vocabulary_.decode(response);
  const bool garbled = bad_characters(text) >= params_.garbled_characters || longest_run(text) >= params_.garbled_run;
  return garbled ? Dropped::kGarbled : Dropped::kNo;
}

int64_t Safeguard::apply(TreeRecord& record) const {
  std::map<int32_t, Dropped> dropped;
  for (size_t id = 0; id < record.nodes.size(); ++id) {
    NodeRecord& node = record.nodes[id];
    if (!node.terminal || node.outcome == Outcome::kCorrect || node.outcome == Outcome::kNone) continue;
    const Dropped why = judge(trajectory_tokens(record, static_cast<int32_t>(id)));
    if (why == Dropped::kNo) continue;
    node.dropped = true;
    dropped[static_cast<int32_t>(id)] = why;
  }
  for (RecordedLeaf& leaf : record.recorded) {
    const auto found = dropped.find(leaf.leaf);
    if (found != dropped.end()) leaf.dropped = found->second;
  }
  return static_cast<int64_t>(dropped.size());
}

std::string dropped_text(const TreeRecord& record) {
  std::map<Dropped, int64_t> counts;
  for (const RecordedLeaf& leaf : record.recorded) {
    if (leaf.dropped != Dropped::kNo) ++counts[leaf.dropped];
  }
  std::string text;
  for (const auto& [why, count] : counts) {
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", count, to_string(why));
  }
  return text;
}

}  // namespace deepsearch
