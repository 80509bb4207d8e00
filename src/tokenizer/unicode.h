// UTF-8 and the Unicode properties the tokenizer's parts ask for, at the Unicode versions that PyPI's `tokenizers` 0.23
// has inside: general categories of Unicode 16, letter case and numerals of Unicode 17, normal forms and combining
// marks of Unicode 9, punctuation of Unicode 8. The base tables are utf8proc's (Unicode 15 in Debian 12);
// unicode_tables.cpp holds the difference. All functions are pure: any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace deepsearch::unicode {

// General categories, in utf8proc's order.
enum class Category : uint8_t {
  kCn,
  kLu,
  kLl,
  kLt,
  kLm,
  kLo,
  kMn,
  kMc,
  kMe,
  kNd,
  kNl,
  kNo,
  kPc,
  kPd,
  kPs,  // clang-format off
  kPe, kPi, kPf, kPo, kSm, kSc, kSk, kSo, kZs, kZl, kZp, kCc, kCf, kCs, kCo,  // clang-format on
};

// "Lu" for kLu. The first letter is the group ("L": letters).
std::string_view category_name(Category category);

struct CategoryRange {
  char32_t first, last;
  Category category;
};

// The characters that Unicode 15 and 16 added, in order, with their categories.
std::span<const CategoryRange> recent_characters();

// Whether the text holds any of them (the regular expressions take a slower, exact way then).
bool has_recent_characters(std::string_view text);

struct CodePoint {
  char32_t value;
  size_t bytes;
};

// The character at `at` of valid UTF-8.
CodePoint decode(std::string_view text, size_t at);

void append(std::string& text, char32_t c);

// Calls f(code point, begin, end) for each character of valid UTF-8.
template <class F>
void for_each_character(std::string_view text, F&& f) {
  for (size_t at = 0; at < text.size();) {
    const CodePoint c = decode(text, at);
    f(c.value, at, at + c.bytes);
    at += c.bytes;
  }
}

// The bytes from `at` on, as far as they are the start of a well-formed character: `bytes` of them are; `whole` when
// that is the whole character; `cut` when the text ends inside it. Neither: the byte after them is wrong.
struct Utf8Prefix {
  size_t bytes = 0;
  bool whole = false;
  bool cut = false;
};
Utf8Prefix utf8_prefix(std::string_view text, size_t at);

// Position of the first byte that is not UTF-8, or npos.
size_t find_invalid(std::string_view text);

// Bytes → text in parts: what is ill-formed becomes U+FFFD, one for each longest part that could have started a
// character, as Rust's from_utf8_lossy does; a character is held back until it is whole.
class LossyDecoder {
 public:
  void append(std::string_view bytes, std::string& text);
  void finish(std::string& text);  // what is held back can no longer become a character

 private:
  std::string held_;  // at most 3 bytes
};

Category category(char32_t c);
bool is_white_space(char32_t c);
bool is_numeric(char32_t c);      // Nd, Nl, No
bool is_word(char32_t c);         // \w of Rust's regex: letters, marks, decimal digits, connectors, joiners
bool is_punctuation(char32_t c);  // ASCII punctuation and, of Unicode 8, the P categories
bool is_old_mark(char32_t c);     // a combining mark of Unicode 9
void append_lower_case(std::string& text, char32_t c);

enum class NormalForm { kNfc, kNfd, kNfkc, kNfkd };

// Unicode normal form of valid UTF-8.
std::string normalize(std::string_view text, NormalForm form);

}  // namespace deepsearch::unicode
