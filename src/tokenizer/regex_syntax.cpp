// Oniguruma's Ruby syntax → PCRE2's. Every character and class is written out in a form that leaves PCRE2 nothing to
// interpret in its own way.
#include <algorithm>
#include <array>
#include <map>
#include <optional>

#include "core/error.h"
#include "tokenizer/pattern.h"
#include "tokenizer/unicode.h"

namespace deepsearch {

namespace {

// A set as the inside of brackets, or as what must not be in them.
struct Items {
  std::string text;
  bool negated = false;
};

constexpr std::string_view kSpaces =
    R"(\x{9}-\x{d}\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";
// Beyond letters, marks, digits and connectors: letters in circles and squares, and superscripts and fractions.
constexpr std::string_view kMoreWord =
    R"(\x{b2}\x{b3}\x{b9}\x{bc}-\x{be}\x{24b6}-\x{24e9}\x{1f130}-\x{1f149}\x{1f150}-\x{1f169}\x{1f170}-\x{1f189})";
constexpr std::string_view kHex = "0-9A-Fa-f";

std::string escaped(char32_t c) {
  return fmt::format("\\x{{{:x}}}", static_cast<uint32_t>(c));
}

bool is_ascii_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool is_ascii_digit(char c) {
  return c >= '0' && c <= '9';
}

class Translator {
 public:
  Translator(std::string_view pattern, bool with_recent) : in_(pattern), with_recent_(with_recent) {}

  std::string run() {
    while (!done()) step();
    return std::move(out_);
  }

 private:
  bool done() const { return at_ >= in_.size(); }
  bool next_is(std::string_view text) const { return in_.substr(at_).starts_with(text); }
  bool take(std::string_view text) {
    if (!next_is(text)) return false;
    at_ += text.size();
    return true;
  }
  [[noreturn]] void refuse(std::string_view what) const {
    bad_input("regular expression: {} at byte {} is not supported", what, at_);
  }
  char32_t take_character() {
    const unicode::CodePoint c = unicode::decode(in_, at_);
    at_ += c.bytes;
    return c.value;
  }

  void step() {
    if (next_is("\\")) return escape();
    if (take("[")) return bracket();
    if (next_is("(")) return group();
    if (next_is("{")) return interval();
    constexpr std::string_view kMeaningful = "^$.|)*+?";
    if (kMeaningful.find(in_[at_]) != std::string_view::npos) {
      out_ += in_[at_++];
    } else {
      out_ += escaped(take_character());
    }
  }

  void group() {
    if (next_is("(*")) refuse("\"(*\"");
    if (!next_is("(?")) {
      ++at_;
      out_ += '(';
      return;
    }
    for (const char* const opening : {"(?:", "(?=", "(?!", "(?>", "(?<=", "(?<!"}) {
      if (take(opening)) {
        out_ += opening;
        return;
      }
    }
    if (take("(?#")) {
      const size_t end = in_.find(')', at_);
      if (end == std::string_view::npos) refuse("a comment without an end");
      at_ = end + 1;
      return;
    }
    if (take("(?<")) {
      out_ += '(';
      while (!done() && !next_is(">")) ++at_;
      if (!take(">")) refuse("a group's name without an end");
      return;
    }
    options();
  }

  // (?i:…), (?m:…) and so on; m lets the dot match line ends, which is s in PCRE2.
  void options() {
    const size_t start = at_;
    at_ += 2;
    std::string letters;
    for (; !done() && !next_is(":") && !next_is(")"); ++at_) {
      if (in_[at_] != 'i' && in_[at_] != 'm' && in_[at_] != '-') refuse("this kind of group");
      letters += in_[at_] == 'm' ? 's' : in_[at_];
    }
    if (take(":")) {
      out_ += fmt::format("(?{}:", letters);
    } else if (start == 0 && take(")")) {  // elsewhere its reach over alternatives differs
      out_ += fmt::format("(?{})", letters);
    } else {
      refuse("an option inside the expression");
    }
  }

  void interval() {
    const size_t start = at_++;
    const auto digits = [&] {
      const size_t from = at_;
      while (!done() && is_ascii_digit(in_[at_])) ++at_;
      return in_.substr(from, at_ - from);
    };
    const std::string_view least = digits();
    const bool range = take(",");
    const std::string_view most = range ? digits() : least;
    if (!take("}") || (least.empty() && most.empty())) {  // only text
      at_ = start + 1;
      out_ += escaped('{');
      return;
    }
    if (next_is("+")) refuse("\"+\" after {…}");
    if (!range && next_is("?")) refuse("\"?\" after {n}");
    out_ += fmt::format("{{{}{}{}}}", least.empty() ? "0" : least, range ? "," : "", range ? most : "");
  }

  std::optional<char32_t> hex(size_t most, bool in_braces) {
    uint32_t value = 0;
    size_t n = 0;
    for (; n < most && !done(); ++n, ++at_) {
      const char c = in_[at_];
      const bool letter = (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
      if (!letter && !is_ascii_digit(c)) break;
      value = value * 16 + static_cast<uint32_t>(letter ? (c | 0x20) - 'a' + 10 : c - '0');
    }
    if (n == 0 || (in_braces && !take("}")) || value > 0x10FFFF || (value >= 0xD800 && value < 0xE000)) {
      return std::nullopt;
    }
    return static_cast<char32_t>(value);
  }

  // After the backslash: a single character, or none, and then nothing is consumed.
  std::optional<char32_t> escaped_character(bool in_bracket) {
    static const std::map<char, char32_t> kControls = {{'t', 9},  {'n', 10}, {'r', 13}, {'f', 12},
                                                       {'v', 11}, {'a', 7},  {'e', 27}};
    const char c = in_[at_];
    if (const auto control = kControls.find(c); control != kControls.end()) return ++at_, control->second;
    if (c == 'b' && in_bracket) return ++at_, char32_t{8};
    if (c == 'x' || c == 'u') {
      ++at_;
      const bool in_braces = c == 'x' && take("{");
      const auto value = hex(in_braces ? 6 : c == 'x' ? 2 : 4, in_braces);
      if (!value || (c == 'x' && !in_braces && *value >= 0x80)) refuse("this character code");
      return value;
    }
    if (is_ascii_letter(c) || is_ascii_digit(c)) return std::nullopt;
    return take_character();
  }

  // After the backslash: the class that it and the next characters name, or none.
  std::optional<Items> escaped_class() {
    const char c = in_[at_];
    constexpr std::string_view kClasses = "swdhSWDH";
    if (kClasses.find(c) != std::string_view::npos) {
      ++at_;
      const bool negated = c < 'a';
      switch (c | 0x20) {
        case 's':
          return Items{std::string(kSpaces), negated};
        case 'h':
          return Items{std::string(kHex), negated};
        case 'd':
          return Items{property("Nd"), negated};
        default:
          return Items{word_items(), negated};
      }
    }
    if (c != 'p' && c != 'P') return std::nullopt;
    ++at_;
    if (!take("{")) refuse("\\p without braces");
    const bool negated = (c == 'P') != take("^");
    const size_t end = in_.find('}', at_);
    if (end == std::string_view::npos) refuse("\\p without an end");
    const std::string name(in_.substr(at_, end - at_));
    Items items{property(name), negated};
    at_ = end + 1;
    return items;
  }

  std::string word_items() {
    return property("L") + property("M") + property("Nd") + property("Nl") + property("Pc") + std::string(kMoreWord);
  }

  // The inside of brackets for a property's name: general categories are completed by recent characters, names of
  // scripts do not mean script extensions.
  std::string property(const std::string& name) {
    static const std::map<std::string, std::string> kLongNames = {
        {"Letter", "L"}, {"Mark", "M"}, {"Number", "N"}, {"Punctuation", "P"}, {"Symbol", "S"}, {"Separator", "Z"}};
    const auto long_name = kLongNames.find(name);
    const std::string& code = long_name == kLongNames.end() ? name : long_name->second;
    constexpr std::string_view kGroups = "LMNPSZC";
    const bool group = code.size() == 1 && kGroups.find(code[0]) != std::string_view::npos;
    if (group || is_category(code)) return fmt::format("\\p{{{}}}{}", code, recent(code));
    if (name == "Any") return R"(\x{0}-\x{10ffff})";
    if (name.empty() || !std::all_of(name.begin(), name.end(), [](char c) { return is_ascii_letter(c) || c == '_'; })) {
      refuse("this property");
    }
    return fmt::format("\\p{{sc:{}}}{}", name, name == "Han" ? recent_han() : "");
  }

  static bool is_category(const std::string& code) {
    for (int i = 1; i <= static_cast<int>(unicode::Category::kCo); ++i) {
      if (unicode::category_name(static_cast<unicode::Category>(i)) == code) return true;
    }
    return code == "Cn";
  }

  std::string recent(const std::string& code) const {
    std::string items;
    if (!with_recent_) return items;
    for (const auto& [first, last, category] : unicode::recent_characters()) {
      if (unicode::category_name(category).starts_with(code))
        items += fmt::format("{}-{}", escaped(first), escaped(last));
    }
    return items;
  }

  // Of the scripts only Han has grown by characters that are in use.
  std::string recent_han() const {
    constexpr char32_t kFirst = 0x2EBF0;  // the CJK extensions I, H and J
    constexpr char32_t kLast = 0x33479;
    std::string items;
    if (!with_recent_) return items;
    for (const auto& [first, last, category] : unicode::recent_characters()) {
      if (first >= kFirst && last <= kLast) items += fmt::format("{}-{}", escaped(first), escaped(last));
    }
    return items;
  }

  void escape() {
    if (++at_ >= in_.size()) refuse("a backslash at the end");
    if (const auto c = escaped_character(false)) {
      out_ += escaped(*c);
    } else if (const auto set = escaped_class()) {
      out_ += fmt::format("[{}{}]", set->negated ? "^" : "", set->text);
    } else if (const char letter = in_[at_]; letter == 'b' || letter == 'B') {
      ++at_;
      const std::string word = fmt::format("[{}]", word_items());
      constexpr auto kEdge = "(?:(?<={0})(?!{0})|(?<!{0})(?={0}))";
      constexpr auto kNoEdge = "(?:(?<={0})(?={0})|(?<!{0})(?!{0}))";
      out_ += fmt::format(fmt::runtime(letter == 'b' ? kEdge : kNoEdge), word);
    } else if (constexpr std::string_view kSame = "AzZGKN"; kSame.find(letter) != std::string_view::npos) {
      ++at_;
      out_ += fmt::format("\\{}", letter);
    } else if (letter >= '1' && letter <= '9' && (at_ + 1 == in_.size() || !is_ascii_digit(in_[at_ + 1]))) {
      ++at_;
      out_ += fmt::format("\\g{{{}}}", letter);
    } else {
      refuse(fmt::format("\\{}", letter));
    }
  }

  // One member of a bracket: a character, or a class that goes to `items` or `excluded`.
  std::optional<char32_t> member(std::string& items, std::vector<std::string>& excluded) {
    if (next_is("[")) refuse("a set within a set");
    if (next_is("&&")) refuse("&& in a set");
    if (!take("\\")) return take_character();
    if (done()) refuse("a set without an end");
    if (const auto c = escaped_character(true)) return c;
    const auto set = escaped_class();
    if (!set) refuse(fmt::format("\\{} in a set", in_[at_]));
    if (set->negated) {
      excluded.push_back(set->text);
    } else {
      items += set->text;
    }
    return std::nullopt;
  }

  void bracket() {
    const bool negated = take("^");
    std::string items;
    std::vector<std::string> excluded;  // the sets whose complements are in this one
    for (bool first = true; first || !next_is("]"); first = false) {
      if (done()) refuse("a set without an end");
      const auto low = member(items, excluded);
      if (!low) continue;
      items += escaped(*low);
      if (!next_is("-") || in_.substr(at_).starts_with("-]")) continue;
      ++at_;
      if (done()) refuse("a set without an end");
      const auto high = member(items, excluded);
      if (!high || *high < *low) refuse("this range in a set");
      items += fmt::format("-{}", escaped(*high));
    }
    ++at_;
    if (excluded.empty()) {
      out_ += fmt::format("[{}{}]", negated ? "^" : "", items);
      return;
    }
    std::string either = items.empty() ? "" : fmt::format("[{}]|", items);
    for (const std::string& set : excluded) either += fmt::format("[^{}]|", set);
    either.pop_back();
    out_ += fmt::format(fmt::runtime(negated ? R"((?:(?!{})[\x{{0}}-\x{{10ffff}}]))" : "(?:{})"), either);
  }

  std::string_view in_;
  bool with_recent_;
  size_t at_ = 0;
  std::string out_;
};

}  // namespace

std::string translate_regex(std::string_view pattern, bool with_recent) {
  return Translator(pattern, with_recent).run();
}

}  // namespace deepsearch
