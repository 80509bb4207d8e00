// Values as bytes in a file of this machine's order, with a checksum behind them.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "core/digest.h"
#include "core/error.h"

namespace deepsearch {

class ByteWriter {
 public:
  explicit ByteWriter(std::string_view magic) : bytes_(magic) {}

  template <class Value>
  void value(Value value) {
    static_assert(std::is_trivially_copyable_v<Value>);
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  template <class Value>
  void list(const std::vector<Value>& values) {
    static_assert(std::is_trivially_copyable_v<Value>);
    value(static_cast<uint64_t>(values.size()));
    bytes_.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(Value));
  }
  void text(std::string_view text) {
    value(static_cast<uint64_t>(text.size()));
    bytes_ += text;
  }
  // With the checksum of all before it.
  std::string finish() && {
    value(digest_of(bytes_));
    return std::move(bytes_);
  }

 private:
  std::string bytes_;
};

// bad_input ("WHERE: …") for another magic, damage, and anything that ends early.
class ByteReader {
 public:
  ByteReader(std::string_view bytes, std::string_view magic, std::string where)
      : bytes_(bytes), where_(std::move(where)) {
    check_magic(magic);
    uint64_t sum = 0;
    if (bytes_.size() < magic.size() + sizeof sum) damaged();
    std::memcpy(&sum, bytes_.data() + bytes_.size() - sizeof sum, sizeof sum);
    bytes_.remove_suffix(sizeof sum);
    if (sum != digest_of(bytes_)) damaged();
    bytes_.remove_prefix(magic.size());
  }

  template <class Value>
  Value value() {
    Value value{};
    take(&value, sizeof value);
    return value;
  }
  // At least `least`.
  int64_t count(int64_t least = 0) {
    const auto count = value<int64_t>();
    if (count < least) damaged();
    return count;
  }
  template <class Value>
  std::vector<Value> list() {
    const auto size = value<uint64_t>();
    if (size > bytes_.size() / sizeof(Value)) damaged();
    std::vector<Value> values(size);
    take(values.data(), size * sizeof(Value));
    return values;
  }
  std::string text() {
    const auto size = value<uint64_t>();
    if (size > bytes_.size()) damaged();
    std::string text(bytes_.substr(0, size));
    bytes_.remove_prefix(size);
    return text;
  }
  void end() const {
    if (!bytes_.empty()) damaged();
  }
  [[noreturn]] void damaged() const { bad_input("{}: damaged or cut off", where_); }
  const std::string& where() const { return where_; }

 private:
  // "deepsearch rounds 1\n": what it is and its version.
  void check_magic(std::string_view magic) const {
    if (bytes_.starts_with(magic)) return;
    const size_t digits = magic.rfind(' ') + 1;
    const std::string_view wanted = magic.substr(digits, magic.size() - digits - 1);
    if (!bytes_.starts_with(magic.substr(0, digits))) bad_input("{}: not such a file", where_);
    const std::string_view found = bytes_.substr(digits, 20);
    const size_t end = found.find_first_not_of("0123456789");
    if (end == 0 || end == found.npos || found[end] != '\n') damaged();
    bad_input("{}: of format version {}, this program reads version {}", where_, found.substr(0, end), wanted);
  }
  void take(void* to, size_t size) {
    if (size > bytes_.size()) damaged();
    if (size > 0) std::memcpy(to, bytes_.data(), size);
    bytes_.remove_prefix(size);
  }

  std::string_view bytes_;
  std::string where_;
};

}  // namespace deepsearch
