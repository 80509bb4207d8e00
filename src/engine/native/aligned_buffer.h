// Floats on cache-line boundaries, zeroed when made. Moves, does not copy.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>

namespace deepsearch::native {

class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  explicit AlignedBuffer(int64_t n) : size_(n) {
    if (n == 0) return;
    const size_t bytes = (static_cast<size_t>(n) * sizeof(float) + 63) / 64 * 64;
    auto* memory = static_cast<float*>(std::aligned_alloc(64, bytes));
    if (memory == nullptr) throw std::bad_alloc();
    data_.reset(memory);
    for (int64_t i = 0; i < n; ++i) memory[i] = 0.0F;
  }

  float* data() { return data_.get(); }
  const float* data() const { return data_.get(); }
  int64_t size() const { return size_; }
  // Keeps nothing; for scratch that only grows.
  void at_least(int64_t n) {
    if (n > size_) *this = AlignedBuffer(n > 2 * size_ ? n : 2 * size_);
  }

 private:
  struct Free {
    void operator()(float* p) const { std::free(p); }
  };
  std::unique_ptr<float[], Free> data_;
  int64_t size_ = 0;
};

}  // namespace deepsearch::native
