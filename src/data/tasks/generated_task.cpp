#include "data/tasks/generated_task.h"

#include <algorithm>
#include <utility>

#include "core/error.h"

namespace deepsearch {

namespace {

// One draw in eight is held out, so this many misses mean that the split is empty, not that luck was bad.
constexpr uint64_t kMaxAttempts = 4096;

const char* split_name(Split split) {
  return split == Split::kTest ? "test" : "train";
}

void check_params(TaskParams& params, const TaskTraits& traits) {
  if (params.sizes.empty()) params.sizes = {traits.default_size};
  for (const int64_t size : params.sizes) {
    if (size < traits.min_size || size > traits.max_size) {
      bad_input("[task].sizes: {} is out of range; the {} task takes {} to {}", size, params.name, traits.min_size,
                traits.max_size);
    }
  }
  if (traits.default_max_number > 0) {
    if (params.max_number == 0) params.max_number = traits.default_max_number;
    if (params.max_number < traits.min_max_number || params.max_number > traits.max_max_number) {
      bad_input("[task].max_number: {} is out of range; the {} task takes {} to {}", params.max_number, params.name,
                traits.min_max_number, traits.max_max_number);
    }
  }
  // Written so that NaN is refused too.
  if (!(params.rare >= 0 && params.rare <= 1)) {
    bad_input("[task].rare: {} is out of range; a probability from 0 to 1 is", params.rare);
  }
  if (!(params.confusion >= 0 && params.confusion <= 1)) {
    bad_input("[task].confusion: {} is out of range; a probability from 0 to 1 is", params.confusion);
  }
  if (params.seed < 0) bad_input("[task].seed: {} is negative; take 0 or more", params.seed);
}

}  // namespace

GeneratedTask::GeneratedTask(TaskParams params, const TaskTraits& traits, std::vector<std::string> words,
                             const std::string& eos)
    : params_(std::move(params)), words_(std::move(words)), eos_(id_of(eos)) {
  check_params(params_, traits);
}

Problem GeneratedTask::problem(Split split, uint64_t index) const {
  return find(split, index, false).problem;
}

Example GeneratedTask::demonstration(uint64_t index) const {
  return find(Split::kTrain, index, true);
}

Example GeneratedTask::find(Split split, uint64_t index, bool demonstration) const {
  const RngPurpose purpose = demonstration ? RngPurpose::kDemonstrations : RngPurpose::kProblems;
  for (uint64_t attempt = 0; attempt < kMaxAttempts; ++attempt) {
    RandomStream random(static_cast<uint64_t>(params_.seed), purpose, mix(index, attempt));
    const int64_t size = params_.sizes[random.below(params_.sizes.size())];
    Draw made = draw(size, demonstration, random);
    if (made.prompt.empty()) continue;
    Example example;
    example.problem.source = params_.name;
    example.problem.prompt = decode(made.prompt);
    example.problem.key = problem_key(example.problem.source, example.problem.prompt);
    if (split_of(example.problem.key) != split) continue;
    example.problem.id = fmt::format("{}-{}", split_name(split), index);
    example.problem.answer = std::move(made.answer);
    example.problem.prompt_tokens = std::move(made.prompt);
    example.solution = std::move(made.solution);
    return example;
  }
  bad_input("[task]: the {} task found no {} problem in {} draws; raise sizes or max_number", params_.name,
            split_name(split), kMaxAttempts);
}

int64_t GeneratedTask::largest_size() const {
  return *std::max_element(params_.sizes.begin(), params_.sizes.end());
}

Token GeneratedTask::id_of(const std::string& word) const {
  const auto found = std::find(words_.begin(), words_.end(), word);
  if (found == words_.end()) failure("the {} task has no word \"{}\"", params_.name, word);
  return static_cast<Token>(found - words_.begin());
}

}  // namespace deepsearch
