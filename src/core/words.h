// Numbers with their nouns, for people.
#pragma once

#include <string>
#include <string_view>

#include <fmt/format.h>

namespace deepsearch {

// "1 problem", "2 problems", "0 problems". For nouns whose plural is an s.
template <class Count>
std::string counted(Count n, std::string_view noun) {
  return fmt::format("{} {}{}", n, noun, n == 1 ? "" : "s");
}

}  // namespace deepsearch
