#include "commands/plan_input.h"

#include <algorithm>
#include <memory>

#include "core/error.h"
#include "engine/bench_models.h"
#include "model/weights.h"
#include "run/domain.h"

namespace deepsearch {

namespace {

ModelConfig shape_of(const PlanRequest& options, const Config& config) {
  if (!options.shape.empty()) return bench_shape(options.shape);
  if (config.model.path.empty()) return model_config_of(config.model, *make_domain(config).language);
  return open_model(config.model.path)->model_config();
}

int64_t longest_prompt(const Config& config) {
  return config.task.text() ? config.problems.max_prompt_tokens : make_task(config.task)->max_prompt_tokens();
}

}  // namespace

PlanInput plan_input(const PlanRequest& options, const Config& config) {
  PlanInput input;
  input.model = shape_of(options, config);
  input.learn = config.learn;
  input.engine = config.engine;
  input.hardware = read_hardware(options.hardware, options.hardware_keys);
  if (options.ranks > 1 && config.ranks.learners >= options.ranks) {
    bad_input("[ranks].learners = {} of --ranks {} leaves none to search", config.ranks.learners, options.ranks);
  }
  input.one_rank = options.ranks == 1;
  input.learners = input.one_rank ? 1 : config.ranks.learners;
  input.search_ranks = input.one_rank ? 1 : options.ranks - input.learners;
  input.devices = options.devices > 0 ? options.devices : input.hardware.gpu ? options.ranks : 1;
  if (input.devices > options.ranks) {
    bad_input("--devices {} for --ranks {}: a rank uses one device", input.devices, options.ranks);
  }
  input.hold_state = config.run.hold_state;
  input.problems_in_flight = config.ranks.problems_in_flight;
  const double prompt = options.prompt_tokens.value_or(static_cast<double>(longest_prompt(config)));
  const double most = static_cast<double>(config.search.max_depth * config.search.step_tokens);
  input.work = workload_of(config.search, prompt, options.response_tokens.value_or(most / 2), options.new_share);
  if (options.generated_tokens) input.work.generated_tokens = *options.generated_tokens;
  return input;
}

}  // namespace deepsearch
