// What the prompts and responses of a run are written in: the policy's tokens, and the tokenizer files that a saved
// policy brings along. An embedded task has a language of its own (data/task.h), problems in text are written in that
// of a model's folder (run/text_language.h). Const methods may be called from any thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "data/tokens.h"

namespace deepsearch {

class Language {
 public:
  virtual ~Language() = default;

  virtual std::string language_name() const = 0;  // for messages: "task bag", "the tokenizer of models/x"
  virtual int64_t vocabulary_size() const = 0;    // a model for it has at least so many tokens
  virtual Token pad_token() const = 0;
  virtual std::vector<Token> eos_tokens() const = 0;
  virtual int64_t max_prompt_tokens() const = 0;

  // A problem's text as the policy is shown it: `prompt_text` is what the text is made into, `encode` its tokens.
  // bad_input where it cannot be written.
  virtual std::string prompt_text(const std::string& problem) const { return problem; }
  virtual std::vector<Token> encode(const std::string& problem) const = 0;
  // A response as text; never throws.
  virtual std::string decode(TokenSpan tokens) const = 0;

  // The bytes each token id stands for: what [engine].stop is looked for in.
  virtual std::vector<std::string> token_bytes() const = 0;

  // The tokenizer's files, beside the weights of a policy that has just been saved there (model/weights.h).
  virtual void save(const std::filesystem::path& folder) const = 0;
};

}  // namespace deepsearch
