#include "core/digest.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <unistd.h>
#include <vector>

#include "core/activity.h"
#include "core/files.h"

namespace deepsearch {
namespace {

static_assert(std::endian::native == std::endian::little, "XXH64 reads little-endian words");

constexpr uint64_t kPrime1 = 0x9E3779B185EBCA87ULL;
constexpr uint64_t kPrime2 = 0xC2B2AE3D27D4EB4FULL;
constexpr uint64_t kPrime3 = 0x165667B19E3779F9ULL;
constexpr uint64_t kPrime4 = 0x85EBCA77C2B2AE63ULL;
constexpr uint64_t kPrime5 = 0x27D4EB2F165667C5ULL;

template <class Word>
Word word_at(const unsigned char* bytes) {
  Word word = 0;
  std::memcpy(&word, bytes, sizeof word);
  return word;
}

uint64_t round(uint64_t lane, uint64_t word) {
  return std::rotl(lane + word * kPrime2, 31) * kPrime1;
}

uint64_t merge(uint64_t state, uint64_t lane) {
  return (state ^ round(0, lane)) * kPrime1 + kPrime4;
}

}  // namespace

void Digest::take_block(const unsigned char* block) {
  for (size_t lane = 0; lane < 4; ++lane) lanes_[lane] = round(lanes_[lane], word_at<uint64_t>(block + 8 * lane));
}

void Digest::update(const void* bytes, size_t size) {
  const auto* at = static_cast<const unsigned char*>(bytes);
  size_ += size;
  if (n_rest_ > 0) {
    const size_t taken = std::min(size, kBlock - n_rest_);
    std::memcpy(rest_ + n_rest_, at, taken);
    n_rest_ += taken;
    at += taken;
    size -= taken;
    if (n_rest_ < kBlock) return;
    take_block(rest_);
    n_rest_ = 0;
  }
  for (; size >= kBlock; at += kBlock, size -= kBlock) take_block(at);
  if (size > 0) std::memcpy(rest_, at, size);
  n_rest_ = size;
}

uint64_t Digest::value() const {
  uint64_t state = kPrime5;
  if (size_ >= kBlock) {
    state = std::rotl(lanes_[0], 1) + std::rotl(lanes_[1], 7) + std::rotl(lanes_[2], 12) + std::rotl(lanes_[3], 18);
    for (const uint64_t lane : lanes_) state = merge(state, lane);
  }
  state += size_;
  const unsigned char* at = rest_;
  const unsigned char* end = rest_ + n_rest_;
  for (; end - at >= 8; at += 8) state = std::rotl(state ^ round(0, word_at<uint64_t>(at)), 27) * kPrime1 + kPrime4;
  if (end - at >= 4) {
    state = std::rotl(state ^ (word_at<uint32_t>(at) * kPrime1), 23) * kPrime2 + kPrime3;
    at += 4;
  }
  for (; at != end; ++at) state = std::rotl(state ^ (*at * kPrime5), 11) * kPrime1;
  state = (state ^ (state >> 33)) * kPrime2;
  state = (state ^ (state >> 29)) * kPrime3;
  return state ^ (state >> 32);
}

uint64_t digest_of(std::string_view bytes) {
  Digest digest;
  digest.update(bytes);
  return digest.value();
}

FileDigest digest_file(const std::filesystem::path& path) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) fail_with_errno("read", path, errno);
  std::vector<char> buffer(size_t{1} << 20);
  Digest digest;
  FileDigest result;
  for (;;) {
    const ssize_t got = ::read(file, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      const int error = errno;
      ::close(file);
      fail_with_errno("read", path, error);
    }
    if (got == 0) break;
    digest.update(buffer.data(), static_cast<size_t>(got));
    result.bytes += static_cast<uint64_t>(got);
    report_progress();
  }
  ::close(file);
  result.xxh64 = digest.value();
  return result;
}

}  // namespace deepsearch
