#include "run/verification.h"

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "data/problem_file.h"
#include "verify/answer_verifier.h"
#include "verify/task_verifier.h"

namespace deepsearch {

void VerifyParams::describe(ConfigVisitor& v) {
  v.choice({.key = "judge",
            .unit = "",
            .meaning = "task: the task's own verifier; mathematics: the response's text against the problem's answer"},
           judge, {{"task", Judge::kTask}, {"mathematics", Judge::kMathematics}});
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

void check(const VerifyParams& params, const Task& task) {
  const math::ExtractionOptions places = extraction_of(params.extract, "[verify].extract");
  if (params.judge == Judge::kTask || places.expressions) return;
  const std::vector<std::string>& words = task.vocabulary();
  const bool writes = std::any_of(words.begin(), words.end(),
                                  [](const std::string& word) { return word.find('\\') != std::string::npos; });
  if (!writes) {
    bad_input(
        "[verify].judge = \"mathematics\": the words of task {} write no \\boxed and no LaTeX, so no answer would be "
        "found; add \"numbers\" to [verify].extract",
        task.params().name);
  }
}

std::unique_ptr<Verifier> make_verifier(const VerifyParams& params, std::shared_ptr<const Task> task) {
  if (params.judge == Judge::kTask) return std::make_unique<TaskVerifier>(std::move(task));
  return std::make_unique<AnswerVerifier>(
      math_options(params), [task = std::move(task)](TokenSpan response) { return task->decode(response); });
}

}  // namespace deepsearch
