#include "run/problem_params.h"

#include "core/error.h"
#include "run/prompt_encoder.h"

namespace deepsearch {

void ProblemParams::describe(ConfigVisitor& v) {
  v.field({.key = "train_file",
           .unit = "",
           .meaning = "JSONL file of the task's problems to train on; \"\": generated (text problems never are)",
           .decides = kTrainingResult | kFilterResult},
          train_file);
  v.field({.key = "test_file", .unit = "", .meaning = "JSONL file of the held-out problems; \"\": generated"},
          test_file);
  v.field({.key = "prompt_suffix", .unit = "", .meaning = "text: what follows each problem in its prompt"},
          prompt_suffix);
  v.field({.key = "chat_template",
           .unit = "",
           .meaning =
               "text: none (the prompt as it is), auto (the model folder's own), or one of " + known_chat_templates()},
          chat_template);
  v.field({.key = "system", .unit = "", .meaning = "text: system message before the prompt, with a chat template"},
          system);
  v.field({.key = "thinking", .unit = "", .meaning = "text, qwen3: false asks for an answer without a <think> part"},
          thinking);
  v.field({.key = "max_prompt_tokens",
           .unit = "tokens",
           .meaning = "text: of a prompt, template and suffix included",
           .min = 1,
           .max = 1 << 20},
          max_prompt_tokens);
  v.field({.key = "long_prompts",
           .unit = "",
           .meaning = "text: a problem with a longer prompt is left out, or refused",
           .choices = {"leave_out", "refuse"}},
          long_prompts);
  v.field({.key = "conflicts",
           .unit = "",
           .meaning = "training file: problems with the same text and different answers are left out, or kept",
           .choices = {"leave_out", "keep"},
           .decides = kTrainingResult | kFilterResult},
          conflicts);
  v.choice({.key = "guessable",
            .unit = "",
            .meaning = "training file: problems whose answer is yes/no, true/false or a letter: keep, exclude, or "
                       "down_weight (guessable_weight)",
            .decides = kTrainingResult | kFilterResult},
           guessable,
           {{"keep", Guessable::kKeep}, {"exclude", Guessable::kExclude}, {"down_weight", Guessable::kDownWeight}});
  v.field({.key = "guessable_weight",
           .unit = "fraction",
           .meaning = "down_weight: the share of the guessable problems that each pass through the file has; passes "
                      "take turns, so that each problem comes with this frequency",
           .min = 0,
           .max = 1,
           .decides = kTrainingResult | kFilterResult},
          guessable_weight);
}

void check(const ProblemParams& params, bool text) {
  if (text) {
    if (!params.system.empty() && params.chat_template == "none") {
      bad_input("[problems].system needs a [problems].chat_template: \"auto\", or one of {}", known_chat_templates());
    }
    return;
  }
  if (!params.prompt_suffix.empty() || params.chat_template != "none" || !params.system.empty()) {
    bad_input(
        "[problems].prompt_suffix, chat_template and system are for [task].name = \"text\"; an embedded task's "
        "problems "
        "are whole prompts");
  }
}

}  // namespace deepsearch
