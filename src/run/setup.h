// What ranks do together before a run, and the small decisions taken from config and world.
#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "comm/collectives.h"
#include "comm/world.h"
#include "core/error.h"
#include "core/log.h"
#include "data/language.h"
#include "model/weights.h"
#include "run/config.h"
#include "store/run_info.h"

namespace deepsearch {

// An error that every rank knows of and throws: the job can end in the ordinary way.
class AgreedError : public Error {
 public:
  using Error::Error;
};

// Runs `work` on every rank. If it throws anywhere, every rank throws the first rank's error: no rank is left waiting.
void agree(World& world, const std::function<void()>& work);

// A command that ranks run together: `work`'s exit code. An AgreedError leaves by the ordinary door with one rank
// speaking; any other error takes the job down at once and says which rank, host and phase (`phase` is read then).
int run_ranks(World& world, const std::string& phase, const std::function<int()>& work);

// bad_input for rank layouts that cannot work.
void check_layout(const Config& config, const World& world);
// The same before there is a world. `apart`: some ranks search while others learn.
void check_layout(const Config& config, int64_t search_ranks, bool apart);

// The base policy: [model].path, or fresh weights of [model]'s shape keyed by the seed.
ModelWeights start_weights(const Config& config, const Language& language);
// Its shape alone, for a rank that gets the weights from others: of a folder only headers are read.
ModelConfig start_model(const Config& config, const Language& language);
// bad_input where a model cannot speak the language, or prompts and responses of `config` are longer than its context.
void check_model(const Config& config, const ModelConfig& model, const Language& language);
std::string describe_model(const ModelWeights& weights);  // "llama, 148,800 parameters, 3 layers of 64"

// A model folder that `transformers` opens, tokenizer included; made if it is not there.
void save_policy(const std::filesystem::path& folder, const ModelWeights& weights, const Language& language);

RunInfo run_info(World& world, const Config& config, const std::string& command_line);  // collective
LogLevel log_level_of(const RunParams& params);
Transport transport_of(const RanksParams& params);
// [learn].threads; else the cores the launcher bound this rank to; else, unbound, the host's cores shared by its
// learners (search ranks wait while learners learn, so their cores count), by all its ranks where search goes on then
// ([learn].max_staleness).
int64_t learner_threads(const LearnParams& params, const World& world);

}  // namespace deepsearch
