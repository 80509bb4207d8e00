#include "run/demonstration_file.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/rng.h"
#include "data/json_lines.h"

namespace deepsearch {

namespace {

bool ends_sequence(Token token, const ModelConfig& model) {
  return std::ranges::find(model.eos_tokens, token) != model.eos_tokens.end();
}

struct Parts {
  std::vector<Token> prompt;
  std::vector<Token> response;
};

Parts parts_of(const nlohmann::json& line, const PromptEncoder& encoder, const std::string& place) {
  if (line.contains("prompt_tokens") || line.contains("response_tokens")) {
    return {json_tokens(line, "prompt_tokens", place), json_tokens(line, "response_tokens", place)};
  }
  if (line.contains("messages")) {
    std::vector<ChatMessage> messages = json_messages(line.at("messages"), place);
    if (messages.size() < 2 || messages.back().role != "assistant") {
      bad_input("{}: \"messages\" must end with the assistant's, which is the response, after at least one other",
                place);
    }
    const std::string response = std::move(messages.back().content);
    messages.pop_back();
    return {encoder.from_messages(messages, place), encoder.encode(response, place, /*add_special_tokens=*/false)};
  }
  if (line.contains("prompt") || line.contains("response")) {
    const std::string response = json_text(line, "response", place);
    return {encoder.from_text(json_text(line, "prompt", place), place),
            encoder.encode(response, place, /*add_special_tokens=*/false)};
  }
  bad_input(
      "{}: a line holds \"prompt\" and \"response\" (texts), \"messages\" (role and content each), or "
      "\"prompt_tokens\" and \"response_tokens\" (ids)",
      place);
}

void check_ids(const std::vector<Token>& tokens, const ModelConfig& model, const std::string& place) {
  for (const Token token : tokens) {
    if (token < 0 || token >= model.vocab_size) {
      bad_input("{}: token {}, and the model's vocabulary is 0 to {}", place, token, model.vocab_size - 1);
    }
  }
}

}  // namespace

Token end_of_response(const PromptEncoder& encoder, const ModelConfig& model) {
  if (model.eos_tokens.empty()) {
    bad_input("the model has no end-of-sequence token: \"eos_token_id\" is missing in config.json");
  }
  const std::string after = encoder.after_answer();
  if (!after.empty()) {
    const std::vector<Token> tokens = encoder.encode(after, "the chat template", /*add_special_tokens=*/false);
    if (!tokens.empty() && ends_sequence(tokens.front(), model)) return tokens.front();
  }
  return model.eos_tokens.front();
}

void check_tokenizer_fits(const Tokenizer& tokenizer, const ModelConfig& model, const std::string& folder) {
  if (tokenizer.id_limit() > model.vocab_size) {
    bad_input("{}: tokenizer.json has ids up to {}, the model's vocabulary is 0 to {}: they do not belong together",
              folder, tokenizer.id_limit() - 1, model.vocab_size - 1);
  }
  for (const Token token : model.eos_tokens) {
    if (tokenizer.token_text(token)) continue;
    bad_input("{}: the model's end-of-sequence token {} is not in tokenizer.json: they do not belong together", folder,
              token);
  }
}

DemonstrationFile read_demonstrations(const std::filesystem::path& path, const PromptEncoder& encoder,
                                      const ModelConfig& model, int64_t limit, TooLong too_long) {
  const Token end = end_of_response(encoder, model);
  JsonLinesReader file(path);
  DemonstrationFile result;
  for (nlohmann::json line; file.next(line);) {
    const std::string place = file.place();
    ++result.lines;
    Parts parts = parts_of(line, encoder, place);
    if (parts.prompt.empty()) bad_input("{}: a prompt without a single token", place);
    check_ids(parts.prompt, model, place);
    check_ids(parts.response, model, place);
    if (parts.response.empty() || !ends_sequence(parts.response.back(), model)) parts.response.push_back(end);
    const auto n_prompt = static_cast<int64_t>(parts.prompt.size());
    const bool long_row = n_prompt + static_cast<int64_t>(parts.response.size()) > limit;
    if (long_row && (too_long == TooLong::kLeaveOut || n_prompt >= limit)) {
      ++result.left_out;
      continue;
    }
    if (long_row) {
      parts.response.resize(static_cast<size_t>(limit - n_prompt));
      ++result.cut;
    }
    parts.prompt.insert(parts.prompt.end(), parts.response.begin(), parts.response.end());
    result.rows.push_back({.tokens = std::move(parts.prompt), .n_prompt = n_prompt});
  }
  if (result.lines == 0) bad_input("{}: not a single line; a line is one demonstration", path.string());
  if (result.rows.empty()) {
    bad_input("{}: all {} lines are longer than {} tokens ([sft].max_tokens, or the model's context)", path.string(),
              result.lines, limit);
  }
  return result;
}

std::vector<Demonstration> split_validation(std::vector<Demonstration>& rows, double share, uint64_t seed) {
  if (rows.size() < 2) bad_input("a share for validation needs at least two demonstrations, there is {}", rows.size());
  const auto wanted = static_cast<size_t>(std::llround(share * static_cast<double>(rows.size())));
  const size_t n = std::clamp<size_t>(wanted, 1, rows.size() - 1);
  std::vector<size_t> order(rows.size());
  std::iota(order.begin(), order.end(), size_t{0});
  RandomStream random(seed, RngPurpose::kShuffle, hash_text("sft validation"));
  random.shuffle(order);
  std::vector<bool> chosen(rows.size(), false);
  for (size_t i = 0; i < n; ++i) chosen[order[i]] = true;
  std::vector<Demonstration> validation;
  std::vector<Demonstration> rest;
  for (size_t i = 0; i < rows.size(); ++i) (chosen[i] ? validation : rest).push_back(std::move(rows[i]));
  rows = std::move(rest);
  return validation;
}

}  // namespace deepsearch
