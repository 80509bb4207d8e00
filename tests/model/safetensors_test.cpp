#include "model/safetensors.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "model_fixtures.h"

namespace deepsearch {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

std::string file_of(const std::string& header, const std::string& data) {
  const uint64_t length = header.size();
  std::string bytes(sizeof(length), '\0');
  std::memcpy(bytes.data(), &length, sizeof(length));
  return bytes + header + data;
}

class Safetensors : public ::testing::Test {
 protected:
  std::string error(const std::string& bytes) const {
    spill(path, bytes);
    const std::string text = bad_input_text([&] { SafetensorsFile file(path); });
    EXPECT_THAT(text, HasSubstr("x.safetensors"));
    return text;
  }
  TemporaryFolder folder;
  std::filesystem::path path = folder / "x.safetensors";
};

TEST_F(Safetensors, RoundTripKeepsBitsOrderAndAlignment) {
  const std::vector<HostTensor> tensors = {
      {"b", {2, 3}, {1, 2, 3, 4, 5, -0.0F}}, {"a", {1}, {1e-40F}}, {"empty", {0, 4}, {}}};
  write_safetensors(path, tensors);
  const SafetensorsFile file(path);
  EXPECT_EQ(file.metadata().at("format"), "pt");
  ASSERT_EQ(file.entries().size(), 3U);
  EXPECT_EQ(file.entries().at("b").begin, 0U);
  EXPECT_EQ(file.entries().at("a").begin, 24U);
  for (const HostTensor& tensor : tensors) {
    const HostTensor back = file.read(tensor.name, tensor.shape);
    ASSERT_EQ(back.values.size(), tensor.values.size());
    for (size_t i = 0; i < tensor.values.size(); ++i) {  // bits, since -0 == 0
      EXPECT_EQ(std::bit_cast<uint32_t>(back.values[i]), std::bit_cast<uint32_t>(tensor.values[i])) << tensor.name;
    }
  }
  uint64_t header = 0;
  std::memcpy(&header, slurp(path).data(), sizeof(header));
  EXPECT_EQ(header % 8, 0U);
  EXPECT_EQ(std::filesystem::file_size(path), 8 + header + 28);
}

TEST_F(Safetensors, WritesNothingForTensorsThatContradictThemselves) {
  EXPECT_THROW(write_safetensors(path, {{"a", {2}, {1.0F}}}), Error);
  EXPECT_THROW(write_safetensors(path, {{"a", {1}, {1.0F}}, {"a", {1}, {1.0F}}}), Error);
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
  EXPECT_THAT(bad_input_text([&] { write_safetensors(folder / "none/x.safetensors", {}); }),
              HasSubstr("none/x.safetensors"));
}

TEST_F(Safetensors, WritesNothingUntilEveryTensorIsThere) {
  const std::vector<TensorShape> shapes = {{"a", {2}}, {"b", {1}}};
  const ModelWeights source({}, {{"a", {2}, {1.0F, 2.0F}}, {"b", {2}, {1.0F, 2.0F}}});
  SafetensorsWriter writer(path, shapes, DType::kF32);
  writer.append(source.view(0));
  EXPECT_THROW(writer.publish(), Error);
  EXPECT_THROW(writer.append(source.view(1)), Error);  // another shape
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST_F(Safetensors, RoundsToBf16AsPyTorchDoes) {
  const float infinity = std::numeric_limits<float>::infinity();
  // Exact; half-way down to even and up to even; just above half-way; overflow by rounding; infinity.
  const std::vector<float> values = {1.5F, 0x1.01p0F, 0x1.03p0F, 0x1.010002p0F, 0x1.FFFFFEp127F, -infinity, -0.0F};
  const std::vector<float> expected = {1.5F, 1.0F, 0x1.04p0F, 0x1.02p0F, infinity, -infinity, -0.0F};
  write_safetensors(path, {{"b", {7}, values}}, DType::kBF16);
  const SafetensorsFile file(path);
  EXPECT_EQ(file.entries().at("b").dtype, "BF16");
  EXPECT_EQ(file.read("b", {7}).values, expected);
  EXPECT_TRUE(std::isnan(widen_bf16(narrow_bf16(std::numeric_limits<float>::quiet_NaN()))));
  EXPECT_TRUE(std::isnan(widen_bf16(narrow_bf16(std::bit_cast<float>(0x7F800001U)))));  // its low bits are cut off
}

TEST_F(Safetensors, GivesPagesBackWithoutLosingAnything) {
  std::vector<float> values(3 << 20);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
  write_safetensors(path, {{"first", {3}, {7, 8, 9}}, {"large", {3, 1 << 20}, values}, {"last", {1}, {5}}});
  const SafetensorsFile file(path);
  const TensorView last = file.view("last", {1});
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(file.read("large", {3, 1 << 20}).values, values);
    EXPECT_EQ(file.read("first", {3}).values, (std::vector<float>{7, 8, 9}));
    float value = 0;
    last.read(0, {&value, 1});
    EXPECT_EQ(value, 5.0F);
    EXPECT_THROW(last.read(1, {&value, 1}), Error);
  }
}

TEST_F(Safetensors, WidensHalfPrecisionExactly) {
  // bf16: 1, −2.5, inf; f16: 1, −2.5, smallest subnormal, largest, −inf.
  const std::vector<uint16_t> bits = {0x3F80, 0xC020, 0x7F80, 0x3C00, 0xC100, 0x0001, 0x7BFF, 0xFC00};
  std::string data(2 * bits.size(), '\0');
  std::memcpy(data.data(), bits.data(), data.size());
  spill(path, file_of(R"({"b":{"dtype":"BF16","shape":[3],"data_offsets":[0,6]},)"
                      R"("h":{"dtype":"F16","shape":[5],"data_offsets":[6,16]}})",
                      data));
  const SafetensorsFile file(path);
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(file.read("b", {3}).values, (std::vector<float>{1.0F, -2.5F, infinity}));
  EXPECT_EQ(file.read("h", {5}).values, (std::vector<float>{1.0F, -2.5F, 0x1p-24F, 65504.0F, -infinity}));
}

TEST_F(Safetensors, NamesWhatIsWrongWithTheHeader) {
  const std::string data(8, '\0');
  const auto entry = [](const std::string& body) { return fmt::format(R"({{"t":{{{}}}}})", body); };
  const std::string good = R"("dtype":"F32","shape":[2],"data_offsets":[0,8])";
  spill(path, file_of(entry(good), data));
  EXPECT_NO_THROW(SafetensorsFile file(path));

  EXPECT_THAT(error(""), HasSubstr("0 bytes"));
  EXPECT_THAT(error(std::string(8, '\xFF')), HasSubstr("format allows"));
  EXPECT_THAT(error(std::string("\x40\0\0\0\0\0\0\0{}", 10)), HasSubstr("header of 64 bytes in a file of 10"));
  EXPECT_THAT(error(file_of("{", data)), HasSubstr("not JSON"));
  EXPECT_THAT(error(file_of("\"\xFF\xFE\"", data)), HasSubstr("not JSON"));
  EXPECT_THAT(error(file_of("[]", data)), HasSubstr("JSON object"));
  EXPECT_THAT(error(file_of("{}", data)), HasSubstr("0 bytes"));
  EXPECT_THAT(error(file_of(fmt::format(R"({{"t":{{{0}}},"t":{{{0}}}}})", good), data)),
              HasSubstr("\"t\" appears twice"));
  EXPECT_THAT(error(file_of(std::string(5000, '['), data)), HasSubstr("levels deep"));
  EXPECT_THAT(error(file_of(entry(fmt::format(R"("dtype":{})", std::string(1'000'000, '['))), data)),
              HasSubstr("levels deep"));
  const std::string endless = error(file_of("{\"" + std::string(1'000'000, 'x'), data));  // one short line all the same
  EXPECT_THAT(endless, HasSubstr("not JSON"));
  EXPECT_LT(endless.size(), 500U);
  EXPECT_THAT(error(file_of(R"({"__metadata__":{"a":1}})", "")), HasSubstr("__metadata__"));
  EXPECT_THAT(error(file_of(R"({"t":5})", data)), HasSubstr("tensor \"t\""));
  EXPECT_THAT(error(file_of(entry(good + ",\"extra\":1"), data)), AllOf(HasSubstr("tensor \"t\""), HasSubstr("extra")));
  EXPECT_THAT(error(file_of(entry(R"("dtype":"F32","shape":[2])"), data)), HasSubstr("data_offsets"));
  EXPECT_THAT(error(file_of(entry(R"("dtype":"F31","shape":[2],"data_offsets":[0,8])"), data)), HasSubstr("F31"));
  EXPECT_THAT(error(file_of(entry(R"("dtype":"F32","shape":[-2],"data_offsets":[0,8])"), data)), HasSubstr("shape"));
  EXPECT_THAT(error(file_of(entry(R"("dtype":"F32","shape":[3],"data_offsets":[0,8])"), data)), HasSubstr("[3]"));
  EXPECT_THAT(error(file_of(entry(R"("dtype":"F32","shape":[2],"data_offsets":[8,0])"), data)), HasSubstr("[8, 0]"));
  EXPECT_THAT(error(file_of(entry(R"("dtype":"F32","shape":[4],"data_offsets":[0,16])"), data)),
              HasSubstr("truncated"));
  EXPECT_THAT(error(file_of(entry(R"("dtype":"F32","shape":[1],"data_offsets":[4,8])"), data)), HasSubstr("gap"));
  // 2^62 · 4 · 4 wraps to 0 in 64 bits.
  EXPECT_THAT(error(file_of(entry(R"("dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0])"), "")),
              HasSubstr("does not fill"));
  const std::string overlap = R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
                              R"("b":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";
  EXPECT_THAT(error(file_of(overlap, data)), AllOf(HasSubstr("tensor \"b\""), HasSubstr("before it ends")));
}

TEST_F(Safetensors, RefusesAFolderAndAnAbsentFile) {
  EXPECT_THAT(bad_input_text([&] { SafetensorsFile file(folder.path()); }), HasSubstr("regular file"));
  EXPECT_THAT(bad_input_text([&] { SafetensorsFile file(folder / "none"); }), HasSubstr("none"));
}

// Whatever happens to a file's bytes, reading it ends in tensors of the promised size or in an Error.
TEST_F(Safetensors, MutatedFilesNeverCrash) {
  write_safetensors(
      path, {{"first", {3, 2}, std::vector<float>(6, 1.5F)}, {"second", {100}, std::vector<float>(100, -1.0F)}});
  const std::string whole = slurp(path);
  const std::vector<std::string> splices = {"[",    "]",   "{",       "}", "\"", "-1", "1e9", "18446744073709551615",
                                            "null", "F64", "\\u0000", ","};
  RandomStream random(5, RngPurpose::kTests, 2);
  int refused = 0;
  int read = 0;
  for (int round = 0; round < 1500; ++round) {
    std::string bytes = whole;
    const auto edits = 1 + random.below(4);
    for (uint64_t edit = 0; edit < edits; ++edit) {
      const size_t at = random.below(bytes.size());
      switch (random.below(5)) {
        case 0:
          bytes[at] = static_cast<char>(random.below(256));
          break;
        case 1:
          bytes[at] = static_cast<char>(bytes[at] ^ (1 << random.below(8)));
          break;
        case 2:
          bytes.erase(at, random.below(12));
          break;
        case 3:
          bytes.insert(at, splices[random.below(splices.size())]);
          break;
        default:
          bytes.resize(at);
          break;
      }
      if (bytes.empty()) bytes.push_back('x');
    }
    spill(path, bytes);
    try {
      const SafetensorsFile file(path);
      for (const auto& [name, entry] : file.entries()) {
        const HostTensor tensor = file.read(name, entry.shape);
        size_t count = 1;
        for (const int64_t size : entry.shape) count *= static_cast<size_t>(size);
        EXPECT_EQ(tensor.values.size(), count);
      }
      ++read;
    } catch (const Error& error) {
      EXPECT_EQ(error.exit_code(), kExitBadInput) << error.what();
      ++refused;
    }
  }
  EXPECT_GT(refused, 500);
  EXPECT_GT(read, 100);  // changed values are no error
}

}  // namespace
}  // namespace deepsearch
