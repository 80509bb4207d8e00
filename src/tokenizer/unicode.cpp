#include "tokenizer/unicode.h"

#include <algorithm>
#include <array>
#include <bitset>
#include <utf8proc.h>

#include "tokenizer/unicode_tables.h"

namespace deepsearch::unicode {

namespace {

constexpr std::array<std::string_view, 30> kNames = {"Cn", "Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd",
                                                     "Nl", "No", "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "Sm",
                                                     "Sc", "Sk", "So", "Zs", "Zl", "Zp", "Cc", "Cf", "Cs", "Co"};

template <class R>
const R* find_range(std::span<const R> ranges, char32_t c) {
  const auto next =
      std::upper_bound(ranges.begin(), ranges.end(), c, [](char32_t value, const R& r) { return value < r.first; });
  if (next == ranges.begin() || c > std::prev(next)->last) return nullptr;
  return &*std::prev(next);
}

// Blocks of 256 code points that hold recent characters: most texts are cleared by this alone.
const std::bitset<0x1100>& recent_blocks() {
  static const auto kBlocks = [] {
    std::bitset<0x1100> set;
    for (const CategoryRange& range : recent_characters()) {
      for (char32_t block = range.first >> 8; block <= range.last >> 8; ++block) set.set(block);
    }
    return set;
  }();
  return kBlocks;
}

bool is_recent(char32_t c) {
  return recent_blocks().test(c >> 8) && find_range(recent_characters(), c) != nullptr;
}

bool is_one_of(Category c, Category first, Category last) {
  return first <= c && c <= last;
}

}  // namespace

std::string_view category_name(Category category) {
  return kNames[static_cast<size_t>(category)];
}

bool has_recent_characters(std::string_view text) {
  constexpr unsigned char kFirstLead = 0xE0;  // the first recent character is U+0897
  for (size_t at = 0; at < text.size(); ++at) {
    if (static_cast<unsigned char>(text[at]) >= kFirstLead && is_recent(decode(text, at).value)) return true;
  }
  return false;
}

CodePoint decode(std::string_view text, size_t at) {
  const auto byte = [&](size_t i) { return static_cast<char32_t>(static_cast<unsigned char>(text[at + i])); };
  const char32_t lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  if (lead < 0xE0) return {(lead & 0x1F) << 6 | (byte(1) & 0x3F), 2};
  if (lead < 0xF0) return {(lead & 0x0F) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F), 3};
  return {(lead & 0x07) << 18 | (byte(1) & 0x3F) << 12 | (byte(2) & 0x3F) << 6 | (byte(3) & 0x3F), 4};
}

void append(std::string& text, char32_t c) {
  const auto add = [&](char32_t byte) { text += static_cast<char>(byte); };
  const auto add_tail = [&](int shift) { add(0x80 | (c >> shift & 0x3F)); };
  if (c < 0x80) {
    add(c);
  } else if (c < 0x800) {
    add(0xC0 | c >> 6);
    add_tail(0);
  } else if (c < 0x10000) {
    add(0xE0 | c >> 12);
    add_tail(6);
    add_tail(0);
  } else {
    add(0xF0 | c >> 18);
    add_tail(12);
    add_tail(6);
    add_tail(0);
  }
}

Utf8Prefix utf8_prefix(std::string_view text, size_t at) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[at + i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return {.bytes = 1, .whole = true};
  if (lead < 0xC2 || lead > 0xF4) return {};
  const size_t length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  for (size_t i = 1; i < length; ++i) {
    if (at + i == text.size()) return {.bytes = i, .cut = true};
    unsigned char low = 0x80;
    unsigned char high = 0xBF;
    if (i == 1 && lead == 0xE0) low = 0xA0;   // no overlong forms
    if (i == 1 && lead == 0xED) high = 0x9F;  // no surrogates
    if (i == 1 && lead == 0xF0) low = 0x90;
    if (i == 1 && lead == 0xF4) high = 0x8F;  // nothing above U+10FFFF
    if (byte(i) < low || byte(i) > high) return {.bytes = i};
  }
  return {.bytes = length, .whole = true};
}

size_t find_invalid(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    const Utf8Prefix prefix = utf8_prefix(text, at);
    if (!prefix.whole) return at;
    at += prefix.bytes;
  }
  return std::string_view::npos;
}

void LossyDecoder::append(std::string_view bytes, std::string& text) {
  std::string joined;
  if (!held_.empty()) {
    joined = held_.append(bytes);
    bytes = joined;
    held_.clear();
  }
  for (size_t at = 0; at < bytes.size();) {
    const Utf8Prefix prefix = utf8_prefix(bytes, at);
    if (prefix.cut) {
      held_ = bytes.substr(at);
      return;
    }
    if (prefix.whole) {
      text += bytes.substr(at, prefix.bytes);
    } else {
      unicode::append(text, 0xFFFD);
    }
    at += std::max<size_t>(prefix.bytes, 1);
  }
}

void LossyDecoder::finish(std::string& text) {
  if (!held_.empty()) unicode::append(text, 0xFFFD);
  held_.clear();
}

Category category(char32_t c) {
  if (recent_blocks().test(c >> 8)) {
    if (const CategoryRange* const recent = find_range(recent_characters(), c)) return recent->category;
  }
  return static_cast<Category>(utf8proc_category(static_cast<utf8proc_int32_t>(c)));
}

bool is_white_space(char32_t c) {
  return (c >= 0x9 && c <= 0xD) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) ||
         c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

bool is_numeric(char32_t c) {
  // The digits and numerals of Unicode 17, which regular expressions do not know yet.
  if ((c >= 0x11DE0 && c <= 0x11DE9) || (c >= 0x16FF4 && c <= 0x16FF6)) return true;
  return is_one_of(category(c), Category::kNd, Category::kNo);
}

bool is_word(char32_t c) {
  const Category kind = category(c);
  if (is_one_of(kind, Category::kLu, Category::kNl) || kind == Category::kPc) return true;
  // Joiners, and the letters in circles and squares.
  return c == 0x200C || c == 0x200D || (c >= 0x24B6 && c <= 0x24E9) || (c >= 0x1F130 && c <= 0x1F149) ||
         (c >= 0x1F150 && c <= 0x1F169) || (c >= 0x1F170 && c <= 0x1F189);
}

bool is_punctuation(char32_t c) {
  if (c < 0x80) return (c > 0x20 && c < '0') || (c > '9' && c < 'A') || (c > 'Z' && c < 'a') || (c > 'z' && c < 0x7F);
  if (c == 0x166D || c == 0x111C9) return true;  // of another category since
  return is_one_of(category(c), Category::kPc, Category::kPo) && !is_recent(c) &&
         find_range(late_punctuation(), c) == nullptr;
}

bool is_old_mark(char32_t c) {
  if (c == 0x1CF2 || c == 0x1CF3) return true;  // letters since Unicode 12
  return is_one_of(category(c), Category::kMn, Category::kMe) && !is_recent(c) &&
         find_range(late_marks(), c) == nullptr;
}

void append_lower_case(std::string& text, char32_t c) {
  struct Shift {
    char32_t first, last;
    int32_t by;
  };
  // Capitals that came after Unicode 15.
  static constexpr std::array kRecentCapitals = std::to_array<Shift>({{0x1C89, 0x1C89, 1},
                                                                      {0xA7CB, 0xA7CB, 0x264 - 0xA7CB},
                                                                      {0xA7CC, 0xA7CC, 1},
                                                                      {0xA7CE, 0xA7CE, 1},
                                                                      {0xA7D2, 0xA7D2, 1},
                                                                      {0xA7D4, 0xA7D4, 1},
                                                                      {0xA7DA, 0xA7DA, 1},
                                                                      {0xA7DC, 0xA7DC, 0x19B - 0xA7DC},
                                                                      {0x10D50, 0x10D65, 0x20},
                                                                      {0x16EA0, 0x16EB8, 0x1B}});
  if (c == 0x130) {  // the one capital whose small form is two characters in every language
    text += "i\xCC\x87";
    return;
  }
  if (const Shift* const shift = find_range(std::span<const Shift>(kRecentCapitals), c)) {
    append(text, static_cast<char32_t>(static_cast<int32_t>(c) + shift->by));
    return;
  }
  append(text, static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c))));
}

}  // namespace deepsearch::unicode
