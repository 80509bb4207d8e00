#include "verify/extraction.h"

#include <algorithm>
#include <cctype>
#include <utility>

namespace deepsearch::math {

namespace {

constexpr size_t kMaxCandidates = 8;
constexpr size_t kMaxAnchors = 32;
constexpr size_t kJoinWindow = 2048;          // boxes this far apart are not one answer
constexpr size_t kMaxText = size_t{1} << 20;  // an answer stands in the last of a longer text
constexpr size_t kNone = std::string_view::npos;

bool digit(char c) {
  return c >= '0' && c <= '9';
}
bool letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
bool blank(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

std::string_view trim(std::string_view s) {
  while (!s.empty() && blank(s.front())) s.remove_prefix(1);
  while (!s.empty() && blank(s.back())) s.remove_suffix(1);
  return s;
}

bool starts_with_word(std::string_view s, std::string_view word) {
  if (s.size() < word.size()) return false;
  for (size_t i = 0; i < word.size(); ++i) {
    if ((s[i] | 0x20) != word[i]) return false;
  }
  return true;
}

struct Box {
  size_t start;  // of the command
  size_t end;    // behind the closing brace
  std::string_view content;
};

// The brace that closes the one at `open`; kNone: none.
size_t closing_brace(std::string_view s, size_t open) {
  int depth = 0;
  for (size_t k = open; k < s.size(); ++k) {
    if (s[k] == '\\' && k + 1 < s.size() && (s[k + 1] == '{' || s[k + 1] == '}')) {
      ++k;
    } else if (s[k] == '{') {
      ++depth;
    } else if (s[k] == '}' && --depth == 0) {
      return k;
    }
  }
  return kNone;
}

// A box whose command starts at `at`. `open`: it never closes.
bool read_box(std::string_view s, size_t at, size_t name, Box& box, bool& open) {
  size_t k = at + name;
  if (k < s.size() && letter(s[k])) return false;
  while (k < s.size() && s[k] == ' ') ++k;
  open = false;
  if (k < s.size() && s[k] == '{') {
    const size_t close = closing_brace(s, k);
    open = close == kNone;
    if (open) return false;
    box = {at, close + 1, s.substr(k + 1, close - k - 1)};
    return true;
  }
  size_t end = k;
  while (end < s.size() && (digit(s[end]) || letter(s[end]) || s[end] == '-')) ++end;
  if (end == k) {
    open = k >= s.size();
    return false;
  }
  box = {at, end, s.substr(k, end - k)};
  return true;
}

// Where the last box command before `before` begins, no earlier than `from`; kNone: none.
size_t last_box_command(std::string_view s, size_t from, size_t before, size_t& length) {
  size_t best = kNone;
  const std::string_view window = s.substr(from, before - from);
  for (const std::string_view name : {"\\boxed", "\\fbox"}) {
    const size_t at = window.rfind(name);
    if (at != kNone && (best == kNone || from + at > best)) {
      best = from + at;
      length = name.size();
    }
  }
  return best;
}

// The box that begins last of those that close, in one pass: for texts with many that do not.
bool last_closed_box(std::string_view s, Box& box) {
  std::vector<std::pair<size_t, size_t>> open;  // a brace, and the command it belongs to or kNone
  size_t command = kNone;
  bool found = false;
  for (size_t k = 0; k < s.size(); ++k) {
    if (s[k] == '\\') {
      const std::string_view rest = s.substr(k);
      const size_t length = rest.starts_with("\\boxed") ? 6 : rest.starts_with("\\fbox") ? 5 : 0;
      if (length > 0 && k + length < s.size() && s[k + length] == '{') command = k;
      if (length == 0) ++k;  // \{
    } else if (s[k] == '{') {
      open.emplace_back(k, command);
      command = kNone;
    } else if (s[k] == '}' && !open.empty()) {
      const auto [brace, start] = open.back();
      open.pop_back();
      if (start != kNone && (!found || start > box.start)) {
        box = {start, k + 1, s.substr(brace + 1, k - brace - 1)};
        found = true;
      }
    }
  }
  return found;
}

// The last box that closes. `open`: a later one does not.
bool last_box(std::string_view s, size_t from, size_t before, Box& box, bool& open) {
  size_t length = 0;
  open = false;
  for (int tries = 0; tries < 4; ++tries) {
    const size_t at = last_box_command(s, from, before, length);
    if (at == kNone) return false;
    bool unclosed = false;
    if (read_box(s.substr(0, before), at, length, box, unclosed)) return true;
    if (unclosed) {
      open = true;
      return from == 0 && last_closed_box(s.substr(0, before), box);
    }
    before = at;
  }
  return false;
}

// May the text between two boxes join their answers: "and", "or", a comma, and little else.
bool joins(std::string_view between) {
  if (between.size() > 80 || between.find("\n\n") != kNone) return false;
  int words = 0;
  bool link = false;
  bool other = false;
  for (size_t k = 0; k < between.size();) {
    const char c = between[k];
    if (c == '\\') {
      size_t n = k + 1;
      while (n < between.size() && letter(between[n])) ++n;
      const std::string_view command = between.substr(k + 1, n - k - 1);
      if (command == "text" || command == "quad" || command == "qquad" || command == "mathrm" || command.empty()) {
        k = command.empty() ? n + 1 : n;
        continue;
      }
      return false;
    }
    if (letter(c)) {
      size_t n = k;
      while (n < between.size() && letter(between[n])) ++n;
      const std::string_view word = between.substr(k, n - k);
      if (word == "and" || word == "or") {
        link = true;
      } else if (n < between.size() && between[n] == '_') {
        while (n < between.size() && between[n] != ' ' && between[n] != '=') ++n;
      } else if (++words > 1) {
        return false;
      }
      k = n;
      continue;
    }
    if (c == '.' || c == '!' || c == '?' || c == ':') return false;
    if (c == ',' || c == ';' || c == '&' || c == '+') link = true;
    if (c != ',' && c != ';' && c != '&' && c != '+' && c != '$' && c != '{' && c != '}' && c != '=' && !blank(c)) {
      other = true;
    }
    ++k;
  }
  return link && !other;
}

// "%" or "percent" behind an answer belongs to it.
bool percent_follows(std::string_view s, size_t end) {
  while (end < s.size() && (s[end] == ' ' || s[end] == '$' || s[end] == '\\')) ++end;
  const std::string_view rest = s.substr(std::min(end, s.size()));
  return rest.starts_with("%") || rest.starts_with("percent") || rest.starts_with("pct");
}

// A denial or a question between the phrase and a value.
bool denied(std::string_view between) {
  return between.find("not ") != kNone || between.find("n't ") != kNone;
}

class Extractor {
 public:
  Extractor(std::string_view text, const ExtractionOptions& options, std::vector<Candidate>& out)
      : s_(text), options_(options), out_(out) {}

  void run() {
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

 private:
  void add(std::string text, int rank, size_t end, bool plain = false) {
    if (trim(text).empty()) return;
    if (percent_follows(s_, end) && text.find('%') == kNone) text += "\\%";
    out_.push_back({std::move(text), rank, end, plain});
  }

  bool boxes(bool& open) {
    if (!options_.boxed || options_.boxed_priority < 0) return false;
    Box box{};
    if (!last_box(s_, 0, s_.size(), box, open)) return false;
    std::vector<Box> chain{box};
    bool unclosed = false;
    while (chain.size() < 16) {
      Box earlier{};
      const size_t start = chain.back().start;
      if (!last_box(s_, start > kJoinWindow ? start - kJoinWindow : 0, start, earlier, unclosed) || unclosed) break;
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

  // Mathematics that starts at k: its content and where it ends.
  bool maths_at(size_t k, std::string_view& content, size_t& end) const {
    struct Pair {
      std::string_view open;
      std::string_view close;
    };
    static constexpr Pair kPairs[] = {{"$$", "$$"}, {"\\[", "\\]"}, {"\\(", "\\)"}, {"$", "$"}};
    for (const Pair& pair : kPairs) {
      if (!s_.substr(k).starts_with(pair.open)) continue;
      const size_t from = k + pair.open.size();
      const size_t close = s_.find(pair.close, from);
      if (close == kNone || close - from > 20'000) return false;
      content = s_.substr(from, close - from);
      if (pair.open == "$" && content.find('\n') != kNone) return false;
      end = close + pair.close.size();
      return !trim(content).empty();
    }
    return false;
  }

  static bool number_char(char c) {
    return digit(c) || c == '.' || c == ',' || c == '+' || c == '-' || c == '*' || c == '/' || c == '^' || c == '(' ||
           c == ')';
  }

  // A plain number or simple arithmetic from k on; 0: none. UTF-8 no-break spaces may part thousands.
  size_t number_length(size_t k) const {
    size_t end = k;
    size_t last = k;
    bool any = false;
    while (end < s_.size() && end - k < 400) {
      const char c = s_[end];
      if (number_char(c)) {
        ++end;
        any = any || digit(c);
        if (c != ',' && c != '.') last = end;
      } else if ((c == 'e' || c == 'E') && end > k && digit(s_[end - 1]) && end + 1 < s_.size() &&
                 (digit(s_[end + 1]) ||
                  ((s_[end + 1] == '-' || s_[end + 1] == '+') && end + 2 < s_.size() && digit(s_[end + 2])))) {
        end += 2;
        last = end;
      } else if (c == ' ' || c == '\xC2' || c == '\xE2') {
        const size_t gap = c == ' ' ? 1 : c == '\xC2' ? 2 : 3;
        const std::string_view next = s_.substr(std::min(s_.size(), end + gap));
        const bool group = next.size() >= 3 && digit(next[0]) && digit(next[1]) && digit(next[2]) &&
                           (next.size() == 3 || !digit(next[3]));
        const bool operation =
            c == ' ' && !next.empty() && end > k &&
            ((next.size() > 2 && (next[0] == '+' || next[0] == '-' || next[0] == '*' || next[0] == '/') &&
              next[1] == ' ' && (digit(next[2]) || next[2] == '(')) ||
             ((s_[end - 1] == '+' || s_[end - 1] == '*' || s_[end - 1] == '/' || s_[end - 1] == '-') &&
              (digit(next[0]) || next[0] == '(')));
        const bool fraction = c == ' ' && mixed_part(next) && end > k && digit(s_[end - 1]);
        if (!(any && digit(s_[end - 1]) && group) && !operation && !fraction) break;
        end += gap;
      } else {
        break;
      }
    }
    return any ? last - k : 0;
  }

  static bool mixed_part(std::string_view s) {
    size_t k = 0;
    while (k < s.size() && digit(s[k])) ++k;
    return k > 0 && k < 4 && k + 1 < s.size() && s[k] == '/' && digit(s[k + 1]);
  }

  bool free_on_the_left(size_t k) const {
    if (k == 0) return true;
    const char c = s_[k - 1];
    return blank(c) || c == '$' || c == '=' || c == '"' || c == '\'' || c == '(' || c == '[' || c == '{' || c == ':' ||
           c == '~' || c == '#' || (c == '*' && (k < 2 || !number_char(s_[k - 2]) || s_[k - 2] == '*')) ||
           static_cast<unsigned char>(c) >= 0x80;
  }

  // Plain numbers from k on, joined by commas, "and" or "or".
  size_t list_length(size_t k) const {
    size_t n = number_length(k);
    if (n == 0) return 0;
    for (int items = 0; items < 64; ++items) {
      size_t e = k + n;
      bool link = false;
      for (;;) {
        if (e < s_.size() && (s_[e] == ' ')) {
          ++e;
        } else if (e < s_.size() && (s_[e] == ',' || s_[e] == ';')) {
          link = true;
          ++e;
        } else if (s_.substr(e).starts_with("and ") || s_.substr(e).starts_with("or ")) {
          link = true;
          e += s_[e] == 'a' ? 4 : 3;
        } else {
          break;
        }
      }
      if (!link) break;
      const size_t more = number_length(e);
      if (more == 0) break;
      n = e + more - k;
    }
    return n;
  }

  // The value that begins at k, past spaces and marks: maths, or plain numbers.
  bool value_at(size_t k, size_t limit, int rank) {
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
    if (options_.latex && s_.substr(k).starts_with("\\") && !s_.substr(k).starts_with("\\box") &&
        !s_.substr(k).starts_with("\\fbox")) {
      size_t stop = s_.find('\n', k);
      if (stop == kNone) stop = s_.size();
      if (stop - k < 400) {
        std::string_view text = s_.substr(k, stop - k);
        add(std::string(text), hoped(rank, stop), stop);
        return true;
      }
    }
    if (!options_.expressions) return false;
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
    end = from + n;
    add(std::string(s_.substr(from, n)), hoped(rank, end), end, true);
    return true;
  }

  bool unit_after(size_t k) const {
    size_t n = k;
    while (n < s_.size() && letter(s_[n])) ++n;
    return n - k <= 12 && (n >= s_.size() || s_[n] != '(');
  }

  // "final answer is … I hope": the best rank.
  int hoped(int rank, size_t end) const {
    if (rank != 50) return rank;
    while (end < s_.size() && (s_[end] == '.' || blank(s_[end]) || s_[end] == '$')) ++end;
    return s_.substr(std::min(end, s_.size())).starts_with("I hope") ? 0 : rank;
  }

  // "$x=1$ or $x=2$" is one answer.
  void join_maths(std::string& text, size_t& end) const {
    for (int n = 0; n < 16; ++n) {
      size_t k = end;
      while (k < s_.size() && (s_[k] == ' ' || s_[k] == ',')) ++k;
      const bool comma = k > end && s_.substr(end, k - end).find(',') != kNone;
      std::string_view rest = s_.substr(k);
      size_t word = rest.starts_with("or ") ? 3 : rest.starts_with("and ") ? 4 : 0;
      if (word == 0 && !comma) return;
      k += word;
      std::string_view more;
      size_t stop = 0;
      if (!maths_at(k, more, stop)) return;
      text += " , ";
      text += more;
      end = stop;
    }
  }

  void phrases() {
    size_t before = s_.size();
    size_t hash = last_hash(before);
    for (size_t n = 0; n < kMaxAnchors; ++n) {
      if (hash >= before && hash > 0) hash = last_hash(before);
      const size_t at = std::max(last_phrase(before), hash);
      if (at == 0 && !s_.starts_with("####")) return;
      before = at;
      if (s_[at] == '#') {
        if (value_at(at + 4, s_.size(), 100)) return;
        continue;
      }
      phrase(at);
      if (!out_.empty() && out_.back().rank < 200 && n > 8) return;
      if (before == 0) return;
    }
  }
  // 0: none.
  size_t last_phrase(size_t before) const {
    const size_t at = s_.substr(0, before).rfind("nswer");
    return at == kNone ? 0 : at;
  }
  size_t last_hash(size_t before) const {
    const size_t at = s_.substr(0, before).rfind("####");
    return at == kNone ? 0 : at;
  }

  void phrase(size_t at) {
    if (at == 0 || (s_[at - 1] | 0x20) != 'a') return;
    const size_t start = at - 1;
    const bool final = start >= 6 && starts_with_word(s_.substr(start - 6), "final ");
    size_t k = at + 5;
    // The sentence that follows.
    size_t stop = k;
    int breaks = 0;
    while (stop < s_.size() && stop - k < 240) {
      const char c = s_[stop];
      if (c == '.' && (stop + 1 >= s_.size() || blank(s_[stop + 1])) && stop > k) break;
      if (c == '\n' && ++breaks > 2) break;
      ++stop;
    }
    const std::string_view sentence = s_.substr(k, stop - k);
    // Directly: "answer is X", "answer: X".
    size_t d = 0;
    while (d < sentence.size() && (blank(sentence[d]) || sentence[d] == '*')) ++d;
    bool sign = false;
    for (const std::string_view verb : {":", "is:", "is", "="}) {
      if (sentence.substr(d).starts_with(verb)) {
        const size_t after = d + verb.size();
        if (verb == "is" && after < sentence.size() && letter(sentence[after])) continue;
        d = after;
        sign = true;
        break;
      }
    }
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

  void anywhere() {
    if (options_.latex) last_maths();
    if (options_.latex && options_.expressions && out_.empty() && s_.size() <= 200 && s_.find('$') == kNone &&
        s_.find('\n') == kNone && (s_.find('=') != kNone || s_.find('\\') != kNone)) {
      add(std::string(trim(s_)), 300, s_.size() + 1);
    }
    if (options_.latex) bare_fraction();
    if (options_.expressions) last_number();
  }

  void last_maths() {
    size_t before = s_.size();
    for (int tries = 0; tries < 48; ++tries) {
      // The closing mark that stands last.
      size_t close = kNone;
      std::string_view opening;
      const auto consider = [&](std::string_view mark, std::string_view open) {
        const size_t at = s_.substr(0, before).rfind(mark);
        if (at != kNone && (close == kNone || at > close)) {
          close = at;
          opening = open;
        }
      };
      consider("$", "$");
      consider("\\]", "\\[");
      consider("\\)", "\\(");
      if (close == kNone || close == 0) return;
      size_t from = kNone;
      size_t end = close + opening.size();
      if (opening == "$") {
        const bool display = s_[close - 1] == '$';
        const std::string_view mark = display ? "$$" : "$";
        const size_t last = display ? close - 1 : close;
        if (last == 0) return;
        from = s_.rfind(mark, last - 1);
        if (display && from != kNone && from + 1 >= last) from = kNone;
        end = close + 1;
      } else {
        from = s_.rfind(opening, close);
      }
      if (from == kNone) {
        before = close;
        continue;
      }
      std::string_view content;
      size_t stop = 0;
      if (maths_at(from, content, stop) && stop == end) {
        std::string text(content);
        size_t first = from;
        // Earlier pieces that join it.
        for (int n = 0; n < 8; ++n) {
          size_t k = first;
          while (k > 0 && s_[k - 1] == ' ') --k;
          const std::string_view head = s_.substr(0, k);
          const size_t word = head.ends_with(" or") ? 3 : head.ends_with(" and") ? 4 : head.ends_with(",") ? 1 : 0;
          if (word == 0 || k <= word + 1 || s_[k - word - 1] != '$') break;
          const size_t mark = s_.rfind('$', k - word - 2);
          if (mark == kNone || s_.substr(mark, k - word - mark).find('\n') != kNone) break;
          std::string joined(s_.substr(mark + 1, k - word - mark - 2));
          joined.append(" , ").append(text);
          text = std::move(joined);
          first = mark;
        }
        add(text, 300, end);
        if (out_.size() >= 4) return;
        before = from;
      } else {
        before = close;
      }
    }
  }

  void bare_fraction() {
    const size_t at = s_.rfind("\\frac{");
    if (at == kNone) return;
    const size_t one = closing_brace(s_, at + 5);
    if (one == kNone || one + 1 >= s_.size() || s_[one + 1] != '{') return;
    const size_t two = closing_brace(s_, one + 1);
    if (two == kNone) return;
    const bool minus = at > 0 && s_[at - 1] == '-';
    add(std::string(s_.substr(at - (minus ? 1 : 0), two + 1 - at + (minus ? 1 : 0))), 300, two + 1);
  }

  void last_number() {
    size_t k = s_.size();
    for (int tries = 0; tries < 64 && k > 0; ++tries) {
      const size_t last = s_.substr(0, k).find_last_of("0123456789");
      if (last == kNone) return;
      // Back to where its run of numbers and signs begins.
      size_t from = last;
      while (from > 0 && last - from < 400) {
        const char c = s_[from - 1];
        if (number_char(c) || ((c | 0x20) == 'e' && from >= 2 && digit(s_[from - 2]))) {
          --from;
        } else if (c == ' ' && from >= 2 &&
                   ((digit(s_[from - 2]) && (thousands(from) || mixed_part(s_.substr(from)))) ||
                    (digit(s_[from]) && operator_before(from - 1)) ||
                    (operator_at(from) && (digit(s_[from - 2]) || s_[from - 2] == ')')))) {
          --from;
        } else if (static_cast<unsigned char>(c) == 0xA0 && from >= 3 && s_[from - 2] == '\xC2' &&
                   digit(s_[from - 3]) && thousands(from)) {
          from -= 2;
        } else {
          break;
        }
      }
      while (from < last &&
             (s_[from] == ',' || s_[from] == '.' || s_[from] == ')' || s_[from] == '*' || s_[from] == '/' ||
              s_[from] == '+' || s_[from] == '^') &&
             !(s_[from] == '.' && digit(s_[from + 1]))) {
        if ((s_[from] == '*' || s_[from] == '/' || s_[from] == '^') && from > 0 && !blank(s_[from - 1]) &&
            s_[from] != '*') {
          break;
        }
        ++from;
      }
      size_t n = last + 1 - from;
      int depth = 0;
      for (size_t p = from; p <= last; ++p) depth += s_[p] == '(' ? 1 : s_[p] == ')' ? -1 : 0;
      while (depth > 0 && from + n < s_.size() && s_[from + n] == ')') {
        ++n;
        --depth;
      }
      std::string text(s_.substr(from, n));
      if (depth > 0 && text[0] == '(') {
        ++from;
        text.erase(0, 1);
      }
      // A sign that stands for a minus.
      if (from >= 3 && s_.substr(from - 3, 3) == "\xE2\x88\x92") {
        std::string negative = "-";
        text = negative.append(text);
      }
      const bool starred = from > 1 && s_[from - 1] == '*' && !blank(s_[from - 2]) && s_[from - 2] != '*';
      if (s_.substr(0, from).ends_with("not ")) return;  // a denial
      if (free_on_the_left(from) && !starred) {
        add(text, 300, last + 1, true);
        return;
      }
      k = from;
    }
  }

  bool thousands(size_t k) const {
    const std::string_view s = s_.substr(k);
    return s.size() >= 3 && digit(s[0]) && digit(s[1]) && digit(s[2]) && (s.size() == 3 || !digit(s[3]));
  }
  bool operator_at(size_t k) const {
    return k + 1 < s_.size() && (s_[k] == '+' || s_[k] == '-' || s_[k] == '*' || s_[k] == '/') && s_[k + 1] == ' ';
  }
  bool operator_before(size_t k) const {  // "3 * |4"
    return k >= 2 && (s_[k - 1] == '+' || s_[k - 1] == '-' || s_[k - 1] == '*' || s_[k - 1] == '/') && s_[k - 2] == ' ';
  }

  // --- one of a few fixed strings ---

  bool choice_at(size_t k, std::string& found) const {
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

  void add_choice(const std::string& found, int rank, size_t at) {
    std::string text = found;
    if (options_.lowercase) {
      std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
    }
    out_.push_back({text, rank, at + found.size(), false});
  }

  void choice() {
    std::string found;
    for (size_t at = s_.rfind("nswer"); at != kNone; at = at == 0 ? kNone : s_.rfind("nswer", at - 1)) {
      size_t k = at + 5;
      while (k < s_.size() && (blank(s_[k]) || s_[k] == ':' || s_[k] == '*' || s_[k] == '(' || s_[k] == '=' ||
                               s_[k] == '$' || s_.substr(k).starts_with("is"))) {
        k += s_.substr(k).starts_with("is") ? 2 : 1;
      }
      if (k < s_.size() && choice_at(k, found)) {
        add_choice(found, 100, k);
        return;
      }
    }
    size_t k = 0;
    while (k < s_.size() && (blank(s_[k]) || s_[k] == '*' || s_[k] == '(' || s_[k] == '$')) ++k;
    if (k < s_.size() && choice_at(k, found)) {
      size_t end = k + found.size();
      if (end >= s_.size() || s_[end] != ' ') {
        add_choice(found, 200, k);
        return;
      }
    }
    for (size_t p = s_.size(); p-- > 0;) {
      if (!choice_at(p, found)) continue;
      // "A man walks": an article.
      const size_t end = p + found.size();
      if (found == "A" && end + 1 < s_.size() && s_[end] == ' ' && s_[end + 1] >= 'a' && s_[end + 1] <= 'z') continue;
      add_choice(found, 300, p);
      return;
    }
  }

  std::string_view s_;
  const ExtractionOptions& options_;
  std::vector<Candidate>& out_;
};

void collect(std::string_view text, const ExtractionOptions& options, std::vector<Candidate>& out) {
  Extractor(text, options, out).run();
  std::stable_sort(out.begin(), out.end(), [](const Candidate& a, const Candidate& b) {
    return a.rank != b.rank ? a.rank < b.rank : a.end != b.end ? a.end > b.end : a.text.size() > b.text.size();
  });
  if (out.size() > kMaxCandidates) out.resize(kMaxCandidates);
}

}  // namespace

std::vector<Candidate> extract(std::string_view text, const ExtractionOptions& options) {
  std::vector<Candidate> out;
  if (text.size() > kMaxText) text = text.substr(text.size() - kMaxText);
  const size_t close = text.rfind("</think>");
  const size_t open = text.rfind("<think>");
  if (close == kNone && open == kNone) {
    collect(text, options, out);
    return out;
  }
  std::string_view after = close == kNone ? text : text.substr(close + 8);
  if (const size_t again = after.find("<think>"); again != kNone) after = after.substr(0, again);
  collect(after, options, out);
  if (options.answer_after_think || (!out.empty() && out.front().rank < 300)) return out;
  // Nothing follows the block that is said to be the answer.
  out.clear();
  collect(text, options, out);
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
    if (text[k] == '\\' && k + 1 < text.size() && text[k + 1] == '$') ++k;  // a currency sign
    if (text[k] != '$') out += text[k];
  }
  for (const std::string_view mark : {"\\(", "\\)", "\\[", "\\]"}) {
    for (size_t at = out.find(mark); at != std::string::npos; at = out.find(mark)) out.erase(at, 2);
  }
  return std::string(trim(out));
}

}  // namespace deepsearch::math
