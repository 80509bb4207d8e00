// Post-processors of a tokenizer.json, for a single text: TemplateProcessing, BertProcessing, RobertaProcessing,
// ByteLevel (which only moves offsets) and Sequence. Immutable: any thread.
#pragma once

#include <optional>
#include <vector>

#include "data/tokens.h"
#include "tokenizer/json_node.h"

namespace deepsearch {

class PostProcessor {
 public:
  PostProcessor() = default;
  explicit PostProcessor(const JsonNode& node) { read(node); }

  std::vector<Token> apply(std::vector<Token> ids) const;

 private:
  using Item = std::optional<Token>;  // a special token, or the text
  using Template = std::vector<Item>;

  void read(const JsonNode& node);
  static Template read_template(const JsonNode& node);
  static Template read_pair(const JsonNode& node);

  std::vector<Template> templates_;  // applied one after another
};

}  // namespace deepsearch
