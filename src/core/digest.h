// XXH64 (Collet, "xxHash fast digest algorithm", version 0.1.1): a fast 64-bit checksum against damage, not against
// forgery. The same on every machine. One thread per object.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace deepsearch {

class Digest {
 public:
  void update(const void* bytes, size_t size);
  void update(std::string_view bytes) { update(bytes.data(), bytes.size()); }
  uint64_t value() const;  // of all that was given so far

 private:
  static constexpr size_t kBlock = 32;
  void take_block(const unsigned char* block);

  uint64_t lanes_[4] = {0x60EA27EEADC0B5D6ULL, 0xC2B2AE3D27D4EB4FULL, 0, 0x61C8864E7A143579ULL};
  unsigned char rest_[kBlock] = {};
  size_t n_rest_ = 0;
  uint64_t size_ = 0;
};

uint64_t digest_of(std::string_view bytes);

struct FileDigest {
  uint64_t bytes = 0;
  uint64_t xxh64 = 0;
};
// Reads the file piece by piece. Errors as in core/files.h.
FileDigest digest_file(const std::filesystem::path& path);

}  // namespace deepsearch
