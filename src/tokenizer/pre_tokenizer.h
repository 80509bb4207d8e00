// Pre-tokenizers of a tokenizer.json: ByteLevel, Split, Sequence, Metaspace, Whitespace, WhitespaceSplit, Digits,
// Punctuation, BertPreTokenizer, CharDelimiterSplit. Others (UnicodeScripts, FixedLength) are refused by name.
// Immutable: any thread.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/json_node.h"
#include "tokenizer/normalizer.h"

namespace deepsearch {

// A text and the pieces of it that the model will see one by one: in order, without overlaps, none empty. What lies
// between pieces has been dropped.
struct Pieces {
  struct Range {
    size_t begin, end;
  };
  NormalText source;
  std::vector<Range> ranges;

  std::string_view text(const Range& range) const {
    return std::string_view(source.text).substr(range.begin, range.end - range.begin);
  }
};

class PreTokenizer {
 public:
  PreTokenizer() = default;
  PreTokenizer(const PreTokenizer&) = delete;
  PreTokenizer& operator=(const PreTokenizer&) = delete;
  virtual ~PreTokenizer() = default;

  virtual void apply(Pieces& pieces) const = 0;
};

std::unique_ptr<PreTokenizer> make_pre_tokenizer(const JsonNode& node);

}  // namespace deepsearch
