#include "engine/cuda/cuda_device.h"

#include <algorithm>
#include <array>
#include <memory>
#include <string>
#include <vector>

#include <cuda_runtime_api.h>

#include "core/error.h"
#include "engine/cuda/cublas_gemm.h"
#include "engine/cuda/cuda_backend.h"
#include "engine/cuda/cuda_kernels.h"

namespace deepsearch {
namespace cuda {
namespace {

constexpr int64_t kGemmWorkspace = int64_t{32} << 20;
constexpr int kLeastMajor = 8;  // bf16 on tensor cores

void check(cudaError_t status, const char* operation) {
  if (status != cudaSuccess) failure("CUDA: {}: {}", operation, cudaGetErrorString(status));
}

double mebibytes(int64_t bytes) {
  return static_cast<double>(bytes) / (1 << 20);
}

std::unique_ptr<Kernels> kernels_of(DType type, CudaStream& stream) {
  if (type == DType::kF32) return make_kernels_float(stream);
  return type == DType::kF16 ? make_kernels_half(stream) : make_kernels_bfloat(stream);
}

class CudaDevice final : public Device {
 public:
  CudaDevice(DType type, bool overlap) {
    int device = 0;
    check(cudaGetDevice(&device), "asking for the current device");
    check(cudaGetDeviceProperties(&properties_, device), "asking for the device's properties");
    if (properties_.major < kLeastMajor) {
      bad_input("{} has compute capability {}.{}; the CUDA engine needs {}.0", properties_.name, properties_.major,
                properties_.minor, kLeastMajor);
    }
    check(cudaStreamCreateWithFlags(&stream_.stream, cudaStreamNonBlocking), "making a stream");
    stream_.dependent = overlap && properties_.major >= 9;
    for (cudaEvent_t& event : events_) {
      check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "making an event");
    }
    kernels_ = kernels_of(type, stream_);
    workspace_ = allocate(kGemmWorkspace, "matrix products", "[engine].kv_memory_mb");
    gemm_ = std::make_unique<CublasGemm>(type, stream_.stream, workspace_, kGemmWorkspace);
  }
  // Errors at the end are those of an earlier operation, which were reported then.
  ~CudaDevice() override {
    CudaDevice::discard_graphs();
    gemm_.reset();
    cudaFree(workspace_);
    for (const cudaEvent_t event : events_) cudaEventDestroy(event);
    cudaStreamDestroy(stream_.stream);
  }
  CudaDevice(const CudaDevice&) = delete;
  CudaDevice& operator=(const CudaDevice&) = delete;
  CudaDevice(CudaDevice&&) = delete;
  CudaDevice& operator=(CudaDevice&&) = delete;

  std::string name() const override { return properties_.name; }

  DeviceMemory memory() const override {
    size_t free = 0;
    size_t total = 0;
    check(cudaMemGetInfo(&free, &total), "asking for free memory");
    return {.free_bytes = static_cast<int64_t>(free), .total_bytes = static_cast<int64_t>(total)};
  }

  // By registers, two blocks of attention fit on a multiprocessor.
  int parallelism() const override { return 2 * properties_.multiProcessorCount; }

  void* allocate(int64_t bytes, const char* what, const char* key) override {
    void* memory = nullptr;
    const cudaError_t status = cudaMalloc(&memory, static_cast<size_t>(bytes));
    if (status == cudaErrorMemoryAllocation) {
      cudaGetLastError();  // not an error of the next operation
      bad_input("GPU memory: {:.0f} MiB for {} do not fit, {:.0f} MiB are free; lower {}", mebibytes(bytes), what,
                mebibytes(CudaDevice::memory().free_bytes), key);
    }
    check(status, "taking memory");
    check(cudaMemsetAsync(memory, 0, static_cast<size_t>(bytes), stream_.stream), "clearing memory");
    stream_.after_kernel = false;
    return memory;
  }
  void free(void* memory) override { cudaFree(memory); }

  void* allocate_host(int64_t bytes, const char* what) override {
    void* memory = nullptr;
    const cudaError_t status = cudaMallocHost(&memory, static_cast<size_t>(bytes));
    if (status == cudaErrorMemoryAllocation) {
      cudaGetLastError();
      bad_input("{:.0f} MiB of pinned host memory for {} do not fit; raise the limit on locked memory",
                mebibytes(bytes), what);
    }
    check(status, "taking pinned memory");
    return memory;
  }
  void free_host(void* memory) override { cudaFreeHost(memory); }

  void upload(void* to, const void* host, int64_t bytes) override {
    stream_.after_kernel = false;
    check(cudaMemcpyAsync(to, host, static_cast<size_t>(bytes), cudaMemcpyHostToDevice, stream_.stream),
          "copying to the device");
  }
  void download(void* host, const void* from, int64_t bytes) override {
    stream_.after_kernel = false;
    check(cudaMemcpyAsync(host, from, static_cast<size_t>(bytes), cudaMemcpyDeviceToHost, stream_.stream),
          "copying from the device");
  }
  void mark(int event) override {
    stream_.after_kernel = false;
    check(cudaEventRecord(events_.at(static_cast<size_t>(event)), stream_.stream), "recording an event");
  }
  void wait(int event) override {
    check(cudaEventSynchronize(events_.at(static_cast<size_t>(event))), "waiting for an event");
  }
  void synchronize() override { check(cudaStreamSynchronize(stream_.stream), "running a pass"); }

  Kernels& kernels() override { return *kernels_; }
  void gemm(const GemmArgs& args) override {
    stream_.after_kernel = false;
    gemm_->run(args);
  }

  void begin_capture() override {
    stream_.after_kernel = false;
    check(cudaStreamBeginCapture(stream_.stream, cudaStreamCaptureModeThreadLocal), "capturing a decode step");
  }
  Graph end_capture() override {
    cudaGraph_t graph = nullptr;
    check(cudaStreamEndCapture(stream_.stream, &graph), "capturing a decode step");
    cudaGraphExec_t made = nullptr;
    const cudaError_t status = cudaGraphInstantiate(&made, graph, 0);
    cudaGraphDestroy(graph);
    check(status, "making a graph of a decode step");
    graphs_.push_back(made);
    stream_.after_kernel = false;
    return static_cast<Graph>(graphs_.size()) - 1;
  }
  void replay(Graph graph) override {
    stream_.after_kernel = false;
    check(cudaGraphLaunch(graphs_.at(static_cast<size_t>(graph)), stream_.stream), "replaying a decode step");
  }
  void discard_graphs() override {
    for (const cudaGraphExec_t graph : graphs_) cudaGraphExecDestroy(graph);
    graphs_.clear();
  }

 private:
  cudaDeviceProp properties_{};
  CudaStream stream_;
  std::array<cudaEvent_t, 2> events_{};
  std::unique_ptr<Kernels> kernels_;
  void* workspace_ = nullptr;
  std::unique_ptr<CublasGemm> gemm_;
  std::vector<cudaGraphExec_t> graphs_;
};

}  // namespace

std::unique_ptr<Device> make_cuda_device(DType type, bool overlap) {
  int count = 0;
  if (const cudaError_t status = cudaGetDeviceCount(&count); status != cudaSuccess || count == 0) {
    cudaGetLastError();
    bad_input("the CUDA engine was asked for, but no GPU can be used: {}",
              status == cudaSuccess ? "none is visible" : cudaGetErrorString(status));
  }
  return std::make_unique<CudaDevice>(type, overlap);
}

}  // namespace cuda

namespace on_gpu {

void check_launch(cudaError_t status) {
  cuda::check(status, "launching a kernel");
}

}  // namespace on_gpu

bool cuda_available() {
  int device = 0;
  int count = 0;
  int major = 0;
  const bool available = cudaGetDeviceCount(&count) == cudaSuccess && count > 0 &&
                         cudaGetDevice(&device) == cudaSuccess &&
                         cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) == cudaSuccess;
  if (!available) cudaGetLastError();  // not an error of the next operation
  return available && major >= cuda::kLeastMajor;
}

double cuda_bandwidth_gbs() {
  if (!cuda_available()) return 0;
  constexpr size_t kBytes = size_t{1} << 29;
  constexpr int kCopies = 20;
  void* memory = nullptr;
  cudaEvent_t begin = nullptr;
  cudaEvent_t end = nullptr;
  cuda::check(cudaMalloc(&memory, 2 * kBytes), "taking memory to measure its bandwidth");
  cuda::check(cudaEventCreate(&begin), "making an event");
  cuda::check(cudaEventCreate(&end), "making an event");
  double best = 0;
  for (int i = 0; i < kCopies; ++i) {
    float milliseconds = 0;
    cuda::check(cudaEventRecord(begin), "measuring bandwidth");
    cuda::check(cudaMemcpyAsync(memory, static_cast<char*>(memory) + kBytes, kBytes, cudaMemcpyDeviceToDevice),
                "measuring bandwidth");
    cuda::check(cudaEventRecord(end), "measuring bandwidth");
    cuda::check(cudaEventSynchronize(end), "measuring bandwidth");
    cuda::check(cudaEventElapsedTime(&milliseconds, begin, end), "measuring bandwidth");
    best = std::max(best, 2.0 * static_cast<double>(kBytes) / (static_cast<double>(milliseconds) * 1e6));
  }
  cudaEventDestroy(begin);
  cudaEventDestroy(end);
  cudaFree(memory);
  return best;
}

std::unique_ptr<Backend> make_cuda_backend(const ModelConfig& config, const CudaOptions& options) {
  return cuda::make_backend(cuda::make_cuda_device(options.dtype, options.overlap), config, options);
}

}  // namespace deepsearch
