// The files of a model folder that are neither its shape nor its weights: a policy trained from it takes them along.
#pragma once

#include <filesystem>
#include <map>
#include <string>

namespace deepsearch {

// Contents by name of those the folder has: the tokenizer's files, its chat template, and generation_config.json, with
// what its makers recommend for sampling.
std::map<std::string, std::string> read_model_files(const std::filesystem::path& folder);

}  // namespace deepsearch
