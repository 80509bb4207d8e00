// open_model and load_model: a folder in the Hugging Face layout, read.
#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <optional>

#include "core/error.h"
#include "core/files.h"
#include "core/memory.h"
#include "model/generation_config.h"
#include "model/json_reader.h"
#include "model/safetensors.h"
#include "model/shard_index.h"
#include "model/weights.h"

namespace deepsearch {

namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMaxConfigBytes = uint64_t{1} << 20;
constexpr uint64_t kMaxIndexBytes = uint64_t{64} << 20;
constexpr const char* kEmbedding = "model.embed_tokens.weight";
constexpr const char* kHead = "lm_head.weight";

// Tables that older versions of transformers kept in the file; they follow from config.json.
bool is_old_buffer(const std::string& name) {
  return name.ends_with(".rotary_emb.inv_freq") || name.ends_with(".rotary_emb.cos_cached") ||
         name.ends_with(".rotary_emb.sin_cached");
}

// The safetensors files of a folder, and which of them holds which tensor.
class WeightFiles {
 public:
  explicit WeightFiles(const fs::path& folder) {
    // In transformers' order of precedence.
    if (fs::exists(folder / kSingleFile)) {
      open_single(folder / kSingleFile);
    } else if (fs::exists(folder / kIndexFile)) {
      open_shards(folder);
    } else {
      bad_input("{}: no weights: neither {} nor {} is there", folder.string(), kSingleFile, kIndexFile);
    }
  }

  // The file that holds `name`; nullptr: none.
  const SafetensorsFile* find(const std::string& name) const {
    const auto found = file_of_.find(name);
    return found == file_of_.end() ? nullptr : found->second;
  }
  const std::map<std::string, const SafetensorsFile*>& file_of() const { return file_of_; }
  // The single file, or the index: what an error about an absent tensor names.
  const std::string& where() const { return where_; }

 private:
  void open_single(const fs::path& path) {
    where_ = path.string();
    files_.push_back(std::make_unique<SafetensorsFile>(path));
    for (const auto& [name, entry] : files_.back()->entries()) file_of_[name] = files_.back().get();
  }

  void open_shards(const fs::path& folder) {
    where_ = (folder / kIndexFile).string();
    const ShardMap index = parse_shard_index(read_file(folder / kIndexFile, kMaxIndexBytes), where_);
    std::map<std::string, const SafetensorsFile*> by_name;
    for (const auto& [tensor, file] : index) {
      const SafetensorsFile*& shard = by_name[file];
      if (shard == nullptr) {
        files_.push_back(std::make_unique<SafetensorsFile>(folder / file));
        shard = files_.back().get();
      }
      if (!shard->entries().contains(tensor)) {
        bad_input("{}: tensor {} is said to be in {}, which does not hold it", where_, shown(tensor), file);
      }
      file_of_[tensor] = shard;
    }
    for (const auto& [file, shard] : by_name) {
      for (const auto& [tensor, entry] : shard->entries()) {
        const auto found = index.find(tensor);
        if (found == index.end() || found->second != file) {
          bad_input("{}: tensor {} is in {}, but the index {}", where_, shown(tensor), file,
                    found == index.end() ? "does not name it" : "puts it into " + found->second);
        }
      }
    }
  }

  std::string where_;
  std::vector<std::unique_ptr<SafetensorsFile>> files_;
  std::map<std::string, const SafetensorsFile*> file_of_;
};

// bad_input unless both views hold the same values.
void check_same_values(const SafetensorsFile& a_file, const TensorView& a, const SafetensorsFile& b_file,
                       const TensorView& b) {
  constexpr size_t kChunk = size_t{1} << 18;
  std::vector<float> a_values(std::min(kChunk, static_cast<size_t>(a.count)));
  std::vector<float> b_values(a_values.size());
  for (int64_t first = 0; first < a.count; first += static_cast<int64_t>(kChunk)) {
    const auto n = static_cast<size_t>(std::min(static_cast<int64_t>(kChunk), a.count - first));
    a.read(first, std::span(a_values).first(n));
    b.read(first, std::span(b_values).first(n));
    a_file.drop_pages(a.data + first * bytes_of(a.type), n * static_cast<size_t>(bytes_of(a.type)));
    b_file.drop_pages(b.data + first * bytes_of(b.type), n * static_cast<size_t>(bytes_of(b.type)));
    if (std::memcmp(a_values.data(), b_values.data(), n * sizeof(float)) != 0) {  // bits: a NaN equals itself
      bad_input("{}: \"{}\" and \"{}\" differ, but config.json's \"tie_word_embeddings\" says that they are one",
                a_file.path().string(), *a.name, *b.name);
    }
  }
}

class FolderSource final : public WeightSource {
 public:
  explicit FolderSource(const fs::path& folder) : config_(read_config(folder)), files_(folder) {
    std::vector<TensorShape> expected = expected_tensors(config_);
    size_t n_known = 0;
    for (TensorShape& tensor : expected) {
      const SafetensorsFile* file = files_.find(tensor.name);
      std::string stored = tensor.name;
      if (file == nullptr && config_.tie_embeddings && tensor.name == kEmbedding) {
        stored = kHead;
        file = files_.find(kHead);
      }
      if (file == nullptr) {
        bad_input("{}: tensor \"{}\" is missing (expected shape {})", files_.where(), tensor.name,
                  shape_text(tensor.shape));
      }
      tensors_.push_back({.name = tensor.name, .file = file, .stored = file->view(stored, tensor.shape), .copy = {}});
      n_known += 1;
    }
    if (n_known < files_.file_of().size()) check_rest(expected);
  }

  const ModelConfig& model_config() const override { return config_; }
  size_t tensor_count() const override { return tensors_.size(); }

  TensorView view(size_t index) const override {
    const Tensor& tensor = tensors_.at(index);
    TensorView view = tensor.stored;
    view.name = &tensor.name;
    const auto width = static_cast<size_t>(bytes_of(view.type));
    if (reinterpret_cast<uintptr_t>(view.data) % width != 0) {
      if (tensor.copy.empty()) tensor.copy.assign(view.data, view.data + static_cast<size_t>(view.count) * width);
      view.data = tensor.copy.data();
    }
    return view;
  }

  void release(size_t index) const override {
    const Tensor& tensor = tensors_.at(index);
    give_back(tensor.copy);
    tensor.file->drop_pages(tensor.stored.data,
                            static_cast<uint64_t>(tensor.stored.count * bytes_of(tensor.stored.type)));
  }

  // Without a second copy of even one tensor, unlike view().
  HostTensor read(size_t index) const {
    const Tensor& tensor = tensors_.at(index);
    HostTensor host = tensor.file->read(*tensor.stored.name, {tensor.stored.shape.begin(), tensor.stored.shape.end()});
    host.name = tensor.name;
    return host;
  }

 private:
  struct Tensor {
    std::string name;
    const SafetensorsFile* file;
    TensorView stored;                    // under the name it has in the file
    mutable std::vector<std::byte> copy;  // of data that the file does not align, between view() and release()
  };

  static ModelConfig read_config(const fs::path& folder) {
    if (!fs::is_directory(folder)) {
      bad_input("{}: no such folder; a model is a folder with config.json and {}", folder.string(), kSingleFile);
    }
    const fs::path path = folder / "config.json";
    ModelConfig config = model_config_from_json(read_file(path, kMaxConfigBytes), path.string());
    const GenerationDefaults generation = read_generation_config(folder);
    if (generation.eos_tokens.empty()) return config;
    config.eos_tokens = generation.eos_tokens;
    try {
      check_model_config(config);
    } catch (const Error& error) {
      throw error.within((folder / "generation_config.json").string());
    }
    return config;
  }

  // Of the tensors that the model does not need, old buffers and a tied model's second matrix are no mistake.
  void check_rest(const std::vector<TensorShape>& expected) const {
    std::map<std::string, const SafetensorsFile*> rest = files_.file_of();
    for (const Tensor& tensor : tensors_) rest.erase(*tensor.stored.name);
    for (const auto& [name, file] : rest) {
      if (is_old_buffer(name)) continue;
      if (config_.tie_embeddings && name == kHead) {
        const Tensor& embedding = tensors_.front();
        check_same_values(*embedding.file, embedding.stored, *file, file->view(kHead, expected.front().shape));
        continue;
      }
      bad_input("{}: tensor {} does not belong to the model that config.json describes ({} tensors, expected {})",
                file->path().string(), shown(name), files_.file_of().size(), tensors_.size());
    }
  }

  ModelConfig config_;
  WeightFiles files_;
  std::vector<Tensor> tensors_;
};

}  // namespace

std::unique_ptr<WeightSource> open_model(const fs::path& folder) {
  return std::make_unique<FolderSource>(folder);
}

ModelWeights load_model(const fs::path& folder) {
  const FolderSource source(folder);
  const ModelConfig& config = source.model_config();
  check_fits_memory(weight_bytes(config, DType::kF32), folder.string() + ": the weights in fp32");
  ModelWeights weights(config, {});
  weights.tensors.reserve(source.tensor_count());
  for (size_t i = 0; i < source.tensor_count(); ++i) weights.tensors.push_back(source.read(i));
  return weights;
}

}  // namespace deepsearch
