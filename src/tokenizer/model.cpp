#include "tokenizer/model.h"

#include <optional>

#include "tokenizer/bpe.h"

namespace deepsearch {

namespace {

// Each piece is one word of the vocabulary, or the unknown token.
class WordLevel : public Model {
 public:
  explicit WordLevel(const JsonNode& node)
      : Model(node.at("vocab")),
        unknown_text_(node.at("unk_token").text()),
        unknown_(vocabulary().find(unknown_text_)) {}

  void encode(const Pieces& pieces, std::vector<Token>& ids) const override {
    for (const Pieces::Range& range : pieces.ranges) {
      const std::string_view word = pieces.text(range);
      Token id = vocabulary().find(word);
      if (id == Vocabulary::kNone) id = unknown_;
      if (id == Vocabulary::kNone) {
        bad_input("{} is not in the vocabulary, and neither is the unknown token {}", nlohmann::json(word).dump(),
                  nlohmann::json(unknown_text_).dump());
      }
      ids.push_back(id);
    }
  }

 private:
  std::string unknown_text_;
  Token unknown_;
};

// Files written before models had a "type" hold what BPE needs.
std::string type_of(const JsonNode& node) {
  if (node.find("type")) return node.at("type").text();
  if (node.find("merges")) return "BPE";
  node.refuse("key \"type\" is missing");
}

}  // namespace

Vocabulary::Vocabulary(const JsonNode& node) {
  node.expect_object();
  const nlohmann::json& json = node.json();
  if (json.size() > kMaxVocabulary) node.refuse("{} tokens; at most {} are taken", json.size(), kMaxVocabulary);
  ids_.reserve(json.size());
  texts_.reserve(json.size());
  for (const auto& [text, value] : json.items()) {
    if (!value.is_number_unsigned() || value.get<uint64_t>() >= kMaxVocabulary) {
      node.member(text).refuse("an id is a whole number from 0 to {}", kMaxVocabulary - 1);
    }
    const auto id = value.get<Token>();
    const auto at = ids_.emplace(text, id).first;
    const auto [other, is_new] = texts_.emplace(id, &at->first);
    if (!is_new) node.member(text).refuse("id {} is already that of {}", id, nlohmann::json(*other->second).dump());
  }
}

std::unique_ptr<Model> make_model(const JsonNode& node) {
  const std::string type = type_of(node);
  if (type == "BPE") return make_bpe(node);
  if (type == "WordLevel") return std::make_unique<WordLevel>(node);
  node.refuse("type {} is not supported; BPE and WordLevel are", nlohmann::json(type).dump());
}

}  // namespace deepsearch
