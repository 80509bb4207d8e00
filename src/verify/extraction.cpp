#include "verify/extraction.h"

#include <algorithm>
#include <utility>

#include "verify/boxes.h"
#include "verify/extraction_impl.h"

namespace deepsearch::math {

namespace {

constexpr size_t kMaxCandidates = 8;
constexpr size_t kMaxAnchors = 32;
constexpr size_t kJoinWindow = 2048;          // boxes this far apart are not one answer
constexpr size_t kMaxGap = 64;                // blanks and marks between an answer and what belongs to it
constexpr size_t kMaxText = size_t{1} << 20;  // an answer stands in the last of a longer text

bool starts_with_word(std::string_view s, std::string_view word) {
  if (s.size() < word.size()) return false;
  for (size_t i = 0; i < word.size(); ++i) {
    if ((s[i] | 0x20) != word[i]) return false;
  }
  return true;
}

// "%" or "percent" behind an answer belongs to it.
bool percent_follows(std::string_view s, size_t end) {
  const size_t stop = std::min(s.size(), end + kMaxGap);
  while (end < stop && (s[end] == ' ' || s[end] == '$' || s[end] == '\\')) ++end;
  const std::string_view rest = s.substr(std::min(end, s.size()));
  return rest.starts_with("%") || rest.starts_with("percent") || rest.starts_with("pct");
}

// A denial or a question between the phrase and a value.
bool denied(std::string_view between) {
  return between.find("not ") != kNone || between.find("n't ") != kNone;
}

// Where the sentence from k on ends.
size_t sentence_end(std::string_view s, size_t k) {
  size_t stop = k;
  int breaks = 0;
  while (stop < s.size() && stop - k < 240) {
    const char c = s[stop];
    if (c == '.' && (stop + 1 >= s.size() || blank(s[stop + 1])) && stop > k) break;
    if (c == '\n' && ++breaks > 2) break;
    ++stop;
  }
  return stop;
}

// Behind the "is", ":" or "=" that a sentence begins with; kNone: it begins with none.
size_t behind_verb(std::string_view sentence) {
  size_t d = 0;
  while (d < sentence.size() && (blank(sentence[d]) || sentence[d] == '*')) ++d;
  for (const std::string_view verb : {":", "is:", "is", "="}) {
    if (!sentence.substr(d).starts_with(verb)) continue;
    const size_t after = d + verb.size();
    if (verb == "is" && after < sentence.size() && letter(sentence[after])) continue;
    return after;
  }
  return kNone;
}

}  // namespace

void Extractor::run() {
  if (options_.strings) {
    choice();
    return;
  }
  bool open = false;
  const bool boxed = boxes(open);
  if (!boxed && open) return;  // cut off in the box: what stands before it is no answer
  if (options_.phrases) phrases();
  if (options_.anywhere && !boxed) anywhere();  // numbers beside a box do not count
}

void Extractor::add(std::string text, int rank, size_t end, bool plain) {
  if (trim(text).empty()) return;
  if (percent_follows(s_, end) && text.find('%') == kNone) text += "\\%";
  out_.push_back({std::move(text), rank, end, plain});
}

bool Extractor::boxes(bool& open) {
  if (!options_.boxed || options_.boxed_priority < 0) return false;
  Box box{};
  if (!last_box(scan_, s_, 0, s_.size(), box, open)) return false;
  std::vector<Box> chain{box};
  bool unclosed = false;
  while (chain.size() < 16) {
    Box earlier{};
    const size_t start = chain.back().start;
    if (!last_box(scan_, s_, start > kJoinWindow ? start - kJoinWindow : 0, start, earlier, unclosed) || unclosed)
      break;
    if (earlier.end > chain.back().start) break;
    if (!joins(s_.substr(earlier.end, chain.back().start - earlier.end))) break;
    chain.push_back(earlier);
  }
  std::string text;
  for (size_t k = chain.size(); k-- > 0;) {
    if (!text.empty()) text += " , ";
    text += trim(chain[k].content);
  }
  add(text, options_.boxed_priority, box.end);
  return !out_.empty();
}

// The value that begins at k, past spaces and marks: maths, or plain numbers.
bool Extractor::value_at(size_t k, size_t limit, int rank) {
  while (k < limit && (blank(s_[k]) || s_[k] == '*' || s_[k] == ':' || s_[k] == '"')) ++k;
  if (k >= s_.size()) return false;
  std::string_view content;
  size_t end = 0;
  if (options_.latex && maths_at(k, content, end)) {
    std::string text(content);
    join_maths(text, end);
    add(text, hoped(rank, end), end);
    return true;
  }
  if (options_.latex && bare_command_at(k, rank)) return true;
  return options_.expressions && numbers_at(k, limit, rank);
}

// \frac{1}{2} without dollars: up to the end of the line.
bool Extractor::bare_command_at(size_t k, int rank) {
  const std::string_view rest = s_.substr(k);
  if (!rest.starts_with("\\") || rest.starts_with("\\box") || rest.starts_with("\\fbox")) return false;
  const std::string_view line = rest.substr(0, rest.substr(0, 400).find('\n'));
  if (line.size() >= 400) return false;
  const size_t stop = k + line.size();
  add(std::string(line), hoped(rank, stop), stop);
  return true;
}

bool Extractor::numbers_at(size_t k, size_t limit, int rank) {
  size_t from = k;
  if (from < s_.size() && s_[from] == '$') ++from;
  if (s_.substr(from).starts_with("x = ")) from += 4;
  size_t n = list_length(from);
  const bool unicode_minus = s_.substr(from).starts_with("\xE2\x88\x92");
  if (unicode_minus) n = list_length(from + 3) > 0 ? list_length(from + 3) + 3 : 0;
  if (n == 0) return false;
  if (options_.latex && from + n < limit && (s_[from + n] == '\\' || s_[from + n] == '^')) {
    // 2\sqrt{2} without dollars: up to the end of the sentence.
    add(std::string(s_.substr(from, limit - from)), hoped(rank, limit), limit);
    return true;
  }
  if (from + n < s_.size() && (letter(s_[from + n]) || s_[from + n] == '_') && !unit_after(from + n)) return false;
  const size_t end = from + n;
  add(std::string(s_.substr(from, n)), hoped(rank, end), end, true);
  return true;
}

// "final answer is … I hope": the best rank.
int Extractor::hoped(int rank, size_t end) const {
  if (rank != 50) return rank;
  const size_t stop = std::min(s_.size(), end + kMaxGap);
  while (end < stop && (s_[end] == '.' || blank(s_[end]) || s_[end] == '$')) ++end;
  return s_.substr(std::min(end, s_.size())).starts_with("I hope") ? 0 : rank;
}

// "answer is …" and "#### …", the last first.
void Extractor::phrases() {
  size_t before = s_.size();
  size_t hash = scan_.last(s_, "####", before);
  for (size_t n = 0; n < kMaxAnchors; ++n) {
    if (hash != kNone && hash >= before) hash = scan_.last(s_, "####", before);
    const size_t word = scan_.last(s_, "nswer", before, hash == kNone ? 0 : hash);
    const size_t at = word != kNone ? word : hash;
    if (at == kNone) return;
    before = at;
    if (at != hash) {
      phrase(at);
      if (!out_.empty() && out_.back().rank < 200 && n > 8) return;
    } else if (value_at(at + 4, s_.size(), 100)) {
      return;
    }
  }
}

void Extractor::phrase(size_t at) {
  if (at == 0 || (s_[at - 1] | 0x20) != 'a') return;
  const size_t start = at - 1;
  const bool final = start >= 6 && starts_with_word(s_.substr(start - 6), "final ");
  size_t k = at + 5;
  const size_t stop = sentence_end(s_, k);
  const std::string_view sentence = s_.substr(k, stop - k);
  // Directly: "answer is X", "answer: X".
  const size_t d = behind_verb(sentence);
  const bool sign = d != kNone;
  if (sign && value_at(k + d, stop, final ? 50 : 100)) return;
  if (denied(sentence)) return;
  // Later in the sentence, behind "is": the last such.
  for (size_t is = sentence.rfind(" is "); is != kNone; is = is == 0 ? kNone : sentence.rfind(" is ", is - 1)) {
    if (value_at(k + is + 4, stop, final ? 50 : 100)) return;
  }
  if (!final && !sign) return;
  for (size_t p = k; p < stop; ++p) {
    if ((digit(s_[p]) || s_[p] == '$' || s_[p] == '\\') && free_on_the_left(p) && value_at(p, stop, 200)) {
      return;
    }
  }
}

namespace {

void collect(std::string_view text, const ExtractionOptions& options, Scan& scan, std::vector<Candidate>& out) {
  Extractor(text, options, scan, out).run();
  std::stable_sort(out.begin(), out.end(), [](const Candidate& a, const Candidate& b) {
    return a.rank != b.rank ? a.rank < b.rank : a.end != b.end ? a.end > b.end : a.text.size() > b.text.size();
  });
  if (out.size() > kMaxCandidates) out.resize(kMaxCandidates);
}

std::vector<Candidate> extract(std::string_view text, const ExtractionOptions& options, Scan& scan) {
  std::vector<Candidate> out;
  if (text.size() > kMaxText) text = text.substr(text.size() - kMaxText);
  const size_t close = scan.last(text, "</think>", text.size());
  const size_t open = scan.last(text, "<think>", text.size());
  if (close == kNone && open == kNone) {
    collect(text, options, scan, out);
    return out;
  }
  std::string_view after = close == kNone ? text : text.substr(close + 8);
  if (const size_t again = scan.next(after, "<think>", 0, after.size()); again != kNone) after = after.substr(0, again);
  collect(after, options, scan, out);
  if (options.answer_after_think || (!out.empty() && out.front().rank < 300)) return out;
  // Nothing follows the block that is said to be the answer.
  out.clear();
  collect(text, options, scan, out);
  return out;
}

}  // namespace

std::vector<Candidate> extract(std::string_view text, const ExtractionOptions& options, int64_t* scanned) {
  Scan scan;
  std::vector<Candidate> out = extract(text, options, scan);
  if (scanned != nullptr) *scanned = scan.spent();
  return out;
}

std::string strip_reference(std::string_view text) {
  text = trim(text);
  std::string out;
  if (text.find("\\boxed") != kNone) {
    ExtractionOptions options;
    options.phrases = false;
    options.anywhere = false;
    const std::vector<Candidate> found = extract(text, options);
    if (!found.empty()) return found.front().text;
  }
  for (size_t k = 0; k < text.size(); ++k) {
    if (text[k] == '\\' && k + 1 < text.size()) {
      const char next = text[k + 1];
      if (next == '$') ++k;  // a currency sign
      if (next == '(' || next == ')' || next == '[' || next == ']') {
        ++k;
        continue;
      }
    }
    if (text[k] != '$') out += text[k];
  }
  return std::string(trim(out));
}

}  // namespace deepsearch::math
