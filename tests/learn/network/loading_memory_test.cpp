// What opening, loading and saving a model take of memory, by the kernel's count of the process's resident pages.
#include <fstream>
#include <malloc.h>

#include "core/memory.h"
#include "core/sanitizers.h"
#include "learn/network/decoder.h"
#include "model/model_fixtures.h"
#include "model/safetensors.h"

namespace deepsearch {
namespace {

constexpr int64_t kSlack = 10 << 20;  // chunks of a few MB, headers, the allocator's own

int64_t status_bytes(const std::string& key) {
  std::ifstream file("/proc/self/status");
  std::string name;
  while (file >> name) {
    int64_t kilobytes = 0;
    if (name == key + ":" && file >> kilobytes) return kilobytes * 1024;
    file.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
  }
  return -1;
}

// How far above its start the process's resident size went during `action`; −1 where the kernel does not let us see.
template <class Action>
int64_t peak_of(Action&& action) {
  ::malloc_trim(0);
  std::ofstream reset("/proc/self/clear_refs");
  if (!(reset << "5" << std::flush)) return -1;  // the peak is now the present size
  const int64_t before = status_bytes("VmRSS");
  action();
  return status_bytes("VmHWM") - before;
}

class LoadingMemory : public ::testing::Test {
 protected:
  void SetUp() override {
    if (kHasShadowMemory) GTEST_SKIP() << "a sanitizer's memory is counted too";
    config.vocab_size = 20000;
    config.hidden_size = 256;
    config.n_heads = config.n_kv_heads = 4;
    config.head_dim = 64;
    config.intermediate_size = 1024;
    config.n_layers = 6;
    bytes = weight_bytes(config, DType::kF32);
    ASSERT_GT(bytes, 60 << 20);
    save_model(folder.path(), fresh_weights(config, 1), "");
    if (peak_of([] {}) < 0) GTEST_SKIP() << "no /proc/self/clear_refs";
    // The measure sees what is taken.
    ASSERT_GT(peak_of([&] { std::vector<char>(static_cast<size_t>(bytes), 'x').shrink_to_fit(); }), bytes * 9 / 10);
  }
  TemporaryFolder folder;
  ModelConfig config;
  int64_t bytes = 0;
};

TEST_F(LoadingMemory, AllOfTheValuesTakeTheirOwnSize) {
  size_t loaded = 0;
  const int64_t peak = peak_of([&] { loaded = load_model(folder.path()).tensors.size(); });
  EXPECT_EQ(loaded, expected_tensors(config).size());
  EXPECT_LE(peak, bytes * 11 / 10);
  EXPECT_GE(peak, bytes * 9 / 10);
}

TEST_F(LoadingMemory, StreamingTakesOneTensorAtATime) {
  double sum = 0;
  const int64_t peak = peak_of([&] {
    const std::unique_ptr<WeightSource> source = open_model(folder.path());
    std::vector<float> chunk(1 << 16);
    for (size_t i = 0; i < source->tensor_count(); ++i) {
      const TensorView view = source->view(i);
      for (int64_t first = 0; first < view.count; first += 1 << 16) {
        const auto part = std::span(chunk).first(static_cast<size_t>(std::min<int64_t>(1 << 16, view.count - first)));
        view.read(first, part);
        sum += part.front();
      }
      source->release(i);
    }
  });
  EXPECT_NE(sum, 0.0);
  EXPECT_LE(peak, config.vocab_size * config.hidden_size * 4 + kSlack);  // the largest
}

TEST_F(LoadingMemory, HalfPrecisionTakesNoMoreThanItsFp32Values) {
  save_model(folder.path(), *open_model(folder.path()), "", {.type = DType::kBF16, .shard_bytes = 10'000'000});
  const int64_t peak = peak_of([&] { load_model(folder.path()); });
  EXPECT_LE(peak, bytes * 11 / 10);
}

TEST_F(LoadingMemory, SavingMakesNoSecondCopy) {
  const ModelWeights weights = load_model(folder.path());
  for (const DType type : {DType::kF32, DType::kBF16}) {
    EXPECT_LE(peak_of([&] { save_model(folder / "copy", weights, "", {.type = type}); }), kSlack);
  }
}

TEST_F(LoadingMemory, TheDecoderLoadsAFolderIntoItsParametersOnly) {
  Decoder decoder(config, at::kCPU);
  for (const at::Tensor& parameter : decoder.parameters()) parameter.detach().fill_(1.0);  // its pages are there
  EXPECT_LE(peak_of([&] { decoder.load(*open_model(folder.path())); }),
            config.vocab_size * config.hidden_size * 4 + kSlack);
}

// The file is as large as config.json says, but sparse: only the check keeps the values from being asked for.
TEST(ModelLargerThanMemory, IsRefusedBeforeItIsRead) {
  const TemporaryFolder folder;
  ModelConfig config = small_model_config();
  config.tie_embeddings = true;
  save_model(folder.path(), fresh_weights(config, 1), "");
  config.hidden_size = 1 << 12;
  config.vocab_size = std::min<int64_t>(1 << 24, available_memory() / (4 * config.hidden_size) + 1000);
  if (weight_bytes(config, DType::kF32) <= available_memory()) GTEST_SKIP() << "more memory than a test file may have";
  spill(folder / "config.json", model_config_to_json(config));
  std::string header = "{";
  uint64_t offset = 0;
  for (const TensorShape& tensor : expected_tensors(config)) {
    uint64_t size = 4;
    for (const int64_t extent : tensor.shape) size *= static_cast<uint64_t>(extent);
    header += fmt::format(R"({}"{}":{{"dtype":"F32","shape":{},"data_offsets":[{},{}]}})", offset == 0 ? "" : ",",
                          tensor.name, shape_text(tensor.shape), offset, offset + size);
    offset += size;
  }
  header += "}";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  const uint64_t length = header.size();
  spill(folder / "model.safetensors", std::string(reinterpret_cast<const char*>(&length), 8) + header);
  std::error_code error;
  std::filesystem::resize_file(folder / "model.safetensors", 8 + length + offset, error);
  if (error) GTEST_SKIP() << "no sparse file of that size here: " << error.message();
  EXPECT_EQ(open_model(folder.path())->tensor_count(), expected_tensors(config).size());  // mapping takes nothing
  EXPECT_THAT(bad_input_text([&] { load_model(folder.path()); }),
              ::testing::AllOf(::testing::HasSubstr(folder.path().string()), ::testing::HasSubstr("GB of memory")));
}

}  // namespace
}  // namespace deepsearch
