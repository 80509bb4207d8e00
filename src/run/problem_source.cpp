#include "run/problem_source.h"

#include <algorithm>
#include <cmath>
#include <tuple>
#include <unordered_set>

#include "core/error.h"
#include "core/rng.h"
#include "data/answer_form.h"
#include "data/curation.h"
#include "data/problem_file.h"
#include "verify/math_verifier.h"

namespace deepsearch {

PromptFile read_prompts(const std::string& path, const Language& language, const ProblemParams& params, bool text) {
  PromptFile file;
  const int64_t longest = language.max_prompt_tokens();
  int64_t line = 0;
  for (ProblemRow& row : read_problem_file(path)) {
    ++line;  // one problem a line: the reader refuses blank ones
    Problem& problem = row.problem;
    try {
      problem.prompt_tokens = language.encode(problem.prompt);
    } catch (const Error& error) {
      throw error.within(fmt::format("{}:{}", path, line));
    }
    const auto length = static_cast<int64_t>(problem.prompt_tokens.size());
    if (text && length > longest && params.long_prompts == "leave_out") {
      ++file.too_long;
      continue;
    }
    if (length == 0 || length > longest) {
      const std::string why = text ? "[problems].max_prompt_tokens (long_prompts = \"leave_out\" would leave it out)"
                                   : language.language_name() + " with its [task].sizes";
      bad_input("{}:{}: a prompt of {} tokens; 1 to {} are possible by {}", path, line, length, longest, why);
    }
    problem.prompt = language.prompt_text(problem.prompt);
    file.rows.push_back(std::move(row));
    file.lines.push_back(line);
  }
  if (file.rows.empty()) {
    bad_input("{}: no problem in it has a prompt of at most {} tokens ([problems].max_prompt_tokens)", path, longest);
  }
  return file;
}

bool same_reference(const std::string& a, const std::string& b) {
  return MathVerifier().verify(a, "\\boxed{" + b + "}").outcome == Outcome::kCorrect;
}

namespace {

std::string too_long_text(const PromptFile& file, const Language& language) {
  return fmt::format("{} of {} problems left out, their prompts have more than {} tokens", file.too_long,
                     file.too_long + static_cast<int64_t>(file.rows.size()), language.max_prompt_tokens());
}

}  // namespace

ProblemSource::ProblemSource(const Domain& domain, const ProblemParams& params, uint64_t seed, bool with_training)
    : domain_(domain), seed_(seed) {
  const bool text = domain.task == nullptr;
  for (const auto& [key, path, wanted] :
       {std::tuple{"train_file", &params.train_file, with_training}, {"test_file", &params.test_file, true}}) {
    if (text && wanted && path->empty()) {
      bad_input("[problems].{} is missing: with [task].name = \"text\" problems come from a JSONL file", key);
    }
  }
  if (!params.test_file.empty()) read_test(params);
  if (with_training && !params.train_file.empty()) read_training(params);
}

void ProblemSource::read_test(const ProblemParams& params) {
  PromptFile file = read_prompts(params.test_file, *domain_.language, params, domain_.task == nullptr);
  if (file.too_long > 0) remark(params.test_file, too_long_text(file, *domain_.language));
  for (ProblemRow& row : file.rows) test_.push_back(std::move(row.problem));
}

void ProblemSource::read_training(const ProblemParams& params) {
  const std::string& path = params.train_file;
  PromptFile file = read_prompts(path, *domain_.language, params, domain_.task == nullptr);
  if (file.too_long > 0) remark(path, too_long_text(file, *domain_.language));
  const bool keep_conflicts = params.conflicts == "keep";
  const Curation curation = curate(file.rows, keep_conflicts, same_reference);
  if (curation.repeats > 0) remark(path, fmt::format("{} repeats of other problems left out", curation.repeats));
  for (const Conflict& conflict : curation.conflicts) {
    const auto first = static_cast<size_t>(conflict.first);
    const auto second = static_cast<size_t>(conflict.second);
    remark(path, fmt::format("lines {} ({}) and {} ({}) are one problem with two answers, \"{}\" and \"{}\": {}",
                             file.lines[first], file.rows[first].problem.id, file.lines[second],
                             file.rows[second].problem.id, file.rows[first].problem.answer,
                             file.rows[second].problem.answer, keep_conflicts ? "both kept" : "left out"));
  }
  admit(std::move(file), curation.kept, params);
  if (pass_size() > 0) return;
  std::string why;
  for (const std::string& line : remarks_) why += "; " + line;
  bad_input("{}: no problem is left to train on{}", path, why);
}

void ProblemSource::admit(PromptFile&& file, const std::vector<int64_t>& rows, const ProblemParams& params) {
  std::unordered_set<std::string> held_out;
  for (const Problem& problem : test_) held_out.insert(normalised_text(problem.prompt));
  int64_t leaked = 0;
  int64_t excluded = 0;
  for (const int64_t row : rows) {
    Problem& problem = file.rows[static_cast<size_t>(row)].problem;
    const bool shared = params.guessable != Guessable::kKeep && guessable(answer_form(problem.answer));
    if (held_out.contains(normalised_text(problem.prompt))) {
      ++leaked;
    } else if (shared && params.guessable == Guessable::kExclude) {
      ++excluded;
    } else {
      (shared ? guessable_ : always_).push_back(static_cast<int64_t>(train_.size()));
      train_.push_back(std::move(problem));
    }
  }
  const std::string& path = params.train_file;
  if (leaked > 0) remark(path, fmt::format("{} problems left out that are in {} too", leaked, params.test_file));
  if (excluded > 0) remark(path, fmt::format("{} problems with answers that can be guessed left out", excluded));
  if (guessable_.empty()) return;
  guessable_a_pass_ = std::llround(params.guessable_weight * static_cast<double>(guessable_.size()));
  remark(path, fmt::format("{} of {} problems with answers that can be guessed are in each pass", guessable_a_pass_,
                           guessable_.size()));
}

Problem ProblemSource::of_pass(int64_t pass, int64_t place) const {
  if (pass != pass_) {
    order_ = order_of(pass);
    pass_ = pass;
  }
  return train_[static_cast<size_t>(order_[static_cast<size_t>(place)])];
}

std::vector<int64_t> ProblemSource::order_of(int64_t pass) const {
  std::vector<int64_t> order = always_;
  if (guessable_a_pass_ > 0) {
    // The next so many of an endless sequence, in which each block holds all of them in an order of its own.
    const auto all = static_cast<int64_t>(guessable_.size());
    std::vector<int64_t> block;
    int64_t shuffled = -1;
    for (int64_t i = pass * guessable_a_pass_; i < (pass + 1) * guessable_a_pass_; ++i) {
      if (i / all != shuffled) {
        shuffled = i / all;
        block = guessable_;
        RandomStream(seed_, RngPurpose::kShuffle, mix_all(hash_text("guessable"), shuffled)).shuffle(block);
      }
      order.push_back(block[static_cast<size_t>(i % all)]);
    }
  }
  RandomStream(seed_, RngPurpose::kShuffle, static_cast<uint64_t>(pass)).shuffle(order);
  return order;
}

Problem ProblemSource::problem(Split split, int64_t index) const {
  if (split == Split::kTest && !test_.empty()) {
    return test_[static_cast<size_t>(index % static_cast<int64_t>(test_.size()))];
  }
  if (split == Split::kTrain && !train_.empty()) return of_pass(index / pass_size(), index % pass_size());
  if (domain_.task == nullptr) failure("a problem of a split that has no file was asked for");
  return domain_.task->problem(split, static_cast<uint64_t>(index));
}

int64_t ProblemSource::size(Split split) const {
  const auto n = static_cast<int64_t>((split == Split::kTrain ? train_ : test_).size());
  return n == 0 ? -1 : n;
}

}  // namespace deepsearch
