// generation_config.json: what a model's makers recommend for sampling from it. Plain values, no LibTorch.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "data/tokens.h"
#include "model/model_config.h"

namespace deepsearch {

// Absent keys stay empty. Keys for other ways of decoding (beams, penalties, …) are not read.
struct GenerationDefaults {
  std::vector<Token> eos_tokens;  // any of them ends a sequence
  std::optional<Token> bos_token;
  std::optional<Token> pad_token;
  bool do_sample = false;             // false: greedy, and the next three are not meant
  std::optional<double> temperature;  // above 0
  std::optional<double> top_p;        // in (0, 1]
  std::optional<int64_t> top_k;       // from 1; a file's 0 ("all") is left empty

  bool operator==(const GenerationDefaults&) const = default;
};

// FOLDER/generation_config.json; without that file, all empty. bad_input names file and key.
GenerationDefaults read_generation_config(const std::filesystem::path& folder);
GenerationDefaults generation_defaults_from_json(const std::string& text, const std::string& file_name);

// The special tokens of a model, as transformers' generate() wants them.
std::string generation_config_to_json(const ModelConfig& config);

}  // namespace deepsearch
