// A model folder made ready for sampling, without a task: what generate, score, compare and bench start from.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "model/generation_config.h"
#include "tokenizer/tokenizer.h"

namespace deepsearch {

struct Policy {
  GenerationDefaults defaults;
  std::optional<Tokenizer> tokenizer;  // FOLDER/tokenizer.json, when there is one
  std::unique_ptr<Engine> engine;      // with the folder's weights, as policy version 0
  const ModelConfig& config() const { return engine->model_config(); }
};

// The bytes of each id: what an engine looks for stop strings in.
std::vector<std::string> bytes_of_tokens(const Tokenizer& tokenizer);

// Opens config.json, weights, generation_config.json and tokenizer.json; the weights are read tensor by tensor into the
// engine. bad_input as open_model, make_engine and load_tokenizer say.
Policy open_policy(const std::filesystem::path& folder, const EngineParams& params, uint64_t seed);

}  // namespace deepsearch
