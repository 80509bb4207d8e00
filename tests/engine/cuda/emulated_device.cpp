#include "engine/cuda/emulated_device.h"

#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <new>
#include <vector>

#include "core/error.h"
#include "engine/cuda/emulation.h"
#include "engine/cuda/portable.cuh"

namespace deepsearch::on_host {

// The emulation's stream: runs at once, or records.
struct Stream {
  bool capturing = false;
  std::vector<std::function<void()>> recorded;

  void submit(std::function<void()> work) {
    if (capturing) {
      recorded.push_back(std::move(work));
    } else {
      work();
    }
  }
};

template <class Args>
void launch(Stream& stream, emulation::Grid grid, int threads, void (*kernel)(Args), const Args& args) {
  stream.submit([=] { emulation::run(grid, threads, [=] { kernel(args); }); });
}

}  // namespace deepsearch::on_host

// Needs launch().
#include "engine/cuda/typed_kernels.cuh"

namespace deepsearch::testing {
namespace {

constexpr int kEmulatedSampleThreads = 64;
constexpr size_t kAlignment = 256;
constexpr size_t kFence = 256;
constexpr unsigned char kFencePattern = 0xa5;

template <class T>
class EmulatedDevice final : public cuda::Device {
 public:
  EmulatedDevice() : kernels_(stream_, kEmulatedSampleThreads) {}

  std::string name() const override { return "emulation"; }
  cuda::DeviceMemory memory() const override {
    return {.free_bytes = int64_t{1} << 30, .total_bytes = int64_t{1} << 30};
  }
  int parallelism() const override { return 5; }

  // The content is a pattern between fences, then zeros: as cudaMalloc and cudaMemset.
  void* allocate(int64_t bytes, const char* /*what*/, const char* /*key*/) override {
    const auto size = static_cast<size_t>(bytes);
    auto* raw = static_cast<unsigned char*>(
        std::aligned_alloc(kAlignment, (size + 2 * kFence + kAlignment - 1) / kAlignment * kAlignment));
    if (raw == nullptr) throw std::bad_alloc();
    std::memset(raw, kFencePattern, size + 2 * kFence);
    std::memset(raw + kFence, 0, size);
    sizes_[raw + kFence] = size;
    return raw + kFence;
  }
  void free(void* memory) override {
    auto* raw = static_cast<unsigned char*>(memory) - kFence;
    const size_t size = sizes_.at(memory);
    sizes_.erase(memory);
    for (size_t i = 0; i < kFence; ++i) {
      if (raw[i] != kFencePattern || raw[kFence + size + i] != kFencePattern) {
        std::fputs("emulated device: memory beside an allocation was written\n", stderr);
        std::abort();
      }
    }
    std::free(raw);
  }
  void* allocate_host(int64_t bytes, const char* what) override { return allocate(bytes, what, ""); }
  void free_host(void* memory) override { free(memory); }

  void upload(void* to, const void* host, int64_t bytes) override { copy(to, host, bytes); }
  void download(void* host, const void* from, int64_t bytes) override { copy(host, from, bytes); }
  void mark(int /*event*/) override {}
  void wait(int /*event*/) override {}
  void synchronize() override {}

  cuda::Kernels& kernels() override { return kernels_; }
  void gemm(const cuda::GemmArgs& args) override {
    stream_.submit([args] { multiply(args); });
  }

  void begin_capture() override { stream_.capturing = true; }
  Graph end_capture() override {
    stream_.capturing = false;
    graphs_.push_back(std::move(stream_.recorded));
    stream_.recorded.clear();
    return static_cast<Graph>(graphs_.size()) - 1;
  }
  void replay(Graph graph) override {
    for (const auto& work : graphs_.at(static_cast<size_t>(graph))) work();
  }
  void discard_graphs() override { graphs_.clear(); }

 private:
  void copy(void* to, const void* from, int64_t bytes) {
    if (stream_.capturing) failure("emulated device: a copy inside a capture");
    std::memcpy(to, from, static_cast<size_t>(bytes));
  }

  static void multiply(const cuda::GemmArgs& a) {
    for (int64_t row = 0; row < a.rows; ++row) {
      for (int64_t n = 0; n < a.n; ++n) {
        const T* x = static_cast<const T*>(a.x) + row * a.k;
        const T* w = static_cast<const T*>(a.weights) + n * a.k;
        float sum = 0;
        for (int64_t k = 0; k < a.k; ++k) sum += on_host::to_float(x[k]) * on_host::to_float(w[k]);
        const int64_t at = row * a.stride + n;
        if (a.float_out) {
          auto* out = static_cast<float*>(a.out);
          out[at] = sum + (a.accumulate ? out[at] : 0.0F);
        } else {
          on_host::store(static_cast<T*>(a.out)[at], sum);
        }
      }
    }
  }

  on_host::Stream stream_;
  on_host::TypedKernels<T, on_host::Stream> kernels_;
  std::vector<std::vector<std::function<void()>>> graphs_;
  std::map<void*, size_t> sizes_;
};

}  // namespace

std::unique_ptr<cuda::Device> make_emulated_device(DType type) {
  if (type == DType::kF32) return std::make_unique<EmulatedDevice<float>>();
  if (type == DType::kF16) return std::make_unique<EmulatedDevice<on_host::Fp16>>();
  return std::make_unique<EmulatedDevice<on_host::Bf16>>();
}

}  // namespace deepsearch::testing
