// Compresses a chunk's bytes as HDF5's shuffle and deflate filters would have them, for H5Dwrite_chunk: any HDF5 reads
// them. Internal to store/: the only header that names zlib.h.
//
// Deflate's search for repeats takes most of its time and finds none in log-probabilities, entropies and token ids.
// There it is left out: each plane of bytes (the first bytes of all values, then the second ones, …) is coded by
// runs, by Huffman's code for that plane alone, or, where that gains nothing, stored (RFC 1951, sections 3.2.4 to
// 3.2.7). A third of gzip 1's time, and smaller.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>
#include <zlib.h>

namespace deepsearch {

enum class ChunkCoding : uint8_t {
  kRepeats,  // deflate as it is
  kPlanes,   // without the search for repeats
};

class ChunkDeflater {
 public:
  explicit ChunkDeflater(int level);  // 1 to 9: of kRepeats
  ~ChunkDeflater();
  ChunkDeflater(const ChunkDeflater&) = delete;
  ChunkDeflater& operator=(const ChunkDeflater&) = delete;

  // `values`: whole values of `value_bytes` each, shuffled first where that is more than 1 and `shuffle` is set. The
  // answer is valid until the next call.
  std::span<const uint8_t> compress(std::span<const char> values, size_t value_bytes, bool shuffle, ChunkCoding coding);
  size_t memory_bytes() const;

 private:
  void choose(int level, int strategy);
  void add(const uint8_t* bytes, size_t count, int flush);
  z_stream stream_{};
  int level_;
  std::vector<uint8_t> planes_;
  std::vector<uint8_t> out_;
};

}  // namespace deepsearch
