#include <cmath>
#include <optional>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "model/model_config.h"

namespace deepsearch {

namespace {

using nlohmann::json;

// One config.json, with errors that name the file and the key. A key that is null counts as absent, as in transformers.
class ConfigReader {
 public:
  ConfigReader(const std::string& text, const std::string& file) : file_(file) {
    try {
      document_ = json::parse(text);
    } catch (const json::exception& error) {
      bad_input("{}: not JSON: {}", file_, error.what());
    }
    if (!document_.is_object()) bad_input("{}: must hold a JSON object", file_);
  }

  const json* find(const char* key) const {
    const auto found = document_.find(key);
    return found == document_.end() || found->is_null() ? nullptr : &*found;
  }

  int64_t integer(const char* key, std::optional<int64_t> fallback = {}) const {
    const json* value = find(key);
    if (value == nullptr) return fallback ? *fallback : missing(key);
    return integer_of(*value, key);
  }

  int64_t integer_of(const json& value, const char* key) const {
    if (!value.is_number_integer() || (value.is_number_unsigned() && value.get<uint64_t>() > INT64_MAX)) {
      bad_input("{}: \"{}\" must be a whole number, found {}", file_, key, shown(value));
    }
    return value.get<int64_t>();
  }

  double number_of(const json& value, const char* key) const {
    if (!value.is_number()) bad_input("{}: \"{}\" must be a number, found {}", file_, key, shown(value));
    return value.get<double>();
  }

  bool boolean(const char* key, bool fallback) const {
    const json* value = find(key);
    if (value == nullptr) return fallback;
    if (!value->is_boolean()) bad_input("{}: \"{}\" must be true or false, found {}", file_, key, shown(*value));
    return value->get<bool>();
  }

  Token token_of(const json& value, const char* key) const {
    const int64_t token = integer_of(value, key);
    if (token < 0 || token > INT32_MAX) bad_input("{}: \"{}\" must be a token id from 0, found {}", file_, key, token);
    return static_cast<Token>(token);
  }

  // For a feature that changes the network: only `expected` (or nothing) can be computed here.
  void require(const char* key, const json& expected) const {
    const json* value = find(key);
    if (value != nullptr && *value != expected) {
      bad_input("{}: \"{}\" is {}; only {} is supported", file_, key, shown(*value), expected.dump());
    }
  }

  static std::string shown(const json& value) {
    std::string text = value.dump(-1, ' ', false, json::error_handler_t::replace);
    if (text.size() > 80) text = text.substr(0, 77) + "...";
    return text;
  }

  const std::string& file() const { return file_; }

 private:
  [[noreturn]] int64_t missing(const char* key) const { bad_input("{}: key \"{}\" is missing", file_, key); }

  std::string file_;
  json document_;
};

void check_architecture(const ConfigReader& reader) {
  constexpr const char* kSupported = "LlamaForCausalLM";
  const json* architectures = reader.find("architectures");
  if (architectures == nullptr) {
    bad_input("{}: key \"architectures\" is missing; it must be [\"{}\"]", reader.file(), kSupported);
  }
  if (*architectures != json::array({kSupported})) {
    bad_input("{}: \"architectures\" is {}; only [\"{}\"] is supported", reader.file(),
              ConfigReader::shown(*architectures), kSupported);
  }
  reader.require("model_type", "llama");
  reader.require("hidden_act", "silu");
  reader.require("attention_bias", false);
  reader.require("mlp_bias", false);
  reader.require("attention_dropout", 0.0);
  reader.require("partial_rotary_factor", 1.0);
  if (reader.find("quantization_config") != nullptr) {
    bad_input("{}: \"quantization_config\": quantised models are not supported", reader.file());
  }
  // Both spellings of "no window" occur.
  if (const json* window = reader.find("sliding_window");
      window != nullptr && reader.boolean("use_sliding_window", true)) {
    bad_input("{}: \"sliding_window\" is {}; sliding windows are not supported", reader.file(),
              ConfigReader::shown(*window));
  }
}

// transformers 4 has "rope_theta" beside an optional "rope_scaling"; 5 has "rope_parameters", which then wins.
double read_rope_theta(const ConfigReader& reader) {
  const json* top = reader.find("rope_theta");
  double theta = top == nullptr ? 10000.0 : reader.number_of(*top, "rope_theta");  // LlamaConfig's default
  // In the order of precedence, weakest first.
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    const json* rope = reader.find(key);
    if (rope == nullptr) continue;
    if (!rope->is_object())
      bad_input("{}: \"{}\" must be an object, found {}", reader.file(), key, ConfigReader::shown(*rope));
    for (const auto& [name, value] : rope->items()) {
      const bool type = name == "rope_type" || name == "type";
      if ((type && value != "default") || (name == "partial_rotary_factor" && value != 1.0) ||
          (!type && name != "partial_rotary_factor" && name != "rope_theta")) {
        bad_input("{}: \"{}\" has \"{}\": {}; scaled rotary positions are not supported", reader.file(), key, name,
                  ConfigReader::shown(value));
      }
      if (name == "rope_theta") theta = reader.number_of(value, "rope_theta");
    }
  }
  return theta;
}

}  // namespace

std::string model_config_to_json(const ModelConfig& config) {
  nlohmann::ordered_json document;
  document["architectures"] = {"LlamaForCausalLM"};
  document["model_type"] = "llama";
  document["vocab_size"] = config.vocab_size;
  document["hidden_size"] = config.hidden_size;
  document["num_hidden_layers"] = config.n_layers;
  document["num_attention_heads"] = config.n_heads;
  document["num_key_value_heads"] = config.n_kv_heads;
  document["head_dim"] = config.head_dim;
  document["intermediate_size"] = config.intermediate_size;
  document["max_position_embeddings"] = config.max_positions;
  // The older and the newer spelling, here and for dtype: transformers 4 and 5 then read the same model.
  document["rope_theta"] = config.rope_theta;
  document["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", config.rope_theta}};
  document["rms_norm_eps"] = config.rms_norm_eps;
  document["hidden_act"] = "silu";
  document["attention_bias"] = false;
  document["mlp_bias"] = false;
  document["attention_dropout"] = 0.0;
  document["tie_word_embeddings"] = config.tie_embeddings;
  if (config.bos_token >= 0) {
    document["bos_token_id"] = config.bos_token;
  } else {
    document["bos_token_id"] = nullptr;  // left out, LlamaConfig would take 1
  }
  if (config.eos_tokens.empty()) {
    document["eos_token_id"] = nullptr;
  } else if (config.eos_tokens.size() == 1) {
    document["eos_token_id"] = config.eos_tokens.front();
  } else {
    document["eos_token_id"] = config.eos_tokens;
  }
  document["pad_token_id"] = config.pad_token;
  document["initializer_range"] = 0.02;
  document["use_cache"] = true;
  document["torch_dtype"] = "float32";
  document["dtype"] = "float32";
  return document.dump(2) + "\n";
}

ModelConfig model_config_from_json(const std::string& text, const std::string& file_name) {
  const ConfigReader reader(text, file_name);
  check_architecture(reader);
  ModelConfig config;
  config.vocab_size = reader.integer("vocab_size");
  config.hidden_size = reader.integer("hidden_size");
  config.n_layers = reader.integer("num_hidden_layers");
  config.n_heads = reader.integer("num_attention_heads");
  config.intermediate_size = reader.integer("intermediate_size");
  config.max_positions = reader.integer("max_position_embeddings");
  // From here on what LlamaConfig takes for an absent key.
  config.n_kv_heads = reader.integer("num_key_value_heads", config.n_heads);
  config.head_dim = reader.integer("head_dim", config.n_heads > 0 ? config.hidden_size / config.n_heads : 0);
  config.rope_theta = read_rope_theta(reader);
  const json* eps = reader.find("rms_norm_eps");
  config.rms_norm_eps = eps == nullptr ? 1e-6 : reader.number_of(*eps, "rms_norm_eps");
  config.tie_embeddings = reader.boolean("tie_word_embeddings", false);
  if (const json* bos = reader.find("bos_token_id")) config.bos_token = reader.token_of(*bos, "bos_token_id");
  if (const json* eos = reader.find("eos_token_id")) {
    if (eos->is_array()) {
      for (const json& token : *eos) config.eos_tokens.push_back(reader.token_of(token, "eos_token_id"));
    } else {
      config.eos_tokens.push_back(reader.token_of(*eos, "eos_token_id"));
    }
  }
  // Padding is masked everywhere, so any valid id does where a model names none.
  config.pad_token = config.eos_tokens.empty() ? 0 : config.eos_tokens.front();
  if (const json* pad = reader.find("pad_token_id")) config.pad_token = reader.token_of(*pad, "pad_token_id");
  try {
    check_model_config(config);
  } catch (const Error& error) {
    throw error.within(file_name);
  }
  return config;
}

}  // namespace deepsearch
