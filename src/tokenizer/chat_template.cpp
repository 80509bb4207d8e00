#include "tokenizer/chat_template.h"

#include <algorithm>
#include <array>

#include "core/error.h"
#include "core/files.h"
#include "tokenizer/json_node.h"
#include "tokenizer/unicode.h"

namespace deepsearch {

namespace {

constexpr std::string_view kQwen2System = "You are a helpful assistant.";
constexpr std::string_view kQwen25System = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.";
constexpr std::string_view kQwenMathSystem =
    R"(Please reason step by step, and put your final answer within \boxed{}.)";

using Messages = std::span<const ChatMessage>;

std::string_view strip_lines(std::string_view text, bool left, bool right) {
  while (left && text.starts_with('\n')) text.remove_prefix(1);
  while (right && text.ends_with('\n')) text.remove_suffix(1);
  return text;
}

// Python's str.strip().
std::string_view trim(std::string_view text) {
  size_t begin = text.size();
  size_t end = 0;
  unicode::for_each_character(text, [&](char32_t c, size_t from, size_t to) {
    if (unicode::is_white_space(c) || (c >= 0x1C && c <= 0x1F)) return;
    begin = std::min(begin, from);
    end = to;
  });
  return begin < end ? text.substr(begin, end - begin) : std::string_view();
}

std::string im_message(std::string_view role, std::string_view content) {
  return fmt::format("<|im_start|>{}\n{}<|im_end|>\n", role, content);
}

// `system`: the message where none is given; empty for none.
std::string chatml(Messages messages, const ChatOptions& options, std::string_view system) {
  std::string text;
  if (messages[0].role != "system" && !system.empty()) text += im_message("system", system);
  for (const ChatMessage& message : messages) text += im_message(message.role, message.content);
  return options.add_generation_prompt ? text + "<|im_start|>assistant\n" : text;
}

struct Answer {
  std::string_view thinking, content;
};

// An answer's text, split where its thinking ends.
Answer split_thinking(std::string_view content) {
  constexpr std::string_view kOpen = "<think>";
  constexpr std::string_view kClose = "</think>";
  if (content.find(kClose) == std::string_view::npos) return {{}, content};
  std::string_view thinking = strip_lines(content.substr(0, content.find(kClose)), false, true);
  if (const size_t open = thinking.rfind(kOpen); open != std::string_view::npos) {
    thinking.remove_prefix(open + kOpen.size());
  }
  const std::string_view rest = content.substr(content.rfind(kClose) + kClose.size());
  return {strip_lines(thinking, true, false), strip_lines(rest, true, false)};
}

bool is_tool_response(std::string_view content) {
  return content.starts_with("<tool_response>") && content.ends_with("</tool_response>");
}

std::string qwen3(Messages messages, const ChatOptions& options) {
  size_t last_query = messages.size() - 1;
  for (size_t i = messages.size(); i-- > 0;) {
    if (messages[i].role != "user" || is_tool_response(messages[i].content)) continue;
    last_query = i;
    break;
  }
  std::string text;
  for (size_t i = 0; i < messages.size(); ++i) {
    const ChatMessage& message = messages[i];
    if (message.role != "assistant") {
      text += im_message(message.role, message.content);
      continue;
    }
    const Answer answer = split_thinking(message.content);
    const bool shown = i > last_query && (i + 1 == messages.size() || !answer.thinking.empty());
    if (shown) {
      text +=
          im_message("assistant", fmt::format("<think>\n{}\n</think>\n\n{}", strip_lines(answer.thinking, true, true),
                                              strip_lines(answer.content, true, false)));
    } else {
      text += im_message("assistant", answer.content);
    }
  }
  if (!options.add_generation_prompt) return text;
  return text + "<|im_start|>assistant\n" + (options.enable_thinking ? "" : "<think>\n\n</think>\n\n");
}

std::string llama3(Messages messages, const ChatOptions& options) {
  std::string text = "<|begin_of_text|>";
  for (const ChatMessage& message : messages) {
    text += fmt::format("<|start_header_id|>{}<|end_header_id|>\n\n{}<|eot_id|>", message.role, trim(message.content));
  }
  return options.add_generation_prompt ? text + "<|start_header_id|>assistant<|end_header_id|>\n\n" : text;
}

std::string deepseek_r1(Messages messages, const ChatOptions& options) {
  std::string_view system;
  for (const ChatMessage& message : messages) {
    if (message.role == "system") system = message.content;
  }
  std::string text = fmt::format("<｜begin▁of▁sentence｜>{}", system);
  for (const ChatMessage& message : messages) {
    if (message.role == "user") text += fmt::format("<｜User｜>{}", message.content);
    if (message.role != "assistant") continue;
    std::string_view content = message.content;
    constexpr std::string_view kClose = "</think>";
    if (const size_t end = content.rfind(kClose); end != std::string_view::npos) {
      content.remove_prefix(end + kClose.size());
    }
    text += fmt::format("<｜Assistant｜>{}<｜end▁of▁sentence｜>", content);
  }
  return options.add_generation_prompt ? text + "<｜Assistant｜><think>\n" : text;
}

std::string plain(Messages messages) {
  std::string text;
  for (const ChatMessage& message : messages) text += message.content;
  return text;
}

using Render = std::string (*)(Messages, const ChatOptions&);

// A template, and by what its Jinja text is known: it holds all of `has`, none of `lacks`, and no marker (<|…|>,
// <｜…｜>) beyond `markers`.
struct Template {
  std::string_view name;
  Render render;
  std::vector<std::string_view> has, lacks, markers;
};

const std::vector<Template>& templates() {
  static const std::vector<std::string_view> kIm = {"<|im_start|>", "<|im_end|>", "<|endoftext|>"};
  static const std::string_view kBoxed = "Please reason step by step, and put your final answer within \\\\boxed{}.";
  static const std::vector<Template> kAll = {
      {"chatml",
       [](Messages m, const ChatOptions& o) { return chatml(m, o, ""); },
       {"<|im_start|>", "<|im_end|>", "add_generation_prompt"},
       {"You are", "Please", "think", "tools", "system", "bos_token", "trim"},
       kIm},
      {"qwen2",
       [](Messages m, const ChatOptions& o) { return chatml(m, o, kQwen2System); },
       {"<|im_start|>system\\nYou are a helpful assistant.<|im_end|>", "add_generation_prompt"},
       {"Please", "think", "Qwen", "bos_token", "trim"},
       kIm},
      {"qwen2.5",
       [](Messages m, const ChatOptions& o) { return chatml(m, o, kQwen25System); },
       {"<|im_start|>system\\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>",
        "add_generation_prompt"},
       {"Please", "think", "bos_token", "trim"},
       kIm},
      {"qwen2.5-math",
       [](Messages m, const ChatOptions& o) { return chatml(m, o, kQwenMathSystem); },
       {kBoxed, "<|im_start|>", "add_generation_prompt"},
       {"think", "Qwen", "bos_token", "trim"},
       kIm},
      {"qwen3",
       qwen3,
       {"<|im_start|>", "enable_thinking is defined and enable_thinking is false", "last_query_index", "loop.last",
        "'<think>\\n\\n</think>\\n\\n'"},
       {"You are Qwen", "bos_token", "trim", "image"},
       kIm},
      {"llama3",
       llama3,
       {"<|start_header_id|>", "<|end_header_id|>\\n\\n", "<|eot_id|>", "trim", "bos_token", "add_generation_prompt"},
       {"tools", "Cutting Knowledge", "You are", "think"},
       {"<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|begin_of_text|>"}},
      {"deepseek-r1",
       deepseek_r1,
       {"bos_token", "<｜User｜>", "'<｜Assistant｜><think>\\n'", "content.split('</think>')[-1]", "ns.system_prompt"},
       {"You are", "enable_thinking"},
       {"<｜User｜>", "<｜Assistant｜>", "<｜end▁of▁sentence｜>", "<｜begin▁of▁sentence｜>", "<｜tool▁calls▁begin｜>",
        "<｜tool▁call▁begin｜>", "<｜tool▁sep｜>", "<｜tool▁call▁end｜>", "<｜tool▁calls▁end｜>",
        "<｜tool▁outputs▁begin｜>", "<｜tool▁output▁begin｜>", "<｜tool▁output▁end｜>", "<｜tool▁outputs▁end｜>"}},
      {"none", [](Messages m, const ChatOptions&) { return plain(m); }, {}, {}, {}},
  };
  return kAll;
}

std::string name_list() {
  std::string list;
  for (const Template& t : templates()) list += fmt::format("{}\"{}\"", list.empty() ? "" : ", ", t.name);
  return list;
}

// <|…|> and <｜…｜>, without a line end or another bracket inside.
std::vector<std::string_view> markers_of(std::string_view text) {
  std::vector<std::string_view> found;
  constexpr std::array<std::array<std::string_view, 2>, 2> kKinds = {{{"<|", "|>"}, {"<｜", "｜>"}}};
  for (const auto& [open, close] : kKinds) {
    for (size_t at = text.find(open); at != std::string_view::npos; at = text.find(open, at + 1)) {
      const size_t end = text.find(close, at + open.size());
      if (end == std::string_view::npos) break;
      found.push_back(text.substr(at, end + close.size() - at));
    }
  }
  return found;
}

bool is_that_of(std::string_view jinja, const Template& t) {
  if (t.has.empty()) return false;
  const auto holds = [&](std::string_view part) { return jinja.find(part) != std::string_view::npos; };
  if (!std::all_of(t.has.begin(), t.has.end(), holds) || std::any_of(t.lacks.begin(), t.lacks.end(), holds)) {
    return false;
  }
  const auto found = markers_of(jinja);
  return std::all_of(found.begin(), found.end(), [&](std::string_view marker) {
    return std::find(t.markers.begin(), t.markers.end(), marker) != t.markers.end();
  });
}

constexpr uint64_t kMaxTemplateBytes = 1 << 20;

}  // namespace

std::vector<std::string> chat_template_names() {
  std::vector<std::string> names;
  for (const Template& t : templates()) names.emplace_back(t.name);
  return names;
}

std::string apply_chat_template(std::string_view name, std::span<const ChatMessage> messages,
                                const ChatOptions& options) {
  const auto& all = templates();
  const auto chosen = std::find_if(all.begin(), all.end(), [&](const Template& t) { return t.name == name; });
  if (chosen == all.end()) bad_input("chat template \"{}\" is not known; there are {}", name, name_list());
  if (messages.empty()) bad_input("chat template \"{}\": no messages", name);
  for (size_t i = 0; i < messages.size(); ++i) {
    const auto& [role, content] = messages[i];
    if (role != "system" && role != "user" && role != "assistant") {
      bad_input("message {}: role \"{}\"; there are system, user and assistant", i, role);
    }
    if (const size_t at = unicode::find_invalid(content); at != std::string_view::npos) {
      bad_input("message {}: byte {} is not UTF-8", i, at);
    }
  }
  return chosen->render(messages, options);
}

std::string recognise_template(std::string_view jinja) {
  for (const Template& t : templates()) {
    if (is_that_of(jinja, t)) return std::string(t.name);
  }
  bad_input(
      "this chat template is none of those built in; set chat_template to the one the model was trained with ({}), or "
      "to \"none\" and write the markers into the prompts",
      name_list());
}

std::optional<std::string> read_template_text(const std::filesystem::path& model_folder) {
  const auto jinja = model_folder / "chat_template.jinja";
  if (std::filesystem::exists(jinja)) return read_file(jinja, kMaxTemplateBytes);
  const auto config = model_folder / "tokenizer_config.json";
  if (!std::filesystem::exists(config)) return std::nullopt;
  constexpr uint64_t kMaxConfigBytes = 16 << 20;
  const nlohmann::json document = parse_json_document(read_file(config, kMaxConfigBytes), config.string());
  const auto node = JsonNode(document, config.string()).find("chat_template");
  if (!node) return std::nullopt;
  if (node->json().is_string()) return node->text();
  for (const JsonNode& item : node->items()) {
    if (item.at("name").text() == "default") return item.at("template").text();
  }
  return std::nullopt;
}

}  // namespace deepsearch
