#include "model/generation_config.h"

#include "core/error.h"
#include "core/files.h"
#include "model/json_reader.h"

namespace deepsearch {

namespace {

constexpr uint64_t kMaxBytes = 1 << 20;

}  // namespace

GenerationDefaults generation_defaults_from_json(const std::string& text, const std::string& file_name) {
  const JsonReader reader = JsonReader::parse(text, file_name);
  GenerationDefaults defaults;
  defaults.eos_tokens = reader.tokens("eos_token_id");
  defaults.bos_token = reader.token("bos_token_id");
  defaults.pad_token = reader.token("pad_token_id");
  defaults.do_sample = reader.boolean("do_sample", false);
  if (reader.find("temperature") != nullptr) {
    const double temperature = reader.number("temperature");
    if (temperature < 0) bad_input("{}: \"temperature\" is {}; it must not be negative", file_name, temperature);
    if (temperature == 0) defaults.do_sample = false;  // the limit of sampling
    if (temperature > 0) defaults.temperature = temperature;
  }
  if (reader.find("top_p") != nullptr) {
    defaults.top_p = reader.number("top_p");
    if (*defaults.top_p <= 0 || *defaults.top_p > 1) {
      bad_input("{}: \"top_p\" is {}; it must be above 0 and at most 1", file_name, *defaults.top_p);
    }
  }
  if (reader.find("top_k") != nullptr) {
    const int64_t top_k = reader.integer("top_k");
    if (top_k < 0) bad_input("{}: \"top_k\" is {}; it must be from 1, or 0 for all", file_name, top_k);
    if (top_k > 0) defaults.top_k = top_k;
  }
  return defaults;
}

GenerationDefaults read_generation_config(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / "generation_config.json";
  if (!std::filesystem::exists(path)) return {};
  return generation_defaults_from_json(read_file(path, kMaxBytes), path.string());
}

std::string generation_config_to_json(const ModelConfig& config) {
  nlohmann::ordered_json document;
  document["_from_model_config"] = true;
  if (config.bos_token >= 0) document["bos_token_id"] = config.bos_token;
  if (config.eos_tokens.size() == 1) document["eos_token_id"] = config.eos_tokens.front();
  if (config.eos_tokens.size() > 1) document["eos_token_id"] = config.eos_tokens;
  document["pad_token_id"] = config.pad_token;
  return document.dump(2) + "\n";
}

}  // namespace deepsearch
