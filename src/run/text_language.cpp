#include "run/text_language.h"

#include "core/error.h"
#include "core/files.h"
#include "model/weights.h"
#include "run/demonstration_file.h"
#include "run/model_files.h"

namespace deepsearch {

namespace {

Tokenizer tokenizer_of(const std::filesystem::path& folder) {
  if (!std::filesystem::exists(folder / "tokenizer.json")) {
    bad_input("[model].path {}: no tokenizer.json in it; [task].name = \"text\" needs the model's own tokenizer",
              folder.string());
  }
  return load_tokenizer(folder / "tokenizer.json");
}

}  // namespace

TextLanguage::TextLanguage(const std::filesystem::path& folder, const ProblemParams& params)
    : folder_(folder.string()),
      tokenizer_(tokenizer_of(folder)),
      encoder_(folder, tokenizer_,
               {.chat_template = params.chat_template, .system = params.system, .thinking = params.thinking}),
      suffix_(params.prompt_suffix),
      max_prompt_tokens_(params.max_prompt_tokens),
      files_(read_model_files(folder)) {
  const std::unique_ptr<WeightSource> model = open_model(folder);  // headers only
  const ModelConfig& config = model->model_config();
  check_tokenizer_fits(tokenizer_, config, folder_);
  if (config.eos_tokens.empty()) {
    bad_input("[model].path {}: \"eos_token_id\" is missing in config.json, so no response would ever end", folder_);
  }
  vocabulary_size_ = config.vocab_size;
  pad_ = config.pad_token;
  eos_ = config.eos_tokens;
}

std::vector<Token> TextLanguage::encode(const std::string& problem) const {
  return encoder_.from_text(prompt_text(problem), "the prompt");
}

std::string TextLanguage::decode(TokenSpan tokens) const {
  return tokenizer_.decode(tokens, /*skip_special_tokens=*/true);
}

void TextLanguage::save(const std::filesystem::path& folder) const {
  for (const auto& [name, bytes] : files_) write_file_atomically(folder / name, bytes);
}

}  // namespace deepsearch
