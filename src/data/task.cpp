#include "data/task.h"

#include <algorithm>
#include <string_view>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/files.h"

namespace deepsearch {

Split split_of(uint64_t problem_key) {
  return problem_key % 8 == 0 ? Split::kTest : Split::kTrain;
}

void TaskParams::describe(ConfigVisitor& v) {
  std::vector<std::string> names = task_names();
  names.emplace_back(kTextTask);
  v.field({.key = "name",
           .unit = "",
           .meaning = "embedded task; text: problems of files ([problems]) in the words of the model's own tokenizer",
           .choices = names},
          name);
  v.field({.key = "sizes",
           .unit = "",
           .meaning = "problem sizes k, one drawn uniformly for each problem: numbers of a countdown (2 to 12, default "
                      "4), lines of a bag (1 to 64, default 8), operations of a chain (1 to 64, default 10); [] takes "
                      "the task's default",
           .min = 1,
           .max = 64},
          sizes);
  v.field({.key = "max_number",
           .unit = "",
           .meaning = "largest number in a prompt: countdown 2 to 49, default 12; bag 2 to 20, default 9; a chain has "
                      "none; 0 takes the task's default",
           .min = 0,
           .max = 49},
          max_number);
  v.field({.key = "rare",
           .unit = "",
           .meaning = "countdown: probability with which a demonstration keeps a drawn * or /, else it takes + or -; "
                      "problems are not touched",
           .min = 0,
           .max = 1},
          rare);
  v.field({.key = "confusion",
           .unit = "",
           .meaning = "chain: upper end of U(0, x), the probability with which demonstrations show the fixed wrong "
                      "value of a confused fact (half of all facts are)",
           .min = 0,
           .max = 1},
          confusion);
  v.field({.key = "seed",
           .unit = "",
           .meaning = "seed of the problems, the demonstrations and the confused facts",
           .min = 0,
           .max = 9007199254740992.0},
          seed);
}

StepState Task::check_step(const Problem& problem, TokenSpan response) const {
  (void)problem;
  (void)response;
  return StepState::kAlive;
}

void Task::save(const std::filesystem::path& folder) const {
  write_file_atomically(folder / "tokenizer.json", tokenizer_json(*this));
  write_file_atomically(folder / "tokenizer_config.json", tokenizer_config_json(*this));
}

std::vector<Token> Task::encode(const std::string& text) const {
  const std::vector<std::string>& words = vocabulary();
  constexpr std::string_view kBlanks = " \t\r\n";
  std::vector<Token> tokens;
  const std::string_view rest = text;
  for (size_t first = rest.find_first_not_of(kBlanks); first != std::string_view::npos;) {
    const size_t last = std::min(rest.find_first_of(kBlanks, first), rest.size());
    const std::string_view word = rest.substr(first, last - first);
    const auto found = std::find(words.begin(), words.end(), word);  // at most 70 words: no index is worth its upkeep
    if (found == words.end()) {
      bad_input("\"{}\" at byte {} is no word of the {} task, which has {} to {}", word, first, params().name,
                words.front(), words.back());
    }
    tokens.push_back(static_cast<Token>(found - words.begin()));
    first = rest.find_first_not_of(kBlanks, last);
  }
  return tokens;
}

std::string Task::decode(TokenSpan tokens) const {
  const std::vector<std::string>& words = vocabulary();
  std::string text;
  for (const Token token : tokens) {
    if (!text.empty()) text += ' ';
    if (token >= 0 && static_cast<size_t>(token) < words.size()) {
      text += words[static_cast<size_t>(token)];
    } else {
      text += fmt::format("<{}?>", token);
    }
  }
  return text;
}

std::string tokenizer_json(const Task& task) {
  using Json = nlohmann::ordered_json;
  const std::vector<std::string>& words = task.vocabulary();
  const Token pad = task.pad_token();
  Json vocabulary = Json::object();
  for (size_t id = 0; id < words.size(); ++id) vocabulary[words[id]] = id;
  // The pad token is special, so that readers drop it. The end-of-sequence token stays an ordinary word: it is the full
  // stop of the answer, and a decoder that left it out would not give the text back.
  const Json pad_entry = {{"id", pad},
                          {"content", words[static_cast<size_t>(pad)]},
                          {"single_word", false},
                          {"lstrip", false},
                          {"rstrip", false},
                          {"normalized", false},
                          {"special", true}};
  // The unknown word is not in the vocabulary on purpose: an unknown word is then an error there as it is here.
  const Json json = {{"version", "1.0"},
                     {"truncation", nullptr},
                     {"padding", nullptr},
                     {"added_tokens", Json::array({pad_entry})},
                     {"normalizer", nullptr},
                     {"pre_tokenizer", {{"type", "WhitespaceSplit"}}},
                     {"post_processor", nullptr},
                     {"decoder", nullptr},
                     {"model", {{"type", "WordLevel"}, {"vocab", vocabulary}, {"unk_token", "<unk>"}}}};
  return json.dump(2) + "\n";
}

std::string tokenizer_config_json(const Task& task) {
  using Json = nlohmann::ordered_json;
  const std::vector<std::string>& words = task.vocabulary();
  const auto word = [&](Token token) { return words[static_cast<size_t>(token)]; };
  const Json json = {{"tokenizer_class", "PreTrainedTokenizerFast"},
                     {"pad_token", word(task.pad_token())},
                     {"eos_token", word(task.eos_tokens().front())},
                     {"clean_up_tokenization_spaces", false}};
  return json.dump(2) + "\n";
}

}  // namespace deepsearch
