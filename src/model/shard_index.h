// model.safetensors.index.json: which file of a folder holds which tensor. No LibTorch.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>

#include "model/weights.h"

namespace deepsearch {

inline constexpr const char* kSingleFile = "model.safetensors";
inline constexpr const char* kIndexFile = "model.safetensors.index.json";

// Tensor → name of its file. Every name is one of a .safetensors file in the index's own folder: no path, no "..".
// (The file itself may be a link, as in Hugging Face's cache.) bad_input names `file_name` and the tensor.
using ShardMap = std::map<std::string, std::string>;
ShardMap parse_shard_index(const std::string& text, const std::string& file_name);

std::string shard_index_to_json(const ShardMap& shards, uint64_t total_bytes);

// "model-00002-of-00005.safetensors"; `shard` counts from 0.
std::string shard_name(size_t shard, size_t n_shards);
// Whether a file's name is one that shard_name() gives.
bool is_shard_name(const std::string& name);

}  // namespace deepsearch
