// What the tests of the embedded tasks share.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/rng.h"
#include "data/task.h"

namespace deepsearch::testing {

inline std::unique_ptr<Task> task_named(const std::string& name, std::vector<int64_t> sizes = {}) {
  TaskParams params;
  params.name = name;
  params.sizes = std::move(sizes);
  return make_task(params);
}

// A problem from its prompt's words.
inline Problem problem_of(const Task& task, const std::string& prompt) {
  Problem problem;
  problem.source = task.params().name;
  problem.prompt = prompt;
  problem.prompt_tokens = task.encode(prompt);
  problem.key = problem_key(problem.source, prompt);
  return problem;
}

// Any tokens, some of them outside the vocabulary.
inline std::vector<Token> garbage(const Task& task, RandomStream& random, int64_t max_length) {
  std::vector<Token> tokens(static_cast<size_t>(random.between(0, max_length)));
  for (Token& token : tokens) {
    token = static_cast<Token>(random.between(-2, static_cast<int64_t>(task.vocabulary().size()) + 1));
    if (random.below(50) == 0) token = static_cast<Token>(random.next_u32());
  }
  return tokens;
}

// One small change: a token replaced, taken out, doubled, or the end cut off.
inline std::vector<Token> mutated(const Task& task, std::vector<Token> tokens, RandomStream& random) {
  const auto place = static_cast<std::ptrdiff_t>(random.below(tokens.size()));
  switch (random.below(4)) {
    case 0:
      tokens[static_cast<size_t>(place)] = static_cast<Token>(random.below(task.vocabulary().size()));
      break;
    case 1:
      tokens.erase(tokens.begin() + place);
      break;
    case 2:
      tokens.insert(tokens.begin() + place, tokens[static_cast<size_t>(place)]);
      break;
    default:
      tokens.resize(static_cast<size_t>(place));
      break;
  }
  return tokens;
}

}  // namespace deepsearch::testing
