// Added and special tokens: they are found in a text before anything else is done with it, those with "normalized"
// after the normalizer. At each place the longest token counts; then the search goes on behind it. Immutable: any
// thread.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "data/tokens.h"
#include "tokenizer/json_node.h"
#include "tokenizer/model.h"
#include "tokenizer/normalizer.h"

namespace deepsearch {

struct AddedToken {
  std::string content;
  Token id = 0;
  bool single_word = false;  // only where no word goes on before or behind it
  bool lstrip = false;       // takes the white space before it along
  bool rstrip = false;       // and behind it
  bool normalized = true;    // is looked for in normalized text, in its own normalized form
  bool special = false;
  std::string shown;     // what it decodes to: its content, once normalized where that applies
  bool skipped = false;  // when special tokens are skipped: what it shows is a special token's content
};

// A part of a text: an added token, or text between them (id = Vocabulary::kNone).
struct TextPart {
  size_t begin, end;
  Token id;
};

// Finds texts of a fixed set.
class TokenFinder {
 public:
  TokenFinder() { first_.fill(0); }
  void add(std::string_view text, const AddedToken& token);
  std::vector<TextPart> split(std::string_view text) const;

 private:
  struct Found {
    size_t end;
    size_t token;
  };
  bool find_at(std::string_view text, size_t begin, Found& found) const;

  std::vector<AddedToken> tokens_;
  // A tree of bytes: node 0 is the root, children by node and byte; `first_` repeats the root's, for speed.
  std::unordered_map<uint64_t, uint32_t> children_;
  std::vector<size_t> ends_ = {SIZE_MAX};  // node → token whose text ends there
  std::array<uint32_t, 256> first_{};
};

class AddedTokens {
 public:
  AddedTokens() = default;
  // `list` is the file's "added_tokens". A token's id is that of the model's vocabulary, or the next one above; a file
  // that says otherwise is refused.
  AddedTokens(const JsonNode& list, const Vocabulary& vocabulary, const Normalizer* normalizer);

  const TokenFinder& raw() const { return raw_; }
  const TokenFinder& normalized() const { return normalized_; }
  const AddedToken* find(Token id) const {
    const auto at = by_id_.find(id);
    return at == by_id_.end() ? nullptr : &at->second;
  }
  Token find(std::string_view content) const {
    const auto at = ids_.find(content);
    return at == ids_.end() ? Vocabulary::kNone : at->second;
  }
  const std::unordered_map<Token, AddedToken>& by_id() const { return by_id_; }

 private:
  void find_shapes(std::vector<AddedToken>& tokens, const Normalizer* normalizer, const JsonNode& list);

  std::unordered_map<Token, AddedToken> by_id_;
  TextMap<Token> ids_;
  TokenFinder raw_, normalized_;
};

}  // namespace deepsearch
