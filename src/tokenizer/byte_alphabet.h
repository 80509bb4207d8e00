// GPT-2's alphabet of 256 printable characters, one for each byte: bytes that print stand for themselves, the others
// for U+0100 onwards, in order. A space is Ġ (U+0120), a line end Ċ (U+010A).
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace deepsearch {

// Appends the character of a byte, in UTF-8 (at most 2 bytes).
void append_byte_character(std::string& text, char byte);

// The bytes that a text in the alphabet stands for; none when a character is not of it.
std::optional<std::string> bytes_of_alphabet(std::string_view text);

}  // namespace deepsearch
