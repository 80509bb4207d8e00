// Prompts of a model's tokens from text, messages or ids: what generate and sft read, line by line.
#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "data/tokens.h"
#include "tokenizer/chat_template.h"
#include "tokenizer/tokenizer.h"

namespace deepsearch {

struct PromptFormat {
  std::string chat_template = "none";  // none (text as it is), auto (the model folder's own), or a name
  std::string system;                  // before a prompt that is one text, where there is a template
  bool thinking = true;                // qwen3: false asks for an answer without a <think> part
};

// The names of --chat-template but "none", for help and messages.
std::string known_chat_templates();

// Immutable; any number of threads. `place` ("prompts.jsonl:3") begins the messages of bad_input.
class PromptEncoder {
 public:
  // Without a tokenizer only ids can be read. bad_input for an unknown template, or auto where the folder brings none.
  PromptEncoder(const std::filesystem::path& model_folder, std::optional<Tokenizer> tokenizer,
                const PromptFormat& format);

  std::vector<Token> from_text(const std::string& text, const std::string& place) const;
  std::vector<Token> from_messages(std::span<const ChatMessage> messages, const std::string& place) const;
  // Text as it is: a response, or a prompt without a template (add_special_tokens then).
  std::vector<Token> encode(const std::string& text, const std::string& place, bool add_special_tokens) const;

  // What the template writes after an answer ("<|im_end|>\n"); empty without a template.
  std::string after_answer() const;

 private:
  std::optional<Tokenizer> tokenizer_;
  std::optional<std::string> template_;
  std::string system_;
  bool thinking_;
};

// A JSON value that is a list of {"role": text, "content": text}, at least one.
std::vector<ChatMessage> json_messages(const nlohmann::json& list, const std::string& place);

}  // namespace deepsearch
