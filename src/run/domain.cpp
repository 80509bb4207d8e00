#include "run/domain.h"

#include "core/error.h"
#include "run/text_language.h"

namespace deepsearch {

Domain make_domain(const Config& config) {
  Domain domain;
  if (!config.task.text()) {
    domain.task = make_task(config.task);
    domain.language = domain.task;
    return domain;
  }
  if (config.model.path.empty()) {
    bad_input("[task].name = \"text\" needs [model].path: a model folder with its tokenizer.json");
  }
  domain.language = std::make_shared<TextLanguage>(config.model.path, config.problems);
  return domain;
}

}  // namespace deepsearch
