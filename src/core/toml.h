// The one way to toml++: parsing that no text can crash. Only this header includes toml++ (its assertions are set up
// here and must be the same everywhere).
#pragma once

#include <stdexcept>
#include <string>

namespace deepsearch {

// toml++ 3.3 guards some malformed input ("a = [}", "[.]") by assertions only; with NDEBUG they even turn into
// undefined behaviour. Here they throw, and parse_toml reports them like any other syntax error.
class TomlAssertion : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

[[noreturn]] inline void throw_toml_assertion(const char* condition) {
  throw TomlAssertion(condition);
}

}  // namespace deepsearch

#pragma push_macro("NDEBUG")
#undef NDEBUG
#define TOML_ASSERT(condition) \
  (static_cast<bool>(condition) ? static_cast<void>(0) : ::deepsearch::throw_toml_assertion(#condition))
#include <toml++/toml.h>
#pragma pop_macro("NDEBUG")

namespace deepsearch {

// `name` stands for the text in messages ("run.toml:3:9: TOML: …", bad input). At most 1 MiB; keys with very many dots,
// on whose tables toml++ would exhaust the stack, are refused.
toml::table parse_toml(const std::string& text, const std::string& name);

}  // namespace deepsearch
