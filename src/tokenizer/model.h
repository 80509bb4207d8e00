// The model of a tokenizer.json: pieces of text → token ids. BPE and WordLevel; Unigram and WordPiece are refused by
// name.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "data/tokens.h"
#include "tokenizer/json_node.h"
#include "tokenizer/pre_tokenizer.h"

namespace deepsearch {

inline constexpr uint64_t kMaxVocabulary = uint64_t{1} << 24;  // ids lie below it too

struct TextHash {
  using is_transparent = void;
  size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
};
template <class Value>
using TextMap = std::unordered_map<std::string, Value, TextHash, std::equal_to<>>;

// Token text ↔ id, both unique. Immutable once read.
class Vocabulary {
 public:
  static constexpr Token kNone = -1;

  explicit Vocabulary(const JsonNode& node);
  Vocabulary(const Vocabulary&) = delete;  // the second table points into the first
  Vocabulary& operator=(const Vocabulary&) = delete;

  Token find(std::string_view text) const {
    const auto at = ids_.find(text);
    return at == ids_.end() ? kNone : at->second;
  }
  const std::string* text(Token id) const {
    const auto at = texts_.find(id);
    return at == texts_.end() ? nullptr : at->second;
  }
  const TextMap<Token>& ids() const { return ids_; }
  size_t size() const { return ids_.size(); }

 private:
  TextMap<Token> ids_;
  std::unordered_map<Token, const std::string*> texts_;
};

class Model {
 public:
  explicit Model(const JsonNode& vocabulary) : vocabulary_(vocabulary) {}
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;
  virtual ~Model() = default;

  // Appends the ids of all pieces, in order. Thread-safe. bad_input for a text that the model cannot express.
  virtual void encode(const Pieces& pieces, std::vector<Token>& ids) const = 0;

  const Vocabulary& vocabulary() const { return vocabulary_; }

 private:
  Vocabulary vocabulary_;
};

std::unique_ptr<Model> make_model(const JsonNode& node);

}  // namespace deepsearch
