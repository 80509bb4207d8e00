// libFuzzer target over everything a model folder makes us parse: whatever the bytes, the end is a value or an Error.
//
// The first byte of an input picks the reader, the rest is its file:
//   0  model.safetensors: the header, then every tensor read as its own shape
//   1  config.json
//   2  generation_config.json
//   3  model.safetensors.index.json
//   4  the weights of a small model whose config.json is right: open_model, every view, load_model
//   5  the index of a small model in two shards that are right: open_model
//
// Needs the sources of core and the files of model without LibTorch. Files are in memory (memfd), reached by
// /proc/self/fd, so no disk is written but a folder of links.
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <sys/mman.h>
#include <unistd.h>

#include "core/error.h"
#include "core/files.h"
#include "fuzz/seeds.h"
#include "model/generation_config.h"
#include "model/rope.h"
#include "model/safetensors.h"
#include "model/shard_index.h"
#include "model/weights.h"

namespace deepsearch {
namespace {

namespace fs = std::filesystem;

// A file without a disk, under a path.
class MemoryFile {
 public:
  MemoryFile() : file_(::memfd_create("fuzz", 0)) {
    if (file_ < 0) std::abort();
  }
  ~MemoryFile() { ::close(file_); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;

  void set(const std::string& bytes) const {
    if (::ftruncate(file_, 0) != 0 ||
        ::pwrite(file_, bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) {
      std::abort();
    }
  }
  fs::path path() const { return "/proc/self/fd/" + std::to_string(file_); }

 private:
  int file_;
};

ModelConfig tiny_config() {
  ModelConfig config;
  config.vocab_size = 3;
  config.hidden_size = 2;
  config.n_layers = 1;
  config.n_heads = config.n_kv_heads = 1;
  config.head_dim = 2;
  config.intermediate_size = 1;
  config.max_positions = 4;
  config.tie_embeddings = true;
  return config;
}

// Folders whose files are right but for the one under test, which is a link to memory.
struct Folders {
  Folders() {
    root = fs::temp_directory_path() / ("deepsearch-fuzz-" + std::to_string(::getpid()));
    const ModelWeights weights = fresh_weights(tiny_config(), 1);
    save_model(root / "whole", weights, "");
    fs::remove(root / "whole" / kSingleFile);
    fs::create_symlink(input.path(), root / "whole" / kSingleFile);
    save_model(root / "seeds", weights, "", {.type = DType::kF32, .shard_bytes = 60});
    save_model(root / "shards", weights, "", {.type = DType::kF32, .shard_bytes = 60});
    fs::remove(root / "shards" / kIndexFile);
    fs::create_symlink(input.path(), root / "shards" / kIndexFile);
  }
  ~Folders() {
    std::error_code ignored;
    fs::remove_all(root, ignored);
  }
  Folders(const Folders&) = delete;
  Folders& operator=(const Folders&) = delete;

  MemoryFile input;
  fs::path root;
};

void read_everything(const WeightSource& source) {
  for (size_t i = 0; i < source.tensor_count(); ++i) {
    const TensorView view = source.view(i);
    std::vector<float> values(static_cast<size_t>(view.count));
    view.read(0, values);
    source.release(i);
  }
}

void read_file_of_tensors(const fs::path& path) {
  const SafetensorsFile file(path);
  for (const auto& [name, entry] : file.entries()) {
    if (!dtype_of(entry.dtype)) continue;
    uint64_t count = 1;
    for (const int64_t size : entry.shape) count *= static_cast<uint64_t>(size);
    if (file.read(name, entry.shape).values.size() != count) std::abort();
  }
}

void run_one(uint8_t reader, const std::string& text, const Folders& folders) {
  switch (reader % 6) {
    case 0:
      folders.input.set(text);
      read_file_of_tensors(folders.input.path());
      return;
    case 1: {
      const ModelConfig config = model_config_from_json(text, "config.json");
      if (!(model_config_from_json(model_config_to_json(config), "again") == config)) std::abort();
      if (weight_bytes(config, DType::kF32) <= 0) std::abort();  // no product overflows
      rope_frequencies(config);
      return;
    }
    case 2:
      generation_defaults_from_json(text, "generation_config.json");
      return;
    case 3:
      for (const auto& [tensor, file] : parse_shard_index(text, "index.json")) {
        if (file.find('/') != std::string::npos || file.find("..") == 0) std::abort();
      }
      return;
    case 4: {
      folders.input.set(text);
      read_everything(*open_model(folders.root / "whole"));
      if (flatten(load_model(folders.root / "whole")).empty()) std::abort();
      return;
    }
    default:
      folders.input.set(text);
      read_everything(*open_model(folders.root / "shards"));
  }
}

// One right input for each reader: what mutations start from.
std::vector<std::string> seeds(const Folders& folders) {
  const auto input = [](char reader, const std::string& file) { return std::string(1, reader) + file; };
  constexpr uint64_t kMaxSeed = 1 << 20;
  ModelConfig config = tiny_config();
  std::vector<std::string> seeds = {input(1, model_config_to_json(config))};
  set_family(config, ModelFamily::kQwen3, true);
  config.rope_scaling = {.kind = RopeScaling::Kind::kYarn, .factor = 2.0, .original_max_positions = 2};
  seeds.push_back(input(1, model_config_to_json(config)));
  config.rope_scaling = {.kind = RopeScaling::Kind::kLlama3, .factor = 2.0, .original_max_positions = 2};
  seeds.push_back(input(1, model_config_to_json(config)));
  seeds.push_back(
      input(2, R"({"eos_token_id": [1, 2], "do_sample": true, "temperature": 0.7, "top_p": 0.8, "top_k": 20})"));
  const std::string index =
      shard_index_to_json(parse_shard_index(read_file(folders.root / "seeds" / kIndexFile, kMaxSeed), "seed"), 100);
  seeds.push_back(input(3, index));
  seeds.push_back(input(5, index));
  for (const DType type : {DType::kF32, DType::kBF16}) {
    save_model(folders.root / "seed", fresh_weights(tiny_config(), 1), "", {.type = type});
    const std::string file = read_file(folders.root / "seed" / kSingleFile, kMaxSeed);
    seeds.push_back(input(0, file));
    seeds.push_back(input(4, file));
  }
  return seeds;
}

const Folders& folders() {
  static const Folders kFolders;
  return kFolders;
}

}  // namespace
}  // namespace deepsearch

// A right input must be read without an error, or the mutations would only ever meet the first check.
extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  const std::vector<std::string> seeds = deepsearch::seeds(deepsearch::folders());
  for (const std::string& seed : seeds) {
    deepsearch::run_one(static_cast<uint8_t>(seed[0]), seed.substr(1), deepsearch::folders());
  }
  deepsearch::fuzz::write_seeds_if_asked(*argc, *argv, seeds);
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  try {
    deepsearch::run_one(data[0], std::string(reinterpret_cast<const char*>(data) + 1, size - 1), deepsearch::folders());
  } catch (const deepsearch::Error& error) {
    const std::string text = error.what();
    // One line, the user's fault, and not the whole file again.
    if (error.exit_code() != deepsearch::kExitBadInput || text.find('\n') != std::string::npos || text.size() > 2000) {
      std::abort();
    }
  }
  return 0;
}
