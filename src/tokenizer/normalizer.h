// Normalizers of a tokenizer.json: Sequence, NFC, NFD, NFKC, NFKD, Lowercase, StripAccents, Strip, Prepend, Replace,
// ByteLevel. Others (BertNormalizer, Nmt, Precompiled) are refused by name. Immutable: any thread.
#pragma once

#include <memory>
#include <string>

#include "tokenizer/json_node.h"

namespace deepsearch {

// A text under way. `origin_bytes`: how many bytes at its front stem from the first character of the text that was
// given to encode; 0 for a later part of it. (Metaspace's "first" asks whether a piece begins there.)
struct NormalText {
  std::string text;
  size_t origin_bytes = 0;
};

class Normalizer {
 public:
  Normalizer() = default;
  Normalizer(const Normalizer&) = delete;
  Normalizer& operator=(const Normalizer&) = delete;
  virtual ~Normalizer() = default;

  virtual void apply(NormalText& text) const = 0;
};

std::unique_ptr<Normalizer> make_normalizer(const JsonNode& node);

}  // namespace deepsearch
