#include "learn/warm_start.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "core/error.h"
#include "learn/rows.h"
#include "learn/sft.h"
#include "learn/trainer.h"

namespace deepsearch {

namespace {

Row row_of(const Example& example) {
  std::vector<Token> tokens = example.problem.prompt_tokens;
  tokens.insert(tokens.end(), example.solution.begin(), example.solution.end());
  return supervised_row(std::move(tokens), static_cast<int64_t>(example.problem.prompt_tokens.size()));
}

// The task of each stage. Stage s has the first s + 1 of `stages` equal runs of the sizes: longer problems join,
// shorter ones stay, since a policy forgets where to end those it no longer sees.
std::vector<std::unique_ptr<Task>> stage_tasks(const TaskParams& params, int64_t stages) {
  if (stages > static_cast<int64_t>(params.sizes.size())) {
    bad_input("[sft].stages is {}, but [task].sizes has only {} entries", stages, params.sizes.size());
  }
  std::vector<std::unique_ptr<Task>> tasks;
  for (int64_t s = 0; s < stages; ++s) {
    TaskParams part = params;
    const auto n = static_cast<int64_t>(params.sizes.size());
    part.sizes.assign(params.sizes.begin(), params.sizes.begin() + (s + 1) * n / stages);
    tasks.push_back(make_task(part));
  }
  return tasks;
}

}  // namespace

SupervisedModel warm_start(const ModelWeights& start, const TaskParams& task, const SftParams& params,
                           const LearnParams& learn, Collectives& collectives,
                           const std::function<void(const WarmStartProgress&)>& report) {
  const auto tasks = stage_tasks(task, params.stages);
  Trainer trainer(start, supervised_params(learn, params), collectives, params.steps);
  CutShort cut_short(collectives, params.seconds);
  WarmStartProgress progress;
  for (int64_t s = 0; s < params.steps; ++s) {
    if (cut_short.now()) break;
    const Task& current = *tasks[static_cast<size_t>(s * params.stages / params.steps)];
    std::vector<Row> rows;
    rows.reserve(static_cast<size_t>(params.batch));
    for (int64_t i = 0; i < params.batch; ++i) {
      rows.push_back(row_of(current.demonstration(static_cast<uint64_t>(s * params.batch + i))));
    }
    const double loss = trainer.supervise(rows);
    progress.step = s + 1;
    progress.loss = s == 0 ? loss : 0.95 * progress.loss + 0.05 * loss;
    report(progress);
  }
  return {.weights = trainer.weights(), .stop_signal = cut_short.stop_signal()};
}

}  // namespace deepsearch
