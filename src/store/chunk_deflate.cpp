#include "store/chunk_deflate.h"

#include <array>
#include <cmath>
#include <cstring>

#include "core/error.h"

namespace deepsearch {
namespace {

constexpr int kWindowBits = 15;
constexpr int kMemoryLevel = 9;         // 32 Ki symbols a block: a plane of a chunk is one
constexpr double kStoredBits = 7.8;     // of entropy a byte: above, a code gains less than it costs
constexpr size_t kBlockOverhead = 512;  // of a plane: a block's code, and what a flush adds
constexpr size_t kStateBytes = 400000;  // of zlib at these settings

// plane b of `out`: byte b of every value, as H5Z_FILTER_SHUFFLE lays them out.
template <size_t kBytes>
void shuffle_values(const char* values, size_t count, uint8_t* out) {
  for (size_t b = 0; b < kBytes; ++b) {
    for (size_t i = 0; i < count; ++i) out[b * count + i] = static_cast<uint8_t>(values[i * kBytes + b]);
  }
}

enum class PlaneCoding { kRuns, kHuffman, kStored };

PlaneCoding coding_of(const uint8_t* plane, size_t count) {
  std::array<std::array<uint32_t, 256>, 4> parts{};  // four, so that equal bytes do not wait for each other
  size_t equal = 0;
  for (size_t i = 0; i < count; ++i) ++parts[i % 4][plane[i]];
  for (size_t i = 1; i < count; ++i) equal += plane[i] == plane[i - 1] ? 1 : 0;
  if (2 * equal > count) return PlaneCoding::kRuns;
  double sum = 0;
  for (size_t value = 0; value < 256; ++value) {
    const double n = parts[0][value] + parts[1][value] + parts[2][value] + parts[3][value];
    if (n > 0) sum += n * std::log2(n);
  }
  const auto total = static_cast<double>(count);
  return std::log2(total) - sum / total > kStoredBits ? PlaneCoding::kStored : PlaneCoding::kHuffman;
}

}  // namespace

ChunkDeflater::ChunkDeflater(int level) : level_(level) {
  if (deflateInit2(&stream_, level_, Z_DEFLATED, kWindowBits, kMemoryLevel, Z_DEFAULT_STRATEGY) != Z_OK) {
    failure("zlib {}: cannot begin", zlibVersion());
  }
}

ChunkDeflater::~ChunkDeflater() {
  deflateEnd(&stream_);
}

size_t ChunkDeflater::memory_bytes() const {
  return planes_.capacity() + out_.capacity() + kStateBytes;
}

void ChunkDeflater::choose(int level, int strategy) {
  if (deflateParams(&stream_, level, strategy) != Z_OK) failure("zlib: cannot change its strategy");
}

void ChunkDeflater::add(const uint8_t* bytes, size_t count, int flush) {
  stream_.next_in = const_cast<Bytef*>(bytes);  // NOLINT: zlib does not write to it
  stream_.avail_in = static_cast<uInt>(count);
  const int status = deflate(&stream_, flush);
  if (status != (flush == Z_FINISH ? Z_STREAM_END : Z_OK) || stream_.avail_in != 0) {
    failure("zlib: a chunk of {} bytes cannot be compressed: {}", count, status);
  }
}

std::span<const uint8_t> ChunkDeflater::compress(std::span<const char> values, size_t value_bytes, bool shuffle,
                                                 ChunkCoding coding) {
  const size_t planes = shuffle ? value_bytes : 1;
  const size_t count = values.size() / planes;
  planes_.resize(values.size());
  if (planes == 8) {
    shuffle_values<8>(values.data(), count, planes_.data());
  } else if (planes == 4) {
    shuffle_values<4>(values.data(), count, planes_.data());
  } else if (planes == 1) {
    std::memcpy(planes_.data(), values.data(), values.size());
  } else {
    failure("no column has values of {} bytes that are shuffled", value_bytes);
  }
  deflateReset(&stream_);
  out_.resize(deflateBound(&stream_, values.size()) + kBlockOverhead * planes);
  stream_.next_out = out_.data();
  stream_.avail_out = static_cast<uInt>(out_.size());
  if (coding == ChunkCoding::kRepeats) {
    choose(level_, Z_DEFAULT_STRATEGY);
    add(planes_.data(), planes_.size(), Z_FINISH);
  } else {
    for (size_t plane = 0; plane < planes; ++plane) {
      const uint8_t* bytes = planes_.data() + plane * count;
      const PlaneCoding chosen = coding_of(bytes, count);
      choose(chosen == PlaneCoding::kStored ? 0 : 1, chosen == PlaneCoding::kRuns ? Z_RLE : Z_HUFFMAN_ONLY);
      add(bytes, count, plane + 1 == planes ? Z_FINISH : Z_BLOCK);
    }
  }
  return {out_.data(), out_.size() - stream_.avail_out};
}

}  // namespace deepsearch
