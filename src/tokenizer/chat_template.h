// Chat templates: messages → the text that a chat model continues. Built in and chosen by name; nothing runs Jinja.
//
//   chatml        <|im_start|>ROLE\nTEXT<|im_end|>\n, no system message of its own
//   qwen2         chatml with the system message "You are a helpful assistant." where none is given
//   qwen2.5       chatml with Qwen 2.5's own system message
//   qwen2.5-math  chatml with that of the Math models, which asks for \boxed{}
//   qwen3         chatml; thinking is left out of earlier answers, and can be switched off
//   llama3        <|start_header_id|>ROLE<|end_header_id|>\n\nTEXT<|eot_id|>
//   deepseek-r1   <｜User｜>TEXT<｜Assistant｜><think>\n, as the R1 models and their distillations have it
//   none          the texts as they are, one after another
//
// llama3 and deepseek-r1 write the begin-of-text token themselves: encode the result without special tokens.
// tests/oracle/chat_oracle.py compares each with transformers and the published Jinja text.
#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace deepsearch {

struct ChatMessage {
  std::string role;  // system, user or assistant
  std::string content;
};

struct ChatOptions {
  bool add_generation_prompt = true;  // end with the opening of the assistant's answer
  bool enable_thinking = true;        // qwen3: false writes an empty <think> block into that opening
};

// The names, in the order above.
std::vector<std::string> chat_template_names();

// bad_input for an unknown name, another role, or no messages.
std::string apply_chat_template(std::string_view name, std::span<const ChatMessage> messages,
                                const ChatOptions& options = {});

// The built-in template whose published Jinja text this is, judged by the markers and the system message in it, not by
// its exact bytes; what calls tools in it is not looked at. bad_input where it is none of them, which says what to do.
std::string recognise_template(std::string_view jinja);

// The template that a model's folder brings: chat_template.jinja, else "chat_template" of tokenizer_config.json (a
// text, or the one called "default" of a list). None where it has none.
std::optional<std::string> read_template_text(const std::filesystem::path& model_folder);

}  // namespace deepsearch
