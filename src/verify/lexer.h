// LaTeX and plain text to tokens. Unicode signs stand for their commands; spacing, sizes and colours are left out.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace deepsearch::math {

enum class T : uint8_t {
  kEnd,
  kNumber,
  kLetter,
  kName,
  kConstant,
  kText,
  kUnit,
  kOpen,
  kClose,
  kBar,
  kComma,
  kSemicolon,
  kWordSeparator,
  kPlus,
  kMinus,
  kPlusMinus,
  kMinusPlus,
  kTimes,
  kDivide,
  kColon,
  kCaret,
  kUnder,
  kPrime,
  kBang,
  kPercent,
  kDegree,
  kRelation,
  kIn,
  kCup,
  kCap,
  kSetminus,
  kFrac,
  kBinom,
  kRoot,
  kBegin,
  kEndEnv,
  kAmpersand,
  kRow,
  kBig,
  kAccent,
  kInfinity,
  kEmptySet,
  kReals,
  kDots,
};

struct Token {
  T type = T::kEnd;
  bool space_before = false;
  bool decimal = false;  // a number with a decimal point or exponent
  bool grouped = false;  // a number whose commas may as well separate values
  std::string text;      // numbers: digits, point, exponent, "r" before a repeating part; names: no backslash
};

struct LexOptions {
  bool plain = false;        // plain text: a comma may be a decimal comma
  bool group_commas = true;  // 1,234 is one number
};

inline constexpr size_t kMaxMathBytes = size_t{1} << 16;
inline constexpr size_t kMaxTokens = 40'000;
inline constexpr size_t kMaxDigits = 20'000;

// False: not to be read (foreign bytes, too long, a brace that never closes in \text).
bool lex(std::string_view text, const LexOptions& options, std::vector<Token>& tokens);

// The unit's one name ("centimetres" → "cm"); "" for none known.
std::string_view unit_name(std::string_view word);

}  // namespace deepsearch::math
