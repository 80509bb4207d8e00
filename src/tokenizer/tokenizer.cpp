#include "tokenizer/tokenizer.h"

#include <algorithm>

#include "core/error.h"
#include "core/files.h"
#include "tokenizer/tokenizer_parts.h"
#include "tokenizer/unicode.h"

namespace deepsearch {

namespace {

void encode_plain(const Tokenizer::Parts& parts, NormalText text, std::vector<Token>& ids) {
  Pieces pieces{std::move(text), {}};
  if (pieces.source.text.empty()) return;
  pieces.ranges.push_back({0, pieces.source.text.size()});
  if (parts.pre_tokenizer) parts.pre_tokenizer->apply(pieces);
  parts.model->encode(pieces, ids);
}

// `at_start`: `text` is the front of the text given to encode.
void encode_between_tokens(const Tokenizer::Parts& parts, std::string_view text, bool at_start,
                           std::vector<Token>& ids) {
  NormalText normal{std::string(text), at_start ? unicode::decode(text, 0).bytes : 0};
  if (parts.normalizer) parts.normalizer->apply(normal);
  for (const TextPart& part : parts.added.normalized().split(normal.text)) {
    if (part.id != Vocabulary::kNone) {
      ids.push_back(part.id);
    } else if (part.begin == 0 && part.end == normal.text.size()) {
      encode_plain(parts, std::move(normal), ids);
      return;
    } else {
      const size_t origin = normal.origin_bytes - std::min(normal.origin_bytes, part.begin);
      encode_plain(parts, {normal.text.substr(part.begin, part.end - part.begin), origin}, ids);
    }
  }
}

}  // namespace

std::vector<Token> Tokenizer::encode(std::string_view text, bool add_special_tokens) const {
  if (const size_t at = unicode::find_invalid(text); at != std::string_view::npos) {
    bad_input("text to encode: byte {} is not UTF-8", at);
  }
  std::vector<Token> ids;
  for (const TextPart& part : parts_->added.raw().split(text)) {
    if (part.id != Vocabulary::kNone) {
      ids.push_back(part.id);
    } else {
      encode_between_tokens(*parts_, text.substr(part.begin, part.end - part.begin), part.begin == 0, ids);
    }
  }
  return add_special_tokens ? parts_->post_processor.apply(std::move(ids)) : ids;
}

std::string Tokenizer::decode(TokenSpan ids, bool skip_special_tokens) const {
  StreamDecoder decoder(*this, skip_special_tokens);
  std::string text;
  for (const Token id : ids) text += decoder.append(id);
  text += decoder.flush();
  return text;
}

std::optional<std::string> Tokenizer::token_text(Token id) const {
  const std::string* const text = parts_->token_text(id);
  return text == nullptr ? std::nullopt : std::optional(*text);
}

std::string Tokenizer::token_bytes(Token id) const {
  const std::string* const text = parts_->token_text(id);
  if (text == nullptr) return {};
  std::string bytes = *text;
  for (const auto& stage : parts_->decoder) bytes = stage->bytes(std::move(bytes));
  return bytes;
}

std::optional<Token> Tokenizer::token_id(std::string_view text) const {
  Token id = parts_->added.find(text);
  if (id == Vocabulary::kNone) id = parts_->model->vocabulary().find(text);
  return id == Vocabulary::kNone ? std::nullopt : std::optional(id);
}

bool Tokenizer::is_special(Token id) const {
  const AddedToken* const token = parts_->added.find(id);
  return token != nullptr && token->special;
}

size_t Tokenizer::vocabulary_size() const {
  size_t size = parts_->model->vocabulary().size();
  for (const auto& [id, token] : parts_->added.by_id()) {
    if (parts_->model->vocabulary().find(token.content) == Vocabulary::kNone) ++size;
  }
  return size;
}

Token Tokenizer::id_limit() const {
  Token limit = 0;
  for (const auto& [text, id] : parts_->model->vocabulary().ids()) limit = std::max(limit, id + 1);
  for (const auto& [id, token] : parts_->added.by_id()) limit = std::max(limit, id + 1);
  return limit;
}

Tokenizer parse_tokenizer(std::string_view text, const std::string& name) {
  const nlohmann::json document = parse_json_document(text, name);
  const JsonNode root(document, name);
  auto parts = std::make_shared<Tokenizer::Parts>();
  parts->model = make_model(root.at("model"));
  if (const auto node = root.find("normalizer")) parts->normalizer = make_normalizer(*node);
  if (const auto node = root.find("pre_tokenizer")) parts->pre_tokenizer = make_pre_tokenizer(*node);
  if (const auto node = root.find("added_tokens")) {
    parts->added = AddedTokens(*node, parts->model->vocabulary(), parts->normalizer.get());
  }
  if (const auto node = root.find("post_processor")) parts->post_processor = PostProcessor(*node);
  if (const auto node = root.find("decoder")) {
    parts->has_decoder = true;
    read_decoder(*node, parts->decoder);
  }
  return Tokenizer(std::move(parts));
}

Tokenizer load_tokenizer(const std::filesystem::path& path) {
  return parse_tokenizer(read_file(path, kMaxTokenizerBytes), path.string());
}

}  // namespace deepsearch
