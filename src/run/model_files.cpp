#include "run/model_files.h"

#include <cstdint>

#include "core/files.h"

namespace deepsearch {

std::map<std::string, std::string> read_model_files(const std::filesystem::path& folder) {
  constexpr const char* kNames[] = {
      "tokenizer.json",
      "tokenizer_config.json",
      "special_tokens_map.json",
      "added_tokens.json",
      "vocab.json",
      "merges.txt",
      "tokenizer.model",
      "chat_template.jinja",
      "chat_template.json",
      "generation_config.json",
  };
  constexpr uint64_t kMaxBytes = uint64_t{1} << 30;
  std::map<std::string, std::string> files;
  for (const char* name : kNames) {
    if (std::filesystem::exists(folder / name)) files[name] = read_file(folder / name, kMaxBytes);
  }
  return files;
}

}  // namespace deepsearch
