// Problems in text: the tokenizer of a Hugging Face model folder, the suffix and the chat template that make a prompt
// of a problem, and the folder's tokenizer files, which saved policies bring along.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "data/language.h"
#include "run/policy.h"
#include "run/problem_params.h"
#include "run/prompt_encoder.h"

namespace deepsearch {

class TextLanguage final : public Language {
 public:
  // Reads the folder's headers and tokenizer.json; no weights. bad_input where it has no tokenizer, one that is not the
  // model's, or no chat template to be taken from it.
  TextLanguage(const std::filesystem::path& folder, const ProblemParams& params);

  std::string language_name() const override { return "the tokenizer of " + folder_; }
  int64_t vocabulary_size() const override { return vocabulary_size_; }
  Token pad_token() const override { return pad_; }
  std::vector<Token> eos_tokens() const override { return eos_; }
  int64_t max_prompt_tokens() const override { return max_prompt_tokens_; }

  // The problem and the suffix; the chat template is put around it when it is encoded.
  std::string prompt_text(const std::string& problem) const override { return problem + suffix_; }
  std::vector<Token> encode(const std::string& problem) const override;
  // Without special tokens.
  std::string decode(TokenSpan tokens) const override;
  std::vector<std::string> token_bytes() const override { return bytes_of_tokens(tokenizer_); }
  void save(const std::filesystem::path& folder) const override;

 private:
  std::string folder_;
  Tokenizer tokenizer_;
  PromptEncoder encoder_;
  std::string suffix_;
  int64_t max_prompt_tokens_;
  int64_t vocabulary_size_ = 0;
  Token pad_ = 0;
  std::vector<Token> eos_;
  std::map<std::string, std::string> files_;  // kept: the folder may be gone when the last checkpoint is written
};

}  // namespace deepsearch
