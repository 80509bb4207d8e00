#include "model/shard_index.h"

#include <algorithm>
#include <cctype>

#include "core/error.h"
#include "model/json_reader.h"

namespace deepsearch {

namespace {

using nlohmann::json;

constexpr std::string_view kEnding = ".safetensors";
constexpr size_t kMaxName = 255;

bool is_plain_name(const std::string& name) {
  return name.size() > kEnding.size() && name.size() <= kMaxName && name.ends_with(kEnding) && name.front() != '.' &&
         std::none_of(name.begin(), name.end(),
                      [](char c) { return c == '/' || c == '\\' || std::iscntrl(static_cast<unsigned char>(c)) != 0; });
}

}  // namespace

ShardMap parse_shard_index(const std::string& text, const std::string& file_name) {
  const JsonReader reader = JsonReader::parse(text, file_name);
  const json* map = reader.find("weight_map");
  if (map == nullptr) bad_input("{}: key \"weight_map\" is missing", file_name);
  if (!map->is_object() || map->empty()) {
    bad_input("{}: \"weight_map\" must be an object of tensor names and file names, found {}", file_name, shown(*map));
  }
  ShardMap shards;
  for (const auto& [tensor, file] : map->items()) {
    if (!file.is_string() || !is_plain_name(file.get_ref<const std::string&>())) {
      bad_input("{}: tensor {} is in {}; it must be the name of a .safetensors file in the same folder", file_name,
                shown(tensor), shown(file));
    }
    shards.emplace(tensor, file.get<std::string>());
  }
  return shards;
}

std::string shard_index_to_json(const ShardMap& shards, uint64_t total_bytes) {
  nlohmann::ordered_json document;
  document["metadata"] = {{"total_size", total_bytes}};
  document["weight_map"] = shards;
  return document.dump(2) + "\n";
}

std::string shard_name(size_t shard, size_t n_shards) {
  return fmt::format("model-{:05}-of-{:05}.safetensors", shard + 1, n_shards);
}

bool is_shard_name(const std::string& name) {
  const std::string pattern = "model-#####-of-#####.safetensors";
  return name.size() == pattern.size() && std::equal(name.begin(), name.end(), pattern.begin(), [](char c, char p) {
           return p == '#' ? std::isdigit(static_cast<unsigned char>(c)) != 0 : c == p;
         });
}

}  // namespace deepsearch
