// Private to comm (and its fuzzers): the bytes of a message. A header, then the payload as cereal writes it, with two
// archives of our own: cereal's binary archive resizes a container to whatever size it reads, and so lets eight hostile
// bytes allocate anything. Here a container may hold no more elements than the bytes that are left can make up, counted
// with an element's smallest size. Native byte order: the header's magic number tells when it differs.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <type_traits>
#include <vector>

#include <cereal/cereal.hpp>
#include <cereal/types/common.hpp>

#include "core/error.h"

namespace deepsearch {

struct MessageHeader {
  static constexpr uint32_t kMagic = 0x4d534453;  // "SDSM"
  static constexpr uint32_t kVersion = 4;
  uint32_t magic = kMagic;
  uint32_t version = kVersion;
  int32_t kind = 0;
  uint32_t reserved = 0;
  uint64_t length = 0;    // bytes of payload
  uint64_t checksum = 0;  // of the fields above and the payload
};
static_assert(sizeof(MessageHeader) == 32 && std::is_trivially_copyable_v<MessageHeader>);

constexpr size_t kMaxMessageBytes = size_t{1} << 30;  // header included
constexpr size_t kMaxPieceBytes = size_t{4} << 20;

// Reads and checks everything but the checksum. `size` ≥ the header's size is checked.
MessageHeader read_header(const char* bytes, size_t size);

// Puts length and checksum right after bytes were changed, so that a fuzzer reaches what lies behind them.
void seal_message(std::vector<char>& message);

// Writes into a buffer of the right size, or only counts when that is null.
class WireWriter : public cereal::OutputArchive<WireWriter, cereal::AllowEmptyClassElision> {
 public:
  explicit WireWriter(char* out) : OutputArchive(this), out_(out) {}
  void write(const void* from, size_t bytes) {
    if (out_ != nullptr && bytes > 0) std::memcpy(out_ + at_, from, bytes);
    at_ += bytes;
  }
  size_t bytes() const { return at_; }

 private:
  char* out_;
  size_t at_ = 0;
};

class WireReader : public cereal::InputArchive<WireReader, cereal::AllowEmptyClassElision> {
 public:
  WireReader(const char* bytes, size_t size) : InputArchive(this), bytes_(bytes), size_(size) {}
  void read(void* to, size_t bytes) {
    if (bytes > left()) failure("message ends {} bytes early at byte {} of its payload", bytes - left(), at_);
    if (bytes > 0) std::memcpy(to, bytes_ + at_, bytes);
    at_ += bytes;
  }
  // How many elements follow, each of at least `smallest` bytes.
  size_t read_count(size_t smallest) {
    uint64_t count = 0;
    read(&count, sizeof count);
    if (count > left() / std::max<size_t>(smallest, 1)) {
      failure("message claims {} elements of at least {} bytes at byte {} of its payload, but {} bytes are left", count,
              smallest, at_ - sizeof count, left());
    }
    return static_cast<size_t>(count);
  }
  size_t left() const { return size_ - at_; }

 private:
  const char* bytes_;
  size_t size_;
  size_t at_ = 0;
};

// Found by cereal through the archive's namespace.
template <class T>
requires std::is_arithmetic_v<T>
void save(WireWriter& archive, const T& value) {
  archive.write(&value, sizeof value);
}

template <class T>
requires std::is_arithmetic_v<T>
void load(WireReader& archive, T& value) {
  if constexpr (std::is_same_v<T, bool>) {
    uint8_t byte = 0;
    archive.read(&byte, 1);
    if (byte > 1) failure("message holds {} where a truth value belongs", byte);
    value = byte == 1;
  } else {
    archive.read(&value, sizeof value);
  }
}

inline void save(WireWriter& archive, const std::string& text) {
  const uint64_t count = text.size();
  archive.write(&count, sizeof count);
  archive.write(text.data(), text.size());
}

inline void load(WireReader& archive, std::string& text) {
  text.resize(archive.read_count(1));
  archive.read(text.data(), text.size());
}

template <class T>
void save(WireWriter& archive, const std::vector<T>& values) {
  static_assert(!std::is_same_v<T, bool>);
  const uint64_t count = values.size();
  archive.write(&count, sizeof count);
  if constexpr (std::is_arithmetic_v<T>) {
    archive.write(values.data(), values.size() * sizeof(T));
  } else {
    for (const T& value : values) archive(value);
  }
}

// An element with empty strings and vectors is the smallest there is.
template <class T>
size_t smallest_bytes() {
  static const size_t bytes = [] {
    WireWriter counter(nullptr);
    const T value{};
    counter(value);
    return counter.bytes();
  }();
  return bytes;
}

template <class T>
void load(WireReader& archive, std::vector<T>& values) {
  static_assert(!std::is_same_v<T, bool>);
  values.resize(archive.read_count(smallest_bytes<T>()));
  if constexpr (std::is_arithmetic_v<T>) {
    archive.read(values.data(), values.size() * sizeof(T));
  } else {
    for (T& value : values) archive(value);
  }
}

}  // namespace deepsearch

CEREAL_SETUP_ARCHIVE_TRAITS(deepsearch::WireReader, deepsearch::WireWriter)
