#include "tokenizer/byte_alphabet.h"

#include <array>

#include "tokenizer/unicode.h"

namespace deepsearch {

namespace {

struct Alphabet {
  std::array<std::string, 256> characters;
  std::array<int, 0x144> bytes{};  // by code point; -1: none

  Alphabet() {
    bytes.fill(-1);
    char32_t next = 0x100;
    for (unsigned byte = 0; byte < 256; ++byte) {
      const bool prints = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xFF && byte != 0xAD);
      const char32_t c = prints ? byte : next++;
      unicode::append(characters[byte], c);
      bytes[c] = static_cast<int>(byte);
    }
  }
};

const Alphabet& alphabet() {
  static const Alphabet kAlphabet;
  return kAlphabet;
}

}  // namespace

void append_byte_character(std::string& text, char byte) {
  text += alphabet().characters[static_cast<unsigned char>(byte)];
}

std::optional<std::string> bytes_of_alphabet(std::string_view text) {
  const Alphabet& all = alphabet();
  std::string bytes;
  for (size_t at = 0; at < text.size();) {
    const unicode::CodePoint c = unicode::decode(text, at);
    if (c.value >= all.bytes.size() || all.bytes[c.value] < 0) return std::nullopt;
    bytes += static_cast<char>(all.bytes[c.value]);
    at += c.bytes;
  }
  return bytes;
}

}  // namespace deepsearch
