#include "run/verification.h"

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "data/problem_file.h"
#include "run/domain.h"
#include "verify/answer_verifier.h"
#include "verify/task_verifier.h"

namespace deepsearch {

void VerifyParams::describe(ConfigVisitor& v) {
  v.choice({.key = "judge",
            .unit = "",
            .meaning = "task: the task's own verifier; mathematics: the response's text against the problem's answer; "
                       "auto: the former where [task].name is an embedded task, the latter for text"},
           judge, {{"auto", Judge::kAuto}, {"task", Judge::kTask}, {"mathematics", Judge::kMathematics}});
  v.field(
      {.key = "extract",
       .unit = "",
       .meaning = "mathematics: where an answer may stand: boxed, phrases (\"answer is\"), latex (any maths), numbers "
                  "(any); boxed alone makes the policy learn the form"},
      extract);
  v.field({.key = "tolerance",
           .unit = "relative",
           .meaning = "mathematics: where the reference is a rounded decimal; a problem's own tolerance goes before it",
           .min = 0,
           .max = kMaxTolerance},
          tolerance);
  v.field({.key = "ordered", .unit = "", .meaning = "mathematics: lists of values have an order"}, ordered);
  v.field({.key = "answer_after_think",
           .unit = "",
           .meaning = "mathematics: an answer inside of <think>…</think> never counts"},
          answer_after_think);
}

namespace {

MathOptions math_options(const VerifyParams& params) {
  MathOptions options;
  options.extraction = extraction_of(params.extract, "[verify].extract");
  options.extraction.answer_after_think = params.answer_after_think;
  options.tolerance = params.tolerance;
  options.ordered = params.ordered;
  return options;
}

}  // namespace

void check(const VerifyParams& params, const Task* task) {
  const math::ExtractionOptions places = extraction_of(params.extract, "[verify].extract");
  if (task == nullptr) {
    if (params.judge == Judge::kTask) {
      bad_input("[verify].judge = \"task\": text has no verifier of its own; use \"mathematics\" (or \"auto\")");
    }
    return;
  }
  if (params.judge != Judge::kMathematics || places.expressions) return;
  const std::vector<std::string>& words = task->vocabulary();
  const bool writes = std::any_of(words.begin(), words.end(),
                                  [](const std::string& word) { return word.find('\\') != std::string::npos; });
  if (!writes) {
    bad_input(
        "[verify].judge = \"mathematics\": the words of task {} write no \\boxed and no LaTeX, so no answer would be "
        "found; add \"numbers\" to [verify].extract",
        task->params().name);
  }
}

namespace {

bool by_task(const VerifyParams& params, bool text) {
  return params.judge == Judge::kTask || (params.judge == Judge::kAuto && !text);
}

}  // namespace

std::unique_ptr<Verifier> make_verifier(const VerifyParams& params, const Domain& domain) {
  if (by_task(params, domain.task == nullptr)) return std::make_unique<TaskVerifier>(domain.task);
  return std::make_unique<AnswerVerifier>(
      math_options(params), [language = domain.language](TokenSpan response) { return language->decode(response); });
}

SameAnswer make_same_answer(const VerifyParams& params, const Domain& domain) {
  if (by_task(params, domain.task == nullptr)) {
    return [](const Problem&, const std::string& a, const std::string& b) { return a == b; };
  }
  return [verifier = MathVerifier(math_options(params))](const Problem& problem, const std::string& a,
                                                         const std::string& b) {
    if (a == b) return true;
    Problem asked;  // b as the response to the problem whose answer is a
    asked.answer = a;
    asked.marks = problem.marks;
    return verifier.verify(asked, "\\boxed{" + b + "}", /*ended=*/true).outcome == Outcome::kCorrect;
  };
}

}  // namespace deepsearch
