// save_model and load_model: the Hugging Face layout of a folder.
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/files.h"
#include "model/safetensors.h"
#include "model/weights.h"

namespace deepsearch {

namespace {

constexpr uint64_t kMaxConfigBytes = 1 << 20;

std::string generation_config_json(const ModelConfig& config) {
  nlohmann::ordered_json document;
  document["_from_model_config"] = true;
  if (config.bos_token >= 0) document["bos_token_id"] = config.bos_token;
  if (config.eos_tokens.size() == 1) document["eos_token_id"] = config.eos_tokens.front();
  if (config.eos_tokens.size() > 1) document["eos_token_id"] = config.eos_tokens;
  document["pad_token_id"] = config.pad_token;
  return document.dump(2) + "\n";
}

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

void check_weights(const ModelWeights& weights) {
  check_model_config(weights.config);
  const std::vector<TensorShape> expected = expected_tensors(weights.config);
  if (weights.tensors.size() != expected.size()) {
    failure("save_model: {} tensors, the model's shape has {}", weights.tensors.size(), expected.size());
  }
  for (size_t i = 0; i < expected.size(); ++i) {
    const HostTensor& tensor = weights.tensors[i];
    if (tensor.name != expected[i].name || tensor.shape != expected[i].shape) {
      failure("save_model: tensor {} is \"{}\" {}, expected \"{}\" {}", i, tensor.name, shape_text(tensor.shape),
              expected[i].name, shape_text(expected[i].shape));
    }
  }
}

}  // namespace

void save_model(const std::filesystem::path& folder, const ModelWeights& weights, const std::string& tokenizer_json) {
  check_weights(weights);
  create_folders(folder);
  if (!tokenizer_json.empty()) {
    const std::string tokenizer_config = tokenizer_config_json(weights.config, tokenizer_json);
    write_file_atomically(folder / "tokenizer.json", tokenizer_json);
    write_file_atomically(folder / "tokenizer_config.json", tokenizer_config);
  }
  write_safetensors(folder / "model.safetensors", weights.tensors);
  write_file_atomically(folder / "generation_config.json", generation_config_json(weights.config));
  write_file_atomically(folder / "config.json", model_config_to_json(weights.config));  // last: the folder is whole
}

ModelWeights load_model(const std::filesystem::path& folder) {
  const std::filesystem::path config_path = folder / "config.json";
  const std::filesystem::path weights_path = folder / "model.safetensors";
  if (!std::filesystem::is_directory(folder)) {
    bad_input("{}: no such folder; a model is a folder with config.json and model.safetensors", folder.string());
  }
  ModelWeights weights;
  weights.config = model_config_from_json(read_file(config_path, kMaxConfigBytes), config_path.string());
  if (!std::filesystem::exists(weights_path) && std::filesystem::exists(folder / "model.safetensors.index.json")) {
    bad_input(
        "{}: the weights are split over several files; only one model.safetensors is supported (save the model "
        "again with a larger max_shard_size)",
        folder.string());
  }
  const SafetensorsFile file(weights_path);
  const std::vector<TensorShape> expected = expected_tensors(weights.config);
  for (const TensorShape& tensor : expected) weights.tensors.push_back(file.read(tensor.name, tensor.shape));
  if (file.entries().size() != expected.size()) {
    auto left = file.entries();
    for (const TensorShape& tensor : expected) left.erase(tensor.name);
    bad_input("{}: tensor \"{}\" does not belong to the model that config.json describes ({} tensors, expected {})",
              weights_path.string(), left.begin()->first, file.entries().size(), expected.size());
  }
  return weights;
}

}  // namespace deepsearch
