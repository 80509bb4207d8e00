// Text ↔ token ids by a Hugging Face tokenizer.json, as PyPI's `tokenizers` 0.23 does it: the same ids, the same text.
// What a file asks for and this does not have is refused when it is read (normalizer.h, pre_tokenizer.h, model.h,
// decoder.h and post_processor.h say what there is). "truncation" and "padding" are read over, as transformers does.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "data/tokens.h"

namespace deepsearch {

// Immutable, cheap to copy; any number of threads may use one at a time.
class Tokenizer {
 public:
  struct Parts;
  explicit Tokenizer(std::shared_ptr<const Parts> parts) : parts_(std::move(parts)) {}

  // `add_special_tokens`: also what the file's post-processor puts around a text (a begin-of-text token, say). Special
  // tokens that stand in the text itself are recognised either way. Text that is not UTF-8, or that the model cannot
  // express, is bad_input.
  std::vector<Token> encode(std::string_view text, bool add_special_tokens = false) const;

  // `skip_special_tokens` keeps, as `tokenizers` does, a special token that is not "normalized": false and that the
  // normalizer changes. Ids outside the vocabulary are passed over, as a model's output may be wider than its
  // tokenizer. The text is UTF-8: bytes that form no character become U+FFFD.
  std::string decode(TokenSpan ids, bool skip_special_tokens = false) const;

  // How a token is written in the vocabulary (space as Ġ or ▁, say); none for an id outside it.
  std::optional<std::string> token_text(Token id) const;
  // The bytes that a token adds in the middle of a text; empty for an id outside the vocabulary. They need not be whole
  // characters. Joined, they are what decode makes text of, but for its rules on the text's ends.
  std::string token_bytes(Token id) const;
  // The id of a token by its exact text in the vocabulary.
  std::optional<Token> token_id(std::string_view text) const;
  bool is_special(Token id) const;

  size_t vocabulary_size() const;  // tokens, added ones included
  Token id_limit() const;          // above every id

  const Parts& parts() const { return *parts_; }

 private:
  std::shared_ptr<const Parts> parts_;
};

Tokenizer load_tokenizer(const std::filesystem::path& path);

// The same from text; `name` stands for the file in messages.
Tokenizer parse_tokenizer(std::string_view text, const std::string& name);

// Token by token what decode gives at once: all texts returned, joined, are decode(all ids). A text is returned as soon
// as no later token can change it, and holds whole characters only. One user at a time.
class StreamDecoder {
 public:
  explicit StreamDecoder(Tokenizer tokenizer, bool skip_special_tokens = false);
  StreamDecoder(StreamDecoder&&) noexcept;
  StreamDecoder& operator=(StreamDecoder&&) noexcept;
  ~StreamDecoder();

  std::string append(Token id);
  // The rest. Afterwards the decoder starts anew.
  std::string flush();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace deepsearch
