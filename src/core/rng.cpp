#include "core/rng.h"

#include <cmath>
#include <numbers>

namespace deepsearch {

namespace {

// The splitmix64 finaliser (Steele, Lea and Flood 2014, constants by Stafford): a bijection of 64-bit words.
uint64_t finalise(uint64_t word) {
  word = (word ^ (word >> 30)) * 0xbf58476d1ce4e5b9u;
  word = (word ^ (word >> 27)) * 0x94d049bb133111ebu;
  return word ^ (word >> 31);
}

uint32_t low_word(uint64_t value) {
  return static_cast<uint32_t>(value);
}
uint32_t high_word(uint64_t value) {
  return static_cast<uint32_t>(value >> 32);
}

// For one seed every purpose gets a Philox key of its own: mix is a bijection in its second argument.
std::array<uint32_t, 2> philox_key(uint64_t seed, RngPurpose purpose) {
  const uint64_t mixed = mix(seed, static_cast<uint64_t>(purpose));
  return {low_word(mixed), high_word(mixed)};
}

// Position in the low half, stream key in the high half: Philox is a bijection of its counter, so no two (key,
// position) pairs of one purpose share a block.
std::array<uint32_t, 4> philox_counter(uint64_t key, uint64_t position) {
  return {low_word(position), high_word(position), low_word(key), high_word(key)};
}

double to_unit_interval(uint64_t bits) {
  return static_cast<double>(bits >> 11) * 0x1p-53;
}

}  // namespace

std::array<uint32_t, 4> philox4x32_10(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t product0 = uint64_t{0xD2511F53u} * counter[0];
    const uint64_t product1 = uint64_t{0xCD9E8D57u} * counter[2];
    counter = {high_word(product1) ^ counter[1] ^ key[0], low_word(product1), high_word(product0) ^ counter[3] ^ key[1],
               low_word(product0)};
    key[0] += 0x9E3779B9u;  // golden ratio
    key[1] += 0xBB67AE85u;  // √3 − 1
  }
  return counter;
}

uint64_t mix(uint64_t hash, uint64_t value) {
  return finalise(finalise(hash + 0x9e3779b97f4a7c15u) ^ value);
}

uint64_t hash_text(std::string_view text) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (const char c : text) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  }
  return mix(hash, text.size());
}

RandomStream::RandomStream(uint64_t seed, RngPurpose purpose, uint64_t key)
    : key_(philox_key(seed, purpose)), counter_(philox_counter(key, 0)) {}

uint32_t RandomStream::next_u32() {
  if (used_ == 4) {
    block_ = philox4x32_10(counter_, key_);
    used_ = 0;
    if (++counter_[0] == 0) ++counter_[1];
  }
  return block_[static_cast<size_t>(used_++)];
}

uint64_t RandomStream::next_u64() {
  const uint64_t low = next_u32();
  return low | uint64_t{next_u32()} << 32;
}

double RandomStream::uniform() {
  return to_unit_interval(next_u64());
}

uint64_t RandomStream::below(uint64_t n) {
  // The first 2^64 mod n words are thrown away, so that every remainder is left with equally many words.
  const uint64_t surplus = (0 - n) % n;
  uint64_t word = next_u64();
  while (word < surplus) word = next_u64();
  return word % n;
}

int64_t RandomStream::between(int64_t low, int64_t high) {
  const uint64_t span = static_cast<uint64_t>(high) - static_cast<uint64_t>(low) + 1;  // 0: the whole range
  const uint64_t offset = span == 0 ? next_u64() : below(span);
  return static_cast<int64_t>(static_cast<uint64_t>(low) + offset);
}

double RandomStream::normal() {
  const double radius = std::sqrt(-2.0 * std::log(1.0 - uniform()));  // 1 − u is in (0, 1]
  return radius * std::cos(2.0 * std::numbers::pi * uniform());
}

double uniform_at(uint64_t seed, RngPurpose purpose, uint64_t key, uint64_t position) {
  const auto block = philox4x32_10(philox_counter(key, position), philox_key(seed, purpose));
  return to_unit_interval(block[0] | uint64_t{block[1]} << 32);
}

}  // namespace deepsearch
