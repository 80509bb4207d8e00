// Supervised training on a file's demonstrations, from a model folder to a model folder: `deepsearch sft --data`.
#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "comm/world.h"
#include "run/config.h"
#include "run/prompt_encoder.h"

namespace deepsearch {

struct FineTuneRequest {
  std::filesystem::path model;       // start, in the Hugging Face layout; its tokenizer files go with the result
  std::filesystem::path data;        // JSON Lines (demonstration_file.h)
  std::filesystem::path validation;  // the same; empty: none, or a share of data
  double validation_share = 0;
  std::filesystem::path metrics;  // JSON Lines to write, a line an update; empty: none
  std::filesystem::path out;
  PromptFormat format;
};

// Collective over all ranks of `world`, which all learn (roles assigned). Every rank reads the files; rank 0 speaks and
// writes. Returns the exit code; errors are AgreedError.
int run_fine_tuning(World& world, const Config& config, const FineTuneRequest& request);

// The end of supervised training: `save` on rank 0 while the others wait for it; where a stop signal cut it short (not
// 0, the same on all ranks) nothing is written and rank 0 says so. Returns the exit code; an error is AgreedError.
int save_unless_stopped(World& world, int stop_signal, const std::function<void()>& save);

}  // namespace deepsearch
