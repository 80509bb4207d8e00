// chain: a long calculation modulo 23. Only the final value is judged, and demonstrations are confused.
//
//   prompt  +5 *2 +22 = 7       (k operations, x0)
//   answer  +5 12 ; *2 1 ; +22 0 .
//
// An operation is one token (+1 … +22, *2 … *22) and so is a value (0 … 22). The answer has k steps `op v` of three
// tokens, their mark included: `;`, and `.` (end of sequence) after the last. The form is checked, the last value is
// compared, the values in between are free.
//
// A fact is (a, op): what op makes of a. Half of the facts are confused: each has one fixed wrong value, which
// demonstrations show with a probability of its own, drawn once from U(0, confusion); the calculation goes on from the
// value shown. Which facts, values and probabilities depends on the seed alone. Demonstrations thus teach the form
// and most of the arithmetic, and the rest has to be learned from the verifier.
#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "data/tasks/generated_task.h"

namespace deepsearch {

namespace {

constexpr int64_t kModulus = 23;
constexpr int64_t kAdditions = kModulus - 1;        // +1 … +22
constexpr int64_t kMultiplications = kModulus - 2;  // *2 … *22
constexpr int64_t kOperations = kAdditions + kMultiplications;
constexpr int64_t kStepTokens = 3;  // op, value, mark

// Ids: pad, values, operations, = ; .
constexpr Token kFirstValue = 1;
constexpr Token kFirstOperation = kFirstValue + kModulus;
constexpr Token kEquals = kFirstOperation + kOperations;
constexpr Token kSeparator = kEquals + 1;
constexpr Token kStop = kEquals + 2;

constexpr TaskTraits kTraits{.default_size = 10,
                             .min_size = 1,
                             .max_size = 64,
                             .default_max_number = 0,
                             .min_max_number = 0,
                             .max_max_number = 0};

std::vector<std::string> chain_words() {
  std::vector<std::string> words = {"<pad>"};
  for (int64_t value = 0; value < kModulus; ++value) words.push_back(std::to_string(value));
  for (int64_t i = 1; i < kModulus; ++i) words.push_back(fmt::format("+{}", i));
  for (int64_t i = 2; i < kModulus; ++i) words.push_back(fmt::format("*{}", i));
  for (const char* const word : {"=", ";", "."}) words.emplace_back(word);
  return words;
}

bool is_value(Token token) {
  return token >= kFirstValue && token < kFirstValue + kModulus;
}
bool is_operation(Token token) {
  return token >= kFirstOperation && token < kFirstOperation + kOperations;
}
Token value_token(int64_t value) {
  return kFirstValue + static_cast<Token>(value);
}
int64_t value_of(Token token) {
  return token - kFirstValue;
}

int64_t apply_operation(int64_t value, int64_t operation) {
  if (operation < kAdditions) return (value + operation + 1) % kModulus;
  return value * (operation - kAdditions + 2) % kModulus;
}

// The true final value.
std::optional<int64_t> solve(TokenSpan prompt) {
  if (prompt.size() < 3 || prompt.size() > static_cast<size_t>(kTraits.max_size + 2)) return std::nullopt;
  if (prompt[prompt.size() - 2] != kEquals || !is_value(prompt.back())) return std::nullopt;
  int64_t value = value_of(prompt.back());
  for (const Token token : prompt.first(prompt.size() - 2)) {
    if (!is_operation(token)) return std::nullopt;
    value = apply_operation(value, token - kFirstOperation);
  }
  return value;
}

class Chain final : public GeneratedTask {
 public:
  explicit Chain(const TaskParams& params) : GeneratedTask(params, kTraits, chain_words(), ".") { confuse(); }

  int64_t step_tokens() const override { return kStepTokens; }
  int64_t max_depth() const override { return largest_size(); }
  int64_t max_prompt_tokens() const override { return largest_size() + 2; }

  Verdict verify(const Problem& problem, TokenSpan response, bool ended) const override {
    const std::optional<int64_t> truth = solve(problem.prompt_tokens);
    if (!truth) return {Outcome::kWrong, "", "the problem's prompt is malformed"};
    const size_t steps = problem.prompt_tokens.size() - 2;
    const size_t whole = steps * kStepTokens;
    const bool stopped = std::find(response.begin(), response.end(), kStop) != response.end();
    if (!stopped && !ended && response.size() < whole) {
      return {Outcome::kIncomplete, "",
              fmt::format("cut off in step {} of {}", response.size() / kStepTokens + 1, steps)};
    }
    for (size_t i = 0; i < std::min(whole, response.size()); ++i) {
      const std::string flaw = flaw_at(response[i], i % kStepTokens, i + 1 == whole);
      if (!flaw.empty()) return {Outcome::kWrong, "", fmt::format("step {}: {}", i / kStepTokens + 1, flaw)};
    }
    if (response.size() != whole) {
      return {Outcome::kWrong, "",
              response.size() > whole ? "goes on after the end"
                                      : fmt::format("ended after {} of {} tokens", response.size(), whole)};
    }
    const int64_t value = value_of(response[whole - 2]);
    if (value == *truth) return {Outcome::kCorrect, std::to_string(value), "the final value is right"};
    return {Outcome::kWrong, std::to_string(value), fmt::format("the final value is {}, not {}", value, *truth)};
  }

 private:
  struct Fact {
    int64_t wrong = 0;       // the value shown instead
    double probability = 0;  // of being shown; 0 for a fact that is not confused
  };

  static size_t fact_index(int64_t value, int64_t operation) {
    return static_cast<size_t>(value * kOperations + operation);
  }

  void confuse() {
    RandomStream random(static_cast<uint64_t>(params().seed), RngPurpose::kDemonstrations, hash_text("chain facts"));
    std::vector<size_t> order(facts_.size());
    for (size_t i = 0; i < order.size(); ++i) order[i] = i;
    random.shuffle(order);
    order.resize(order.size() / 2);
    for (const size_t index : order) {
      const int64_t value = static_cast<int64_t>(index) / kOperations;
      const int64_t operation = static_cast<int64_t>(index) % kOperations;
      const int64_t shift = random.between(1, kModulus - 1);
      facts_[index].wrong = (apply_operation(value, operation) + shift) % kModulus;
      facts_[index].probability = params().confusion * random.uniform();
    }
  }

  // What is wrong with a token at a place (0 op, 1 value, 2 mark) of its step, or "".
  std::string flaw_at(Token token, size_t place, bool last) const {
    if (place == 0) return is_operation(token) ? "" : word(token) + " is no operation";
    if (place == 1) return is_value(token) ? "" : word(token) + " is no value";
    if (token == (last ? kStop : kSeparator)) return "";
    if (token == kStop) return "the answer ends too early";
    return fmt::format("ends with {} instead of {}", word(token), last ? "." : ";");
  }

  Draw draw(int64_t size, bool demonstration, RandomStream& random) const override {
    Draw made;
    for (int64_t i = 0; i < size; ++i) {
      made.prompt.push_back(kFirstOperation + static_cast<Token>(random.below(kOperations)));
    }
    int64_t shown = random.between(0, kModulus - 1);
    made.prompt.push_back(kEquals);
    made.prompt.push_back(value_token(shown));
    made.answer = std::to_string(solve(made.prompt).value_or(0));
    for (int64_t i = 0; i < size; ++i) {
      const Token token = made.prompt[static_cast<size_t>(i)];
      const int64_t operation = token - kFirstOperation;
      const Fact& fact = facts_[fact_index(shown, operation)];
      const bool confused = demonstration && random.uniform() < fact.probability;
      shown = confused ? fact.wrong : apply_operation(shown, operation);
      made.solution.push_back(token);
      made.solution.push_back(value_token(shown));
      made.solution.push_back(i + 1 == size ? kStop : kSeparator);
    }
    return made;
  }

  std::array<Fact, static_cast<size_t>(kModulus* kOperations)> facts_;
};

}  // namespace

std::unique_ptr<Task> make_chain_task(const TaskParams& params);
std::unique_ptr<Task> make_chain_task(const TaskParams& params) {
  return std::make_unique<Chain>(params);
}

}  // namespace deepsearch
