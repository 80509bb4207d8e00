// Folders as others write them: shards, mixed number formats, tied matrices under either name, old buffers.
#include <cstring>

#include <nlohmann/json.hpp>

#include "model/safetensors.h"
#include "model/shard_index.h"
#include "model_fixtures.h"

namespace deepsearch {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

std::vector<float> values_of(const WeightSource& source) {
  std::vector<float> all;
  for (size_t i = 0; i < source.tensor_count(); ++i) {
    const TensorView view = source.view(i);
    std::vector<float> values(static_cast<size_t>(view.count));
    view.read(0, values);
    all.insert(all.end(), values.begin(), values.end());
    source.release(i);
  }
  return all;
}

TEST(ModelFolder, EveryFamilySurvivesSavingWholeAndSharded) {
  for (const auto& [name, config] : family_shapes()) {
    const TemporaryFolder folder;
    const ModelWeights weights = lively_weights(config, 2);
    for (const uint64_t limit : {uint64_t{5'000'000'000}, uint64_t{4000}, uint64_t{1}}) {
      save_model(folder.path(), weights, "", {.type = DType::kF32, .shard_bytes = limit});
      EXPECT_EQ(std::filesystem::exists(folder / "model.safetensors"), limit > 4000);
      EXPECT_EQ(std::filesystem::exists(folder / "model.safetensors.index.json"), limit <= 4000);
      const ModelWeights back = load_model(folder.path());
      EXPECT_EQ(back.config, config) << name;
      EXPECT_EQ(flatten(back), flatten(weights)) << name;
      const std::unique_ptr<WeightSource> mapped = open_model(folder.path());
      EXPECT_EQ(mapped->model_config(), config);
      for (int round = 0; round < 2; ++round) EXPECT_EQ(values_of(*mapped), flatten(weights)) << name;
    }
    // One tensor a file at the smallest limit, and none of the earlier saves' files is left.
    size_t files = 0;
    for (const auto& entry : std::filesystem::directory_iterator(folder.path())) {
      files += entry.path().extension() == ".safetensors" ? 1 : 0;
    }
    EXPECT_EQ(files, weights.tensors.size());
    save_model(folder.path(), weights, "");
    files = 0;
    for (const auto& entry : std::filesystem::directory_iterator(folder.path())) {
      ++files;
      EXPECT_THAT(entry.path().filename().string(),
                  ::testing::AnyOf("config.json", "generation_config.json", "model.safetensors"));
    }
    EXPECT_EQ(files, 3U);
  }
}

TEST(ModelFolder, ShardsHoldNoMoreThanTheirLimit) {
  const TemporaryFolder folder;
  const ModelWeights weights = lively_weights(small_model_config(), 2);
  save_model(folder.path(), weights, "", {.type = DType::kBF16, .shard_bytes = 3000});
  const ShardMap index = parse_shard_index(slurp(folder / kIndexFile), "index");
  EXPECT_EQ(index.size(), weights.tensors.size());
  std::set<std::string> shards;
  for (const auto& [tensor, file] : index) shards.insert(file);
  for (const std::string& shard : shards) {
    EXPECT_TRUE(is_shard_name(shard)) << shard;
    uint64_t bytes = 0;
    const SafetensorsFile file(folder / shard);
    for (const auto& [name, entry] : file.entries()) bytes += entry.end - entry.begin;
    EXPECT_TRUE(bytes <= 3000) << shard;
    EXPECT_GT(bytes, 0U);
  }
  EXPECT_EQ(json::parse(slurp(folder / kIndexFile)).at("metadata").at("total_size"),
            weight_bytes(weights.config, DType::kBF16));
}

TEST(ModelFolder, SavesBf16WithItsName) {
  const TemporaryFolder folder;
  const ModelWeights weights = lively_weights(small_model_config(), 2);
  save_model(folder.path(), weights, "", {.type = DType::kBF16});
  const json config = json::parse(slurp(folder / "config.json"));
  EXPECT_EQ(config.at("torch_dtype"), "bfloat16");
  EXPECT_EQ(config.at("dtype"), "bfloat16");
  const std::vector<float> exact = flatten(weights);
  const std::vector<float> rounded = flatten(load_model(folder.path()));
  for (size_t i = 0; i < exact.size(); ++i) EXPECT_EQ(rounded[i], widen_bf16(narrow_bf16(exact[i])));
  // Saved again from its mapped files: the same bits.
  save_model(folder / "again", *open_model(folder.path()), "", {.type = DType::kBF16});
  EXPECT_EQ(slurp(folder / "again/model.safetensors"), slurp(folder / "model.safetensors"));
  save_model(folder / "wide", *open_model(folder.path()), "");
  EXPECT_EQ(flatten(load_model(folder / "wide")), rounded);
  // And over itself.
  save_model(folder.path(), *open_model(folder.path()), "", {.type = DType::kBF16, .shard_bytes = 2000});
  EXPECT_EQ(flatten(load_model(folder.path())), rounded);
  EXPECT_THROW(save_model(folder / "half", weights, "", {.type = DType::kF16}), Error);
}

class Folder : public ::testing::Test {
 protected:
  void SetUp() override { save_model(folder.path(), weights, ""); }
  void write(const std::vector<HostTensor>& tensors) { write_safetensors(folder / kSingleFile, tensors); }
  void set_key(const char* file, const char* key, const json& value) {
    json document = json::parse(slurp(folder / file));
    document[key] = value;
    spill(folder / file, document.dump());
  }
  std::string error() const {
    return bad_input_text([&] { open_model(folder.path()); });
  }
  TemporaryFolder folder;
  ModelWeights weights = lively_weights(small_model_config(), 3);
};

TEST_F(Folder, IgnoresOldBuffers) {
  std::vector<HostTensor> tensors = weights.tensors;
  tensors.push_back({"model.layers.0.self_attn.rotary_emb.inv_freq", {2}, {1, 2}});
  tensors.push_back({"model.rotary_emb.inv_freq", {2}, {1, 2}});
  write(tensors);
  EXPECT_EQ(flatten(load_model(folder.path())), flatten(weights));
  tensors.push_back({"model.layers.0.self_attn.q_proj.bias", {2}, {1, 2}});
  write(tensors);
  EXPECT_THAT(error(), AllOf(HasSubstr("q_proj.bias"), HasSubstr("does not belong")));
}

TEST_F(Folder, TakesATiedMatrixUnderEitherName) {
  set_key("config.json", "tie_word_embeddings", true);
  ModelWeights tied = weights;
  tied.config.tie_embeddings = true;
  tied.tensors.pop_back();
  std::vector<HostTensor> tensors = tied.tensors;
  write(tensors);
  EXPECT_EQ(flatten(load_model(folder.path())), flatten(tied));

  tensors[0].name = "lm_head.weight";
  write(tensors);
  EXPECT_EQ(flatten(load_model(folder.path())), flatten(tied));
  EXPECT_EQ(*open_model(folder.path())->view(0).name, "model.embed_tokens.weight");
  EXPECT_EQ(load_model(folder.path()).tensors[0].name, "model.embed_tokens.weight");

  tensors.push_back(tied.tensors[0]);  // now both, with the same values
  write(tensors);
  EXPECT_EQ(flatten(load_model(folder.path())), flatten(tied));
  tensors[0].values[5] += 1;
  write(tensors);
  EXPECT_THAT(error(), AllOf(HasSubstr("lm_head.weight"), HasSubstr("model.embed_tokens.weight"), HasSubstr("differ")));
  tensors[0].shape = {16, 23};
  write(tensors);
  EXPECT_THAT(error(), AllOf(HasSubstr("lm_head.weight"), HasSubstr("[16, 23]")));
}

TEST_F(Folder, ReadsMixedNumberFormatsAndUnalignedData) {
  // The header of a file whose writer did not pad it: every value lies at an odd address.
  json header;
  std::string data;
  std::vector<float> expected;
  for (size_t i = 0; i < weights.tensors.size(); ++i) {
    const HostTensor& tensor = weights.tensors[i];
    const size_t begin = data.size();
    for (const float value : tensor.values) {
      const uint16_t narrow = narrow_bf16(value);
      data.append(reinterpret_cast<const char*>(i % 2 == 0 ? static_cast<const void*>(&value) : &narrow),
                  i % 2 == 0 ? sizeof(value) : sizeof(narrow));
      expected.push_back(i % 2 == 0 ? value : widen_bf16(narrow));
    }
    header[tensor.name] = {
        {"dtype", i % 2 == 0 ? "F32" : "BF16"}, {"shape", tensor.shape}, {"data_offsets", {begin, data.size()}}};
  }
  std::string text = header.dump();
  text.append(text.size() % 2 == 0 ? 1 : 0, ' ');
  const uint64_t length = text.size();
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &length, sizeof(length));
  spill(folder / kSingleFile, bytes + text + data);
  EXPECT_EQ(flatten(load_model(folder.path())), expected);
  const std::unique_ptr<WeightSource> source = open_model(folder.path());
  for (int round = 0; round < 2; ++round) EXPECT_EQ(values_of(*source), expected);
  for (size_t i = 0; i < source->tensor_count(); ++i) {
    const TensorView view = source->view(i);
    EXPECT_EQ(view.type, i % 2 == 0 ? DType::kF32 : DType::kBF16);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(view.data) % static_cast<uintptr_t>(bytes_of(view.type)), 0U);
  }
}

TEST_F(Folder, GenerationConfigsEndTokensWin) {
  set_key("generation_config.json", "eos_token_id", {7, 8, 9});
  EXPECT_EQ(open_model(folder.path())->model_config().eos_tokens, (std::vector<Token>{7, 8, 9}));
  set_key("generation_config.json", "eos_token_id", 99);
  EXPECT_THAT(error(), AllOf(HasSubstr("generation_config.json"), HasSubstr("eos_tokens")));
  std::filesystem::remove(folder / "generation_config.json");
  EXPECT_EQ(open_model(folder.path())->model_config().eos_tokens, (std::vector<Token>{2, 5}));
}

TEST_F(Folder, FollowsLinksAsHuggingFacesCacheHasThem) {
  const std::filesystem::path blob = folder / "blobs";
  std::filesystem::create_directory(blob);
  std::filesystem::create_directory(folder / "snapshot");
  for (const char* name : {"config.json", "model.safetensors"}) {
    std::filesystem::rename(folder / name, blob / name);
    std::filesystem::create_symlink(blob / name, folder / "snapshot" / name);
  }
  EXPECT_EQ(flatten(load_model(folder / "snapshot")), flatten(weights));
}

class ShardedFolder : public Folder {
 protected:
  void SetUp() override {
    save_model(folder.path(), weights, "", {.type = DType::kF32, .shard_bytes = 4000});
    index = json::parse(slurp(folder / kIndexFile));
    first = index.at("weight_map").at("model.embed_tokens.weight").get<std::string>();
    last = index.at("weight_map").at("model.norm.weight").get<std::string>();
    ASSERT_NE(first, last);
  }
  std::string error_with(const json& document) const { return error_with_text(document.dump()); }
  std::string error_with_text(const std::string& text) const {
    spill(folder / kIndexFile, text);
    return error();
  }
  json index;
  std::string first;
  std::string last;
};

TEST_F(ShardedFolder, NamesEveryContradiction) {
  json wrong = index;
  wrong["weight_map"]["model.embed_tokens.weight"] = last;
  EXPECT_THAT(error_with(wrong),
              AllOf(HasSubstr("index.json"), HasSubstr("model.embed_tokens.weight"), HasSubstr(last)));
  wrong = index;
  wrong["weight_map"].erase("model.norm.weight");
  EXPECT_THAT(error_with(wrong), AllOf(HasSubstr("model.norm.weight"), HasSubstr("does not name it")));
  wrong = index;
  wrong["weight_map"]["extra"] = first;
  EXPECT_THAT(error_with(wrong), AllOf(HasSubstr("extra"), HasSubstr(first)));
  wrong = index;
  wrong["weight_map"].erase("extra");
  wrong["weight_map"]["ex\ntra"] = first;
  EXPECT_THAT(error_with(wrong), AllOf(HasSubstr("\"ex\\ntra\""), Not(HasSubstr("\n")))) << "one line";
  wrong = index;
  wrong["weight_map"]["extra"] = "absent.safetensors";
  EXPECT_THAT(error_with(wrong), HasSubstr("absent.safetensors"));
  // The same tensor in two shards.
  SafetensorsFile file(folder / first);
  std::vector<HostTensor> tensors;
  for (const auto& [name, entry] : file.entries()) tensors.push_back(file.read(name, entry.shape));
  tensors.push_back({"model.norm.weight", {16}, std::vector<float>(16)});
  write_safetensors(folder / first, tensors);
  EXPECT_THAT(error_with(index), AllOf(HasSubstr("model.norm.weight"), HasSubstr("puts it into " + last)));
  std::filesystem::remove(folder / last);
  EXPECT_THAT(error_with(index), HasSubstr(last));
}

TEST_F(ShardedFolder, RefusesFilesOutsideTheFolder) {
  for (const json& name :
       {json("../model.safetensors"), json("/etc/x.safetensors"), json(".."), json("."), json(""),
        json("sub/x.safetensors"), json("sub\\x.safetensors"), json(".safetensors"), json("config.json"),
        json(".hidden.safetensors"), json(std::string("a\0.safetensors", 14)), json("a\n.safetensors"),
        json(std::string(300, 'a') + ".safetensors"), json(5), json(nullptr), json::array({first})}) {
    json wrong = index;
    wrong["weight_map"]["model.norm.weight"] = name;
    const std::string message = error_with(wrong);
    EXPECT_THAT(message, AllOf(HasSubstr("index.json"), HasSubstr("model.norm.weight"), HasSubstr("same folder")))
        << name.dump();
    EXPECT_EQ(message.find('\n'), std::string::npos);
  }
}

TEST_F(ShardedFolder, RefusesABrokenIndex) {
  EXPECT_THAT(error_with_text(""), HasSubstr("not JSON"));
  EXPECT_THAT(error_with_text("[]"), HasSubstr("object"));
  EXPECT_THAT(error_with_text("{}"), HasSubstr("weight_map"));
  EXPECT_THAT(error_with_text(R"({"weight_map": {}})"), HasSubstr("weight_map"));
  EXPECT_THAT(error_with_text(R"({"weight_map": ["a"]})"), HasSubstr("weight_map"));
  EXPECT_THAT(error_with_text(R"({"weight_map": {"a": "x.safetensors", "a": "y.safetensors"}})"), HasSubstr("twice"));
  EXPECT_THAT(error_with_text(R"({"weight_map": )" + std::string(1'000'000, '[')), HasSubstr("levels deep"));
  EXPECT_THAT(error_with_text(index.dump().substr(0, 200)), HasSubstr("not JSON"));
}

TEST_F(ShardedFolder, ASingleFileComesFirst) {
  ModelWeights other = lively_weights(weights.config, 9);
  write(other.tensors);
  EXPECT_EQ(flatten(load_model(folder.path())), flatten(other));
}

TEST_F(ShardedFolder, NamesATruncatedShard) {
  const std::string bytes = slurp(folder / last);
  for (const size_t length : {size_t{0}, size_t{7}, size_t{60}, bytes.size() - 1}) {
    spill(folder / last, bytes.substr(0, length));
    EXPECT_THAT(error(), HasSubstr(last)) << length;
  }
}

}  // namespace
}  // namespace deepsearch
