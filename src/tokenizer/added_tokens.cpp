#include "tokenizer/added_tokens.h"

#include <algorithm>

#include "tokenizer/unicode.h"

namespace deepsearch {

namespace {

uint64_t edge(uint32_t node, char byte) {
  return uint64_t{node} << 8 | static_cast<unsigned char>(byte);
}

// Start of the last character before `end`.
size_t previous_character(std::string_view text, size_t end) {
  do {
    --end;
  } while ((static_cast<unsigned char>(text[end]) & 0xC0) == 0x80);
  return end;
}

bool word_ends_at(std::string_view text, size_t end) {
  return end > 0 && unicode::is_word(unicode::decode(text, previous_character(text, end)).value);
}

bool word_starts_at(std::string_view text, size_t begin) {
  return begin < text.size() && unicode::is_word(unicode::decode(text, begin).value);
}

size_t before_space(std::string_view text, size_t end) {
  while (end > 0) {
    const size_t previous = previous_character(text, end);
    if (!unicode::is_white_space(unicode::decode(text, previous).value)) break;
    end = previous;
  }
  return end;
}

size_t behind_space(std::string_view text, size_t begin) {
  while (begin < text.size()) {
    const unicode::CodePoint c = unicode::decode(text, begin);
    if (!unicode::is_white_space(c.value)) break;
    begin += c.bytes;
  }
  return begin;
}

AddedToken read_added_token(const JsonNode& node) {
  return {.content = node.at("content").text(),
          .id = static_cast<Token>(node.at("id").number(kMaxVocabulary - 1)),
          .single_word = node.at("single_word").boolean(),
          .lstrip = node.at("lstrip").boolean(),
          .rstrip = node.at("rstrip").boolean(),
          .normalized = node.at("normalized").boolean(),
          .special = node.at("special").boolean(),
          .shown = {},
          .skipped = false};
}

}  // namespace

void TokenFinder::add(std::string_view text, const AddedToken& token) {
  uint32_t node = 0;
  for (const char byte : text) {
    const auto [child, is_new] = children_.emplace(edge(node, byte), static_cast<uint32_t>(ends_.size()));
    if (is_new) ends_.push_back(SIZE_MAX);
    if (node == 0) first_[static_cast<unsigned char>(byte)] = child->second;
    node = child->second;
  }
  if (ends_[node] != SIZE_MAX) return;  // the first of equals counts
  ends_[node] = tokens_.size();
  tokens_.push_back(token);
}

bool TokenFinder::find_at(std::string_view text, size_t begin, Found& found) const {
  uint32_t node = first_[static_cast<unsigned char>(text[begin])];
  bool any = false;
  for (size_t at = begin + 1; node != 0; ++at) {
    if (ends_[node] != SIZE_MAX) {
      found = {at, ends_[node]};
      any = true;
    }
    if (at == text.size()) break;
    const auto child = children_.find(edge(node, text[at]));
    node = child == children_.end() ? 0 : child->second;
  }
  return any;
}

std::vector<TextPart> TokenFinder::split(std::string_view text) const {
  std::vector<TextPart> parts;
  size_t done = 0;
  Found found{};
  for (size_t at = 0; at < text.size();) {
    if (tokens_.empty()) break;
    if (!find_at(text, at, found)) {
      ++at;
      continue;
    }
    size_t begin = at;
    size_t end = found.end;
    at = end;
    const AddedToken& token = tokens_[found.token];
    if (token.single_word && (word_ends_at(text, begin) || word_starts_at(text, end))) continue;
    if (token.lstrip) begin = std::max(before_space(text, begin), done);
    if (token.rstrip) end = behind_space(text, end);
    if (done < begin) parts.push_back({done, begin, Vocabulary::kNone});
    parts.push_back({begin, end, token.id});
    done = end;
  }
  if (done < text.size()) parts.push_back({done, text.size(), Vocabulary::kNone});
  return parts;
}

AddedTokens::AddedTokens(const JsonNode& list, const Vocabulary& vocabulary, const Normalizer* normalizer) {
  constexpr size_t kMaxAdded = size_t{1} << 20;
  if (list.size() > kMaxAdded) list.refuse("{} tokens; at most {} are taken", list.size(), kMaxAdded);
  auto next = static_cast<Token>(vocabulary.size());
  std::vector<AddedToken> tokens;
  for (const JsonNode& item : list.items()) {
    const AddedToken token = read_added_token(item);
    if (token.content.empty()) continue;
    Token id = find(token.content);
    if (id == Vocabulary::kNone) id = vocabulary.find(token.content);
    if (id == Vocabulary::kNone) id = next;
    if (token.id != id) {
      item.refuse("id {}, but this token's place in the vocabulary gives {}: `tokenizers` would renumber it", token.id,
                  id);
    }
    if (!ids_.emplace(token.content, id).second) item.refuse("content appears twice");
    if (id >= next) next = id + 1;
    if (!by_id_.emplace(id, token).second) item.refuse("id {} is already that of another added token", id);
    tokens.push_back(token);
  }
  find_shapes(tokens, normalizer, list);
}

void AddedTokens::find_shapes(std::vector<AddedToken>& tokens, const Normalizer* normalizer, const JsonNode& list) {
  // Where two normalized forms are equal the first counts, special tokens before others.
  std::stable_partition(tokens.begin(), tokens.end(), [](const AddedToken& token) { return token.special; });
  for (const AddedToken& token : tokens) {
    NormalText text{token.content, 0};
    if (token.normalized && normalizer != nullptr) normalizer->apply(text);
    if (text.text.empty()) list.refuse("{} is empty once normalized", nlohmann::json(token.content).dump());
    (token.normalized ? normalized_ : raw_).add(text.text, token);
    by_id_.at(token.id).shown = text.text;
  }
  for (auto& [id, token] : by_id_) {
    const Token other = find(token.shown);
    token.skipped = other != Vocabulary::kNone && by_id_.at(other).special;
  }
}

}  // namespace deepsearch
