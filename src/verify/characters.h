// Characters as the verifier's readers sort them: bytes of ASCII, whatever the locale.
#pragma once

#include <string_view>

namespace deepsearch::math {

inline constexpr size_t kNone = std::string_view::npos;

inline bool digit(char c) {
  return c >= '0' && c <= '9';
}
inline bool letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
inline bool blank(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

inline std::string_view trim(std::string_view s) {
  while (!s.empty() && blank(s.front())) s.remove_prefix(1);
  while (!s.empty() && blank(s.back())) s.remove_suffix(1);
  return s;
}

}  // namespace deepsearch::math
