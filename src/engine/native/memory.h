// Memory of the native backend: large zeroed regions that are touched only as they are written.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

namespace deepsearch::native {

// Anonymous pages, zero until written, page-aligned, in huge pages where the system grants them. Moves, does not copy.
class Pages {
 public:
  Pages() = default;
  explicit Pages(int64_t bytes);  // bad_input when the address space or the system's limit does not allow them
  ~Pages();
  Pages(Pages&& other) noexcept : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  Pages& operator=(Pages&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }

  std::byte* data() const { return data_; }
  int64_t bytes() const { return bytes_; }

 private:
  std::byte* data_ = nullptr;
  int64_t bytes_ = 0;
};

// Floats in pages of their own; for scratch that only grows and whose contents need not survive that.
class Scratch {
 public:
  float* data() const { return reinterpret_cast<float*>(pages_.data()); }
  // Room for n floats, or more.
  void at_least(int64_t n) {
    const int64_t bytes = n * static_cast<int64_t>(sizeof(float));
    if (bytes > pages_.bytes()) pages_ = Pages(bytes > 2 * pages_.bytes() ? bytes : 2 * pages_.bytes());
  }

 private:
  Pages pages_;
};

}  // namespace deepsearch::native
