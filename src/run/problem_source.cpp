#include "run/problem_source.h"

#include <numeric>

#include "core/error.h"
#include "core/rng.h"
#include "data/problem_file.h"

namespace deepsearch {

namespace {

std::vector<Problem> read_for(const Task& task, const std::string& path) {
  std::vector<Problem> problems;
  if (path.empty()) return problems;
  int64_t line = 0;
  for (ProblemRow& row : read_problem_file(path)) {
    ++line;  // one problem a line: the reader refuses blank ones
    Problem& problem = row.problem;
    try {
      problem.prompt_tokens = task.encode(problem.prompt);
    } catch (const Error& error) {
      throw error.within(fmt::format("{}:{}", path, line));
    }
    const auto length = static_cast<int64_t>(problem.prompt_tokens.size());
    if (length == 0 || length > task.max_prompt_tokens()) {
      bad_input("{}:{}: a prompt of {} tokens; task {} with its [task].sizes has 1 to {}", path, line, length,
                task.params().name, task.max_prompt_tokens());
    }
    problems.push_back(std::move(problem));
  }
  if (problems.empty()) bad_input("{}: no problem in it", path);
  return problems;
}

}  // namespace

void ProblemParams::describe(ConfigVisitor& v) {
  v.field(
      {.key = "train_file", .unit = "", .meaning = "JSONL file of the task's problems to train on; \"\": generated"},
      train_file);
  v.field({.key = "test_file", .unit = "", .meaning = "JSONL file of the held-out problems; \"\": generated"},
          test_file);
}

ProblemSource::ProblemSource(const Task& task, const ProblemParams& params, uint64_t seed)
    : task_(task), seed_(seed), train_(read_for(task, params.train_file)), test_(read_for(task, params.test_file)) {}

Problem ProblemSource::problem(Split split, int64_t index) const {
  const std::vector<Problem>& file = split == Split::kTrain ? train_ : test_;
  if (file.empty()) return task_.problem(split, static_cast<uint64_t>(index));
  const auto n = static_cast<int64_t>(file.size());
  if (split == Split::kTest) return file[static_cast<size_t>(index % n)];
  std::vector<int64_t> order(file.size());
  std::iota(order.begin(), order.end(), 0);
  RandomStream(seed_, RngPurpose::kShuffle, static_cast<uint64_t>(index / n)).shuffle(order);
  return file[static_cast<size_t>(order[static_cast<size_t>(index % n)])];
}

int64_t ProblemSource::size(Split split) const {
  const auto n = static_cast<int64_t>((split == Split::kTrain ? train_ : test_).size());
  return n == 0 ? -1 : n;
}

}  // namespace deepsearch
