// save_model: a folder in the Hugging Face layout, written.
#include <algorithm>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/files.h"
#include "model/generation_config.h"
#include "model/safetensors.h"
#include "model/shard_index.h"
#include "model/weights.h"

namespace deepsearch {

namespace {

namespace fs = std::filesystem;

// AutoTokenizer needs only the class; the special tokens' strings are looked up in the tokenizer's own vocabulary.
std::string tokenizer_config_json(const ModelConfig& config, const std::string& tokenizer_json) {
  nlohmann::ordered_json document;
  document["tokenizer_class"] = "PreTrainedTokenizerFast";
  document["model_max_length"] = config.max_positions;
  document["clean_up_tokenization_spaces"] = false;
  const auto tokenizer = nlohmann::json::parse(tokenizer_json, nullptr, false);
  if (tokenizer.is_discarded()) bad_input("tokenizer.json to be saved with the model is not JSON");
  const auto vocabulary = tokenizer.value(nlohmann::json::json_pointer("/model/vocab"), nlohmann::json());
  const auto name_token = [&](const char* key, Token token) {
    if (!vocabulary.is_object()) return;
    for (const auto& [text, id] : vocabulary.items()) {
      if (id == token) document[key] = text;
    }
  };
  name_token("pad_token", config.pad_token);
  name_token("bos_token", config.bos_token);
  if (!config.eos_tokens.empty()) name_token("eos_token", config.eos_tokens.front());
  return document.dump(2) + "\n";
}

void check_weights(const WeightSource& weights, const std::vector<TensorShape>& expected) {
  if (weights.tensor_count() != expected.size()) {
    failure("save_model: {} tensors, the model's shape has {}", weights.tensor_count(), expected.size());
  }
  for (size_t i = 0; i < expected.size(); ++i) {
    const TensorView tensor = weights.view(i);
    int64_t count = 1;
    for (const int64_t size : expected[i].shape) count *= size;
    if (*tensor.name != expected[i].name || !std::ranges::equal(tensor.shape, expected[i].shape) ||
        tensor.count != count) {
      failure("save_model: tensor {} is \"{}\" {} with {} values, expected \"{}\" {}", i, *tensor.name,
              shape_text(tensor.shape), tensor.count, expected[i].name, shape_text(expected[i].shape));
    }
    weights.release(i);
  }
}

struct Shard {
  size_t first = 0;  // tensors
  size_t end = 0;
};

std::vector<Shard> make_shards(const std::vector<TensorShape>& tensors, const SaveOptions& options) {
  std::vector<Shard> shards = {{}};
  uint64_t filled = 0;
  for (size_t i = 0; i < tensors.size(); ++i) {
    auto bytes = static_cast<uint64_t>(bytes_of(options.type));
    for (const int64_t size : tensors[i].shape) bytes *= static_cast<uint64_t>(size);
    if (filled > 0 && filled + bytes > options.shard_bytes) {
      shards.push_back({i, i});
      filled = 0;
    }
    filled += bytes;
    shards.back().end = i + 1;
  }
  return shards;
}

void write_shard(const fs::path& path, const WeightSource& weights, std::span<const TensorShape> tensors, size_t first,
                 DType type) {
  SafetensorsWriter file(path, tensors, type);
  for (size_t i = 0; i < tensors.size(); ++i) {
    file.append(weights.view(first + i));
    weights.release(first + i);
  }
  file.publish();
}

// Weight files of an earlier save; transformers would take an old model.safetensors before a new index.
void remove_others(const fs::path& folder, const std::vector<std::string>& written) {
  std::vector<fs::path> others;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    const bool weights = name == kSingleFile || name == kIndexFile || is_shard_name(name);
    if (weights && std::ranges::find(written, name) == written.end()) others.push_back(entry.path());
  }
  for (const fs::path& path : others) {
    std::error_code error;
    if (!fs::remove(path, error) && error) bad_input("{}: cannot be removed: {}", path.string(), error.message());
  }
}

}  // namespace

void save_model(const fs::path& folder, const WeightSource& weights, const std::string& tokenizer_json,
                const SaveOptions& options) {
  const ModelConfig& config = weights.model_config();
  check_model_config(config);
  const std::vector<TensorShape> tensors = expected_tensors(config);
  check_weights(weights, tensors);
  create_folders(folder);
  if (!tokenizer_json.empty()) {
    const std::string tokenizer_config = tokenizer_config_json(config, tokenizer_json);
    write_file_atomically(folder / "tokenizer.json", tokenizer_json);
    write_file_atomically(folder / "tokenizer_config.json", tokenizer_config);
  }
  const std::vector<Shard> shards = make_shards(tensors, options);
  std::vector<std::string> written;
  ShardMap index;
  for (size_t i = 0; i < shards.size(); ++i) {
    written.push_back(shards.size() == 1 ? kSingleFile : shard_name(i, shards.size()));
    const auto part = std::span(tensors).subspan(shards[i].first, shards[i].end - shards[i].first);
    write_shard(folder / written.back(), weights, part, shards[i].first, options.type);
    for (const TensorShape& tensor : part) index[tensor.name] = written.back();
  }
  if (shards.size() > 1) {
    written.emplace_back(kIndexFile);
    const auto bytes = static_cast<uint64_t>(weight_bytes(config, options.type));
    write_file_atomically(folder / kIndexFile, shard_index_to_json(index, bytes));
  }
  write_file_atomically(folder / "generation_config.json", generation_config_to_json(config));
  write_file_atomically(folder / "config.json", model_config_to_json(config, options.type));
  remove_others(folder, written);
}

}  // namespace deepsearch
