// Device: memory, one stream and its kernels, as the CUDA backend uses them. Two implementations: a real GPU
// (cuda_device.cu) and the CPU emulation of the tests (tests/engine/cuda), which runs the same kernels.
//
// Errors are exceptions: failure() with the operation that failed, bad_input when memory runs out. One thread owns a
// device.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "engine/cuda/kernels.h"

namespace deepsearch::cuda {

// out = x · weightsᵀ by the vendor's library, for many rows. Which sums are taken in which order is its choice.
struct GemmArgs {
  const void* x = nullptr;
  const void* weights = nullptr;
  void* out = nullptr;
  int64_t rows = 0;
  int64_t n = 0;
  int64_t k = 0;
  int64_t stride = 0;       // of out
  bool float_out = false;   // out is fp32 instead of the kernels' type
  bool accumulate = false;  // added to out
};

struct DeviceMemory {
  int64_t free_bytes = 0;
  int64_t total_bytes = 0;
};

class Device {
 public:
  using Graph = int;

  virtual ~Device() = default;
  virtual std::string name() const = 0;
  virtual DeviceMemory memory() const = 0;
  // Thread blocks of attention that run at the same time.
  virtual int parallelism() const = 0;

  // Zeroed. `what` and `key` are named when memory runs out: what it was for and which key to lower.
  virtual void* allocate(int64_t bytes, const char* what, const char* key) = 0;
  virtual void free(void* memory) = 0;
  virtual void* allocate_host(int64_t bytes, const char* what) = 0;  // pinned
  virtual void free_host(void* memory) = 0;

  // On the stream, in order with the kernels. `host` is pinned; it may be changed once the stream was waited for.
  virtual void upload(void* to, const void* host, int64_t bytes) = 0;
  virtual void download(void* host, const void* from, int64_t bytes) = 0;
  // An event, one of 0 and 1: marks this place in the stream; waits for it.
  virtual void mark(int event) = 0;
  virtual void wait(int event) = 0;
  virtual void synchronize() = 0;

  virtual Kernels& kernels() = 0;
  virtual void gemm(const GemmArgs& args) = 0;

  // Kernels and gemms between begin and end are recorded, not run; replay() runs them with the same arguments.
  virtual void begin_capture() = 0;
  virtual Graph end_capture() = 0;
  virtual void replay(Graph graph) = 0;
  virtual void discard_graphs() = 0;
};

// Owns a piece of device memory.
class DeviceArray {
 public:
  DeviceArray() = default;
  DeviceArray(Device& device, int64_t bytes, const char* what, const char* key)
      : device_(&device), data_(device.allocate(bytes, what, key)), bytes_(bytes) {}
  DeviceArray(DeviceArray&& other) noexcept { swap(other); }
  DeviceArray& operator=(DeviceArray&& other) noexcept {
    swap(other);
    return *this;
  }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;
  ~DeviceArray() { reset(); }

  void reset() {
    if (data_ != nullptr) device_->free(data_);
    data_ = nullptr;
    bytes_ = 0;
  }
  void* data() const { return data_; }
  template <class V>
  V* as() const {
    return static_cast<V*>(data_);
  }
  int64_t bytes() const { return bytes_; }

 private:
  void swap(DeviceArray& other) noexcept {
    std::swap(device_, other.device_);
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
  }

  Device* device_ = nullptr;
  void* data_ = nullptr;
  int64_t bytes_ = 0;
};

// The same for pinned host memory.
class PinnedArray {
 public:
  PinnedArray() = default;
  PinnedArray(Device& device, int64_t bytes, const char* what)
      : device_(&device), data_(device.allocate_host(bytes, what)), bytes_(bytes) {}
  PinnedArray(PinnedArray&& other) noexcept { swap(other); }
  PinnedArray& operator=(PinnedArray&& other) noexcept {
    swap(other);
    return *this;
  }
  PinnedArray(const PinnedArray&) = delete;
  PinnedArray& operator=(const PinnedArray&) = delete;
  ~PinnedArray() {
    if (data_ != nullptr) device_->free_host(data_);
  }

  std::byte* data() const { return static_cast<std::byte*>(data_); }
  int64_t bytes() const { return bytes_; }

 private:
  void swap(PinnedArray& other) noexcept {
    std::swap(device_, other.device_);
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
  }

  Device* device_ = nullptr;
  void* data_ = nullptr;
  int64_t bytes_ = 0;
};

}  // namespace deepsearch::cuda
