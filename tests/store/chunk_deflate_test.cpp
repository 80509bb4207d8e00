// What the compressor makes is one zlib stream of HDF5's shuffled bytes, whatever the numbers are like.
#include "store/chunk_deflate.h"

#include <functional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "core/rng.h"

namespace deepsearch {
namespace {

std::string shuffled(const std::string& values, size_t value_bytes) {
  std::string out;
  for (size_t plane = 0; plane < value_bytes; ++plane) {
    for (size_t at = plane; at < values.size(); at += value_bytes) out += values[at];
  }
  return out;
}

std::string inflated(std::span<const uint8_t> packed, size_t bytes) {
  std::string out(bytes + 1, '\0');  // one more: a stream that is too long shows
  uLongf found = out.size();
  EXPECT_EQ(uncompress(reinterpret_cast<Bytef*>(out.data()), &found, packed.data(), packed.size()), Z_OK);
  out.resize(found);
  return out;
}

template <class T>
std::string bytes_of(size_t count, const std::function<T(size_t)>& value) {
  std::string out;
  for (size_t i = 0; i < count; ++i) {
    const T one = value(i);
    out.append(reinterpret_cast<const char*>(&one), sizeof(T));
  }
  return out;
}

TEST(ChunkDeflate, ComesBackByZlib) {
  RandomStream rng(3, RngPurpose::kTests, 60);
  struct Case {
    std::string values;
    size_t value_bytes;
  };
  constexpr size_t kRows = 16384;
  const std::vector<Case> cases = {
      {bytes_of<float>(kRows, [&](size_t) { return static_cast<float>(rng.uniform()); }), 4},
      {bytes_of<int32_t>(kRows, [&](size_t) { return static_cast<int32_t>(rng.below(50)); }), 4},
      {bytes_of<int32_t>(kRows, [](size_t) { return 7; }), 4},
      {bytes_of<int64_t>(kRows, [](size_t i) { return static_cast<int64_t>(10 * i); }), 8},
      {bytes_of<double>(100, [&](size_t) { return rng.uniform(); }), 8},
      {bytes_of<uint8_t>(kRows, [&](size_t) { return static_cast<uint8_t>(rng.below(256)); }), 1},
      {bytes_of<uint8_t>(1, [](size_t) { return uint8_t{0}; }), 1},
  };
  for (const int level : {1, 6}) {
    ChunkDeflater deflater(level);
    for (const ChunkCoding coding : {ChunkCoding::kPlanes, ChunkCoding::kRepeats, ChunkCoding::kPlanes}) {
      for (size_t i = 0; i < cases.size(); ++i) {
        const auto packed = deflater.compress(cases[i].values, cases[i].value_bytes, cases[i].value_bytes > 1, coding);
        EXPECT_EQ(inflated(packed, cases[i].values.size()), shuffled(cases[i].values, cases[i].value_bytes))
            << "case " << i << ", level " << level;
      }
    }
  }
}

TEST(ChunkDeflate, RunsAndRareBytesShrinkAndNoiseHardlyGrows) {
  RandomStream rng(3, RngPurpose::kTests, 61);
  ChunkDeflater deflater(1);
  const auto size = [&](const std::string& values) {
    return deflater.compress(values, 4, true, ChunkCoding::kPlanes).size();
  };
  EXPECT_LT(size(bytes_of<int32_t>(16384, [](size_t) { return 7; })), 600U);
  EXPECT_LT(size(bytes_of<int32_t>(16384, [&](size_t) { return static_cast<int32_t>(rng.below(16)); })), 9000U);
  const std::string noise =
      bytes_of<uint32_t>(16384, [&](size_t) { return static_cast<uint32_t>(rng.below(uint64_t{1} << 32)); });
  EXPECT_LT(size(noise), noise.size() + 100);
}

}  // namespace
}  // namespace deepsearch
