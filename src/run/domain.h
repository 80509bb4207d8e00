// What a run's problems are about: an embedded task, which makes and judges its own, or texts from files.
#pragma once

#include <memory>

#include "data/language.h"
#include "data/task.h"
#include "run/config.h"

namespace deepsearch {

struct Domain {
  std::shared_ptr<const Task> task;          // null: texts from files
  std::shared_ptr<const Language> language;  // the task itself, or a model folder's tokenizer; never null
};

// By [task], [problems] and, for texts, [model].path. bad_input where that is no folder with a tokenizer.
Domain make_domain(const Config& config);

}  // namespace deepsearch
