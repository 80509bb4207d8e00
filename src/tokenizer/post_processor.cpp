#include "tokenizer/post_processor.h"

#include "tokenizer/model.h"

namespace deepsearch {

namespace {

constexpr size_t kMaxTemplateItems = 1024;

Token token_at(const JsonNode& node) {
  return static_cast<Token>(node.number(kMaxVocabulary - 1));
}

}  // namespace

void PostProcessor::read(const JsonNode& node) {
  switch (
      node.at("type").one_of({"Sequence", "ByteLevel", "TemplateProcessing", "BertProcessing", "RobertaProcessing"})) {
    case 0:
      for (const JsonNode& item : node.at("processors").items()) read(item);
      return;
    case 1:
      return;
    case 2:
      templates_.push_back(read_template(node));
      return;
    default:
      templates_.push_back(read_pair(node));
  }
}

PostProcessor::Template PostProcessor::read_template(const JsonNode& node) {
  const JsonNode tokens = node.at("special_tokens");
  tokens.expect_object();
  Template items;
  for (const JsonNode& item : node.at("single").items()) {
    item.expect_object();
    if (const auto sequence = item.find("Sequence")) {
      sequence->at("id").one_of({"A"});
      items.emplace_back(std::nullopt);
    } else {
      const JsonNode id = item.at("SpecialToken").at("id");
      if (!tokens.json().contains(id.text())) id.refuse("is not among special_tokens");
      for (const JsonNode& token : tokens.member(id.text()).at("ids").items()) items.emplace_back(token_at(token));
    }
    if (items.size() > kMaxTemplateItems) node.refuse("more than {} tokens in a template", kMaxTemplateItems);
  }
  return items;
}

// [CLS] text [SEP], each written as ["[CLS]", 101].
PostProcessor::Template PostProcessor::read_pair(const JsonNode& node) {
  return {token_at(node.at("cls").item(1)), std::nullopt, token_at(node.at("sep").item(1))};
}

std::vector<Token> PostProcessor::apply(std::vector<Token> ids) const {
  for (const Template& items : templates_) {
    std::vector<Token> result;
    for (const Item& item : items) {
      if (item) {
        result.push_back(*item);
      } else {
        result.insert(result.end(), ids.begin(), ids.end());
      }
    }
    ids = std::move(result);
  }
  return ids;
}

}  // namespace deepsearch
