#include <array>
#include <cmath>
#include <set>

#include "core/error.h"
#include "core/version.h"
#include "model/json_reader.h"
#include "model/model_config.h"

namespace deepsearch {

namespace {

using nlohmann::json;
using nlohmann::ordered_json;
using Kind = RopeScaling::Kind;

struct Architecture {
  ModelFamily family;
  const char* name;
};
constexpr std::array kArchitectures = {Architecture{ModelFamily::kLlama, "LlamaForCausalLM"},
                                       Architecture{ModelFamily::kQwen2, "Qwen2ForCausalLM"},
                                       Architecture{ModelFamily::kQwen3, "Qwen3ForCausalLM"}};
constexpr const char* kSupported = "LlamaForCausalLM, Qwen2ForCausalLM, Qwen3ForCausalLM";

const char* architecture_name(ModelFamily family) {
  for (const Architecture& candidate : kArchitectures) {
    if (candidate.family == family) return candidate.name;
  }
  failure("no architecture for model family {}", family_name(family));
}

ModelFamily read_family(const JsonReader& reader) {
  const json* architectures = reader.find("architectures");
  if (architectures == nullptr) {
    bad_input("{}: key \"architectures\" is missing; it must name one of those supported: {}", reader.where(),
              kSupported);
  }
  for (const Architecture& candidate : kArchitectures) {
    if (*architectures != json::array({candidate.name})) continue;
    reader.require("model_type", family_name(candidate.family));
    return candidate.family;
  }
  bad_input("{}: \"architectures\" is {}; supported: {}", reader.where(), shown(*architectures), kSupported);
}

// Windows are off in three ways: not mentioned, null, or switched off (which is Qwen's default, but not Llama's, whose
// own network has none).
void check_windows(const JsonReader& reader, ModelFamily family) {
  const json* window = reader.find("sliding_window");
  const bool qwen = family != ModelFamily::kLlama;
  if (reader.boolean("use_sliding_window", !qwen && window != nullptr)) {
    bad_input("{}: \"sliding_window\" is {} and \"use_sliding_window\" not false; sliding windows are not supported",
              reader.where(), window == nullptr ? "absent" : shown(*window));
  }
  const json* layers = reader.find("layer_types");
  if (layers == nullptr) return;
  if (!layers->is_array()) bad_input("{}: \"layer_types\" must be a list, found {}", reader.where(), shown(*layers));
  for (const json& layer : *layers) {
    if (layer != "full_attention") {
      bad_input("{}: \"layer_types\" has {}; only \"full_attention\" is supported", reader.where(), shown(layer));
    }
  }
}

void check_features(const JsonReader& reader, ModelFamily family) {
  reader.require("hidden_act", "silu");
  reader.require("attention_dropout", 0.0);
  reader.require("partial_rotary_factor", 1.0);
  reader.require("use_mrope", false);
  if (family == ModelFamily::kLlama) reader.require("mlp_bias", false);
  if (reader.find("quantization_config") != nullptr) {
    bad_input("{}: \"quantization_config\": quantised models are not supported (supported: fp32, fp16, bf16)",
              reader.where());
  }
  for (const char* key : {"num_experts", "num_local_experts", "n_routed_experts"}) {
    if (const json* value = reader.find(key)) {
      bad_input("{}: \"{}\" is {}; mixtures of experts are not supported", reader.where(), key, shown(*value));
    }
  }
  check_windows(reader, family);
}

// The keys of one kind of rotary positions, beside those all have; any other one could change the network.
const std::set<std::string>& scaling_keys(Kind kind) {
  static const std::set<std::string> kNone = {};
  static const std::set<std::string> kLinear = {"factor"};
  static const std::set<std::string> kLlama3 = {"factor", "original_max_position_embeddings", "low_freq_factor",
                                                "high_freq_factor"};
  static const std::set<std::string> kYarn = {"factor",           "original_max_position_embeddings",
                                              "attention_factor", "beta_fast",
                                              "beta_slow",        "mscale",
                                              "mscale_all_dim",   "truncate"};
  switch (kind) {
    case Kind::kNone:
      return kNone;
    case Kind::kLinear:
      return kLinear;
    case Kind::kLlama3:
      return kLlama3;
    case Kind::kYarn:
      return kYarn;
  }
  failure("no keys for rope kind {}", static_cast<int>(kind));
}

Kind read_kind(const JsonReader& rope) {
  const std::string type = rope.text("rope_type", rope.text("type", "default"));
  if (type == "default") return Kind::kNone;
  if (type == "linear") return Kind::kLinear;
  if (type == "llama3") return Kind::kLlama3;
  if (type == "yarn") return Kind::kYarn;
  bad_input("{}: rope type {} is not supported (supported: default, linear, llama3, yarn)", rope.where(), shown(type));
}

// YaRN's factor on cosines and sines, 0 for the usual one. DeepSeek's configs give it by two numbers.
double read_attention_factor(const JsonReader& rope, double factor) {
  if (rope.find("attention_factor") != nullptr) {
    const double given = rope.number("attention_factor");
    if (given <= 0) bad_input("{}: \"attention_factor\" is {}; it must be above 0", rope.where(), given);
    return given;
  }
  const double top = rope.number("mscale", 0.0);
  const double bottom = rope.number("mscale_all_dim", 0.0);
  if (top == 0 || bottom == 0 || factor <= 1) return 0.0;
  return (0.1 * top * std::log(factor) + 1.0) / (0.1 * bottom * std::log(factor) + 1.0);
}

void read_scaling(const JsonReader& reader, const JsonReader& rope, ModelConfig& config) {
  RopeScaling& scaling = config.rope_scaling;
  scaling.kind = read_kind(rope);
  const std::set<std::string>& known = scaling_keys(scaling.kind);
  for (const auto& [key, value] : rope.document().items()) {
    if (value.is_null() || key == "type" || key == "rope_type" || key == "rope_theta") continue;
    if (key == "partial_rotary_factor" && value == 1.0) continue;
    if (!known.contains(key)) {
      bad_input("{}: {} is {}, which is not supported for this rope type", rope.where(), shown(key), shown(value));
    }
  }
  config.rope_theta = rope.number("rope_theta", config.rope_theta);
  if (scaling.kind == Kind::kNone) return;
  scaling.factor = rope.number("factor");
  if (scaling.kind == Kind::kLinear) return;
  // One beside the object wins, and without any it is the whole length, both as in transformers.
  scaling.original_max_positions = reader.integer(
      "original_max_position_embeddings", rope.integer("original_max_position_embeddings", config.max_positions));
  if (scaling.kind == Kind::kLlama3) {
    scaling.low_freq_factor = rope.number("low_freq_factor");
    scaling.high_freq_factor = rope.number("high_freq_factor");
    return;
  }
  scaling.beta_fast = rope.number("beta_fast", 32.0);
  scaling.beta_slow = rope.number("beta_slow", 1.0);
  scaling.truncate = rope.boolean("truncate", true);
  scaling.attention_factor = read_attention_factor(rope, scaling.factor);
}

// transformers 4 has "rope_theta" beside an optional "rope_scaling"; 5 has "rope_parameters" with both, and lets an old
// "rope_scaling" that is there win.
void read_rope(const JsonReader& reader, ModelConfig& config) {
  config.rope_theta = reader.number("rope_theta", 10000.0);
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    const json* value = reader.find(key);
    if (value == nullptr || value->empty()) continue;
    read_scaling(reader, JsonReader(*value, fmt::format("{}: \"{}\"", reader.where(), key)), config);
    return;
  }
}

// What transformers takes for an absent key differs between families.
void read_heads(const JsonReader& reader, ModelConfig& config) {
  const bool qwen = config.family != ModelFamily::kLlama;
  if (qwen && !reader.has_key("num_key_value_heads")) {
    bad_input("{}: key \"num_key_value_heads\" is missing", reader.where());
  }
  config.n_kv_heads = reader.integer("num_key_value_heads", config.n_heads);
  int64_t head_dim = config.n_heads > 0 ? config.hidden_size / config.n_heads : 0;
  if (config.family == ModelFamily::kQwen3) head_dim = 128;
  config.head_dim = reader.integer("head_dim", head_dim);
}

ordered_json rope_json(const RopeScaling& scaling) {
  ordered_json rope;
  switch (scaling.kind) {
    case Kind::kNone:
      rope["rope_type"] = "default";
      return rope;
    case Kind::kLinear:
      rope["rope_type"] = "linear";
      rope["factor"] = scaling.factor;
      return rope;
    case Kind::kLlama3:
      rope["rope_type"] = "llama3";
      rope["factor"] = scaling.factor;
      rope["low_freq_factor"] = scaling.low_freq_factor;
      rope["high_freq_factor"] = scaling.high_freq_factor;
      rope["original_max_position_embeddings"] = scaling.original_max_positions;
      return rope;
    case Kind::kYarn:
      rope["rope_type"] = "yarn";
      rope["factor"] = scaling.factor;
      rope["original_max_position_embeddings"] = scaling.original_max_positions;
      rope["beta_fast"] = scaling.beta_fast;
      rope["beta_slow"] = scaling.beta_slow;
      if (scaling.attention_factor > 0) rope["attention_factor"] = scaling.attention_factor;
      rope["truncate"] = scaling.truncate;
      return rope;
  }
  failure("no JSON for rope kind {}", static_cast<int>(scaling.kind));
}

ordered_json eos_json(const std::vector<Token>& tokens) {
  if (tokens.empty()) return nullptr;
  return tokens.size() == 1 ? ordered_json(tokens.front()) : ordered_json(tokens);
}

}  // namespace

std::string model_config_to_json(const ModelConfig& config, DType type) {
  ordered_json document;
  document["architectures"] = {architecture_name(config.family)};
  document["model_type"] = family_name(config.family);
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
  ordered_json rope = rope_json(config.rope_scaling);
  document["rope_scaling"] = config.rope_scaling.kind == Kind::kNone ? ordered_json(nullptr) : rope;
  rope["rope_theta"] = config.rope_theta;
  document["rope_parameters"] = rope;
  document["rms_norm_eps"] = config.rms_norm_eps;
  document["hidden_act"] = "silu";
  if (config.family == ModelFamily::kLlama) document["mlp_bias"] = false;
  if (config.family == ModelFamily::kQwen2) {
    document["use_sliding_window"] = false;
  } else {
    document["attention_bias"] = config.out_bias;
  }
  document["attention_dropout"] = 0.0;
  document["tie_word_embeddings"] = config.tie_embeddings;
  // null where there is none: left out, LlamaConfig would take 1.
  document["bos_token_id"] = config.bos_token >= 0 ? ordered_json(config.bos_token) : ordered_json(nullptr);
  document["eos_token_id"] = eos_json(config.eos_tokens);
  document["pad_token_id"] = config.pad_token;
  document["initializer_range"] = 0.02;
  document["use_cache"] = true;
  document["torch_dtype"] = torch_name(type);
  document["dtype"] = torch_name(type);
  document["deepsearch_version"] = version();
  return document.dump(2) + "\n";
}

ModelConfig model_config_from_json(const std::string& text, const std::string& file_name) {
  const JsonReader reader = JsonReader::parse(text, file_name);
  const ModelFamily family = read_family(reader);
  check_features(reader, family);
  ModelConfig config;
  set_family(config, family, family != ModelFamily::kQwen2 && reader.boolean("attention_bias", false));
  config.vocab_size = reader.integer("vocab_size");
  config.hidden_size = reader.integer("hidden_size");
  config.n_layers = reader.integer("num_hidden_layers");
  config.n_heads = reader.integer("num_attention_heads");
  config.intermediate_size = reader.integer("intermediate_size");
  config.max_positions = reader.integer("max_position_embeddings");
  read_heads(reader, config);
  read_rope(reader, config);
  config.rms_norm_eps = reader.number("rms_norm_eps", 1e-6);
  config.tie_embeddings = reader.boolean("tie_word_embeddings", false);
  config.bos_token = reader.token("bos_token_id").value_or(-1);
  config.eos_tokens = reader.tokens("eos_token_id");
  // Padding is masked everywhere, so any valid id does where a model names none.
  config.pad_token = reader.token("pad_token_id").value_or(config.eos_tokens.empty() ? 0 : config.eos_tokens.front());
  try {
    check_model_config(config);
  } catch (const Error& error) {
    throw error.within(file_name);
  }
  return config;
}

}  // namespace deepsearch
