// What a Tokenizer is made of; for the files of this folder.
#pragma once

#include <memory>

#include "tokenizer/added_tokens.h"
#include "tokenizer/decoder.h"
#include "tokenizer/model.h"
#include "tokenizer/normalizer.h"
#include "tokenizer/post_processor.h"
#include "tokenizer/pre_tokenizer.h"
#include "tokenizer/tokenizer.h"

namespace deepsearch {

struct Tokenizer::Parts {
  std::unique_ptr<const Model> model;
  std::unique_ptr<const Normalizer> normalizer;       // may be null
  std::unique_ptr<const PreTokenizer> pre_tokenizer;  // may be null
  AddedTokens added;
  PostProcessor post_processor;
  bool has_decoder = false;  // without one, tokens are joined by spaces
  DecoderStages decoder;

  const std::string* token_text(Token id) const {
    if (const AddedToken* const token = added.find(id)) return &token->shown;
    return model->vocabulary().text(id);
  }
  // Whether decode leaves it out when asked to skip special tokens.
  bool is_skipped(Token id) const {
    const AddedToken* const token = added.find(id);
    return token != nullptr && token->skipped;
  }
};

}  // namespace deepsearch
