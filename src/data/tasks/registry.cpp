// The list of embedded tasks. A new task: a file beside this one that defines make_NAME_task, and TASK(NAME) here.
#include <algorithm>

#include "core/error.h"
#include "data/task.h"

#define DEEPSEARCH_TASKS(TASK) \
  TASK(bag)                    \
  TASK(chain)                  \
  TASK(countdown)

namespace deepsearch {

#define TASK(NAME) std::unique_ptr<Task> make_##NAME##_task(const TaskParams& params);
DEEPSEARCH_TASKS(TASK)
#undef TASK

namespace {

struct Entry {
  const char* name;
  std::unique_ptr<Task> (*make)(const TaskParams&);
};

#define TASK(NAME) {#NAME, make_##NAME##_task},
constexpr Entry kTasks[] = {DEEPSEARCH_TASKS(TASK)};
#undef TASK

}  // namespace

std::unique_ptr<Task> make_task(const TaskParams& params) {
  const auto* const found =
      std::find_if(std::begin(kTasks), std::end(kTasks), [&](const Entry& entry) { return params.name == entry.name; });
  if (found == std::end(kTasks)) {
    std::string names;
    for (const Entry& entry : kTasks) names += (names.empty() ? "" : ", ") + std::string(entry.name);
    if (params.text()) {
      bad_input("[task].name = \"text\": problems in text are not made here; this needs an embedded task: {}", names);
    }
    bad_input("[task].name: there is no task \"{}\"; the embedded tasks are {}", params.name, names);
  }
  return found->make(params);
}

std::vector<std::string> task_names() {
  std::vector<std::string> names;
  for (const Entry& entry : kTasks) names.emplace_back(entry.name);
  return names;
}

}  // namespace deepsearch
