#include "run/prompt_encoder.h"

#include <utility>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "data/json_lines.h"

namespace deepsearch {

std::string known_chat_templates() {
  std::string names;
  for (const std::string& name : chat_template_names()) {
    if (name != "none") names += names.empty() ? name : ", " + name;
  }
  return names;
}

PromptEncoder::PromptEncoder(const std::filesystem::path& model_folder, std::optional<Tokenizer> tokenizer,
                             const PromptFormat& format)
    : tokenizer_(std::move(tokenizer)), system_(format.system), thinking_(format.thinking) {
  if (format.chat_template == "auto") {
    const std::optional<std::string> jinja = read_template_text(model_folder);
    if (!jinja) {
      bad_input("{}: the folder brings no chat template; give --chat-template ([problems].chat_template) one of {}",
                model_folder.string(), known_chat_templates());
    }
    template_ = recognise_template(*jinja);
  } else if (format.chat_template != "none") {
    template_ = format.chat_template;
    apply_chat_template(*template_, std::vector<ChatMessage>{{.role = "user", .content = ""}});  // an unknown name now
  }
}

std::vector<Token> PromptEncoder::from_text(const std::string& text, const std::string& place) const {
  if (!template_) return encode(text, place, /*add_special_tokens=*/true);
  std::vector<ChatMessage> messages;
  if (!system_.empty()) messages.push_back({.role = "system", .content = system_});
  messages.push_back({.role = "user", .content = text});
  return from_messages(messages, place);
}

std::vector<Token> PromptEncoder::from_messages(std::span<const ChatMessage> messages, const std::string& place) const {
  if (!template_) {
    bad_input("{}: messages need a chat template; give --chat-template auto, or one of {}", place,
              known_chat_templates());
  }
  try {
    const std::string text = apply_chat_template(*template_, messages, {.enable_thinking = thinking_});
    return encode(text, place, /*add_special_tokens=*/false);
  } catch (const Error& error) {
    if (std::string(error.what()).starts_with(place)) throw;
    throw error.within(place);
  }
}

std::vector<Token> PromptEncoder::encode(const std::string& text, const std::string& place,
                                         bool add_special_tokens) const {
  if (!tokenizer_) {
    bad_input("{}: text needs a tokenizer, and the model's folder holds no tokenizer.json; give token ids", place);
  }
  try {
    return tokenizer_->encode(text, add_special_tokens);
  } catch (const Error& error) {
    throw error.within(place);
  }
}

std::string PromptEncoder::after_answer() const {
  if (!template_) return "";
  const std::string answer = "(the answer)";
  const std::vector<ChatMessage> messages = {{.role = "user", .content = "?"},
                                             {.role = "assistant", .content = answer}};
  const std::string text = apply_chat_template(*template_, messages, {.add_generation_prompt = false});
  const size_t at = text.rfind(answer);
  if (at == std::string::npos) failure("chat template {}: an answer is not in its own text", *template_);
  return text.substr(at + answer.size());
}

std::vector<ChatMessage> json_messages(const nlohmann::json& list, const std::string& place) {
  std::vector<ChatMessage> messages;
  if (!list.is_array() || list.empty()) bad_input("{}: \"messages\" must be a list of messages", place);
  for (const nlohmann::json& message : list) {
    if (!message.is_object()) bad_input("{}: a message is an object with \"role\" and \"content\"", place);
    messages.push_back({.role = json_text(message, "role", place), .content = json_text(message, "content", place)});
  }
  return messages;
}

}  // namespace deepsearch
