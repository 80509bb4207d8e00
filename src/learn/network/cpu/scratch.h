// Work space of a thread.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <new>

namespace deepsearch::network {

// Grows and is kept by its thread: fresh pages cost more than the work in them.
class Scratch {
 public:
  float* get(int64_t floats) {
    if (floats > size_) {
      data_.reset();
      data_.reset(static_cast<float*>(::operator new(static_cast<size_t>(floats) * sizeof(float), kAlign)));
      std::fill_n(data_.get(), floats, 0.0F);
      size_ = floats;
    }
    return data_.get();
  }

 private:
  static constexpr std::align_val_t kAlign{64};
  struct Free {
    void operator()(float* p) const { ::operator delete(p, kAlign); }
  };
  std::unique_ptr<float, Free> data_;
  int64_t size_ = 0;
};

}  // namespace deepsearch::network
