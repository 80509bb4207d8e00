#include "run/setup.h"

#include <algorithm>
#include <cstdlib>
#include <sched.h>
#include <thread>

#include "comm/libraries.h"
#include "core/error.h"
#include "core/files.h"
#include "core/version.h"
#include "core/words.h"
#include "learn/libraries.h"
#include "run/out_of_memory.h"

namespace deepsearch {

void agree(World& world, const std::function<void()>& work) {
  std::string mine;
  int exit_code = kExitOk;
  try {
    work();
  } catch (const Error& error) {
    end_if_out_of_memory(world, error.what());
    mine = error.what();
    exit_code = error.exit_code();
  } catch (const std::exception& error) {
    end_if_out_of_memory(world, error.what());
    mine = error.what();
    exit_code = kExitFailure;
  }
  // The exit code travels in front of the text, so that all ranks end alike.
  const std::string first = world.first_error(mine.empty() ? "" : std::to_string(exit_code) + " " + mine);
  if (first.empty()) return;
  const size_t blank = first.find(' ');
  throw AgreedError(first.substr(blank + 1), std::atoi(first.substr(0, blank).c_str()));
}

int run_ranks(World& world, const std::string& phase, const std::function<int()>& work) {
  const OutOfMemoryGuard guard(world);
  try {
    return work();
  } catch (const AgreedError& error) {
    throw Error(world.rank() == 0 ? error.what() : "", error.exit_code());
  } catch (const Error& error) {
    end_if_out_of_memory(world, error.what());
    world.abort(phase, error.what(), error.exit_code());
  } catch (const std::exception& error) {
    end_if_out_of_memory(world, error.what());
    world.abort(phase, error.what(), kExitFailure);
  }
}

void check_layout(const Config& config, const World& world) {
  check_layout(config, world.n_search(), !(world.learns() && world.searches()));
}

void check_layout(const Config& config, int64_t search_ranks, bool apart) {
  if (config.learn.max_staleness > 0 && !apart) {
    bad_input(
        "[learn].max_staleness = {} needs ranks that search while others learn: start 2 ranks or more, or set it "
        "to 0",
        config.learn.max_staleness);
  }
  // Helpers take expansions: as many at once as a problem has rollouts, or a tree has expansions under way.
  const SearchParams& search = config.search;
  const int64_t at_once = search.when == When::kAlways ? search.frontier_batch : search.group;
  const int64_t pieces = config.learn.problems * (config.ranks.share ? at_once : 1);
  if (search_ranks > pieces) {
    bad_input("{} search ranks for [learn].problems = {}: some would never have work; use fewer ranks or more problems",
              search_ranks, config.learn.problems);
  }
}

void check_model(const Config& config, const ModelConfig& model, const Language& language) {
  const int64_t longest = language.max_prompt_tokens() + config.search.max_depth * config.search.step_tokens;
  const std::string need =
      fmt::format("a prompt of up to {} tokens and [search].max_depth = {} steps of {} tokens need {}",
                  language.max_prompt_tokens(), config.search.max_depth, config.search.step_tokens, longest);
  const std::string mend = config.task.text() ? "in an evaluation [evaluate].max_tokens sets them"
                                              : "max_depth = 0 and step_tokens = 0 take the task's own";
  if (config.model.path.empty()) {
    if (model.max_positions >= longest) return;
    bad_input("[model].max_positions is {}, but {} ({})", model.max_positions, need, mend);
  }
  if (model.vocab_size != language.vocabulary_size()) {
    bad_input("[model].path {}: a vocabulary of {}, but {} has {} tokens", config.model.path, model.vocab_size,
              language.language_name(), language.vocabulary_size());
  }
  if (model.eos_tokens != language.eos_tokens()) {
    bad_input("[model].path {}: its end-of-sequence tokens are not those of {}", config.model.path,
              language.language_name());
  }
  if (model.max_positions < longest) {
    bad_input("[model].path {}: it has {} positions, but {} ({})", config.model.path, model.max_positions, need, mend);
  }
}

ModelWeights start_weights(const Config& config, const Language& language) {
  ModelWeights weights = config.model.path.empty() ? fresh_weights(model_config_of(config.model, language),
                                                                   static_cast<uint64_t>(config.run.seed))
                                                   : load_model(config.model.path);
  check_model(config, weights.config, language);
  return weights;
}

ModelConfig start_model(const Config& config, const Language& language) {
  ModelConfig model = config.model.path.empty() ? model_config_of(config.model, language)
                                                : open_model(config.model.path)->model_config();
  check_model(config, model, language);
  return model;
}

std::string describe_model(const ModelWeights& weights) {
  return fmt::format("{}, {} parameters, {} layers of {}", family_name(weights.config.family),
                     parameter_count(weights.config), weights.config.n_layers, weights.config.hidden_size);
}

void save_policy(const std::filesystem::path& folder, const ModelWeights& weights, const Language& language) {
  create_folders(folder);
  save_model(folder, weights, "");
  language.save(folder);
}

RunInfo run_info(World& world, const Config& config, const std::string& command_line) {
  RunInfo info;
  info.config_text = config_text(config);
  info.seed = static_cast<uint64_t>(config.run.seed);
  info.revision = revision();
  info.rank_layout = world.size() == 1
                         ? "1 rank that searches and learns"
                         : fmt::format("{} search, {}", world.n_search(), counted(world.n_learners(), "learner"));
  for (int rank = 0; rank < world.size(); ++rank) {
    info.hosts.push_back(world.host_of(rank));
    info.roles.push_back(world.name_of(rank));
  }
  info.command_line = command_line;
  const char* job = std::getenv("SLURM_JOB_ID");
  info.job_id = job != nullptr ? job : "";
  info.libraries = communication_libraries() + ", " + learner_library();
  return info;
}

LogLevel log_level_of(const RunParams& params) {
  if (params.log_level == "debug") return LogLevel::kDebug;
  if (params.log_level == "warning") return LogLevel::kWarning;
  if (params.log_level == "error") return LogLevel::kError;
  return LogLevel::kInfo;
}

Transport transport_of(const RanksParams& params) {
  if (params.transport == "mpi") return Transport::kMpi;
  if (params.transport == "nccl") return Transport::kNccl;
  return Transport::kAuto;
}

int64_t learner_threads(const LearnParams& params, const World& world) {
  if (params.threads > 0) return params.threads;
  const auto cores = static_cast<int64_t>(std::max(1U, std::thread::hardware_concurrency()));
  cpu_set_t mask;
  CPU_ZERO(&mask);
  if (sched_getaffinity(0, sizeof mask, &mask) == 0 && CPU_COUNT(&mask) < cores) {
    return std::max(1, CPU_COUNT(&mask));  // bound by the launcher: these are this rank's own
  }
  int working = 0;
  for (const int rank : world.learner_ranks()) working += world.host_of(rank) == world.host() ? 1 : 0;
  if (params.max_staleness > 0) working = world.ranks_on_host();
  return std::max<int64_t>(1, cores / std::max(working, 1));
}

}  // namespace deepsearch
