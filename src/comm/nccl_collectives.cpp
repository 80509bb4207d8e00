#ifdef DEEPSEARCH_HAS_CUDA

#include "comm/nccl_collectives.h"

#include <utility>

#include <cuda_runtime_api.h>
#include <nccl.h>

#include "core/error.h"
#include "core/timer.h"

namespace deepsearch {
namespace {

class NcclCollectives final : public Collectives {
 public:
  NcclCollectives(World& world, std::unique_ptr<MpiCollectives> helper, int gpu)
      : world_(world.impl()), helper_(std::move(helper)), gpu_(gpu), timeout_(world.params().stuck_seconds) {
    try {
      start();
    } catch (...) {
      abandon();
      throw;
    }
  }
  ~NcclCollectives() override { close(); }
  NcclCollectives(const NcclCollectives&) = delete;
  NcclCollectives& operator=(const NcclCollectives&) = delete;

  std::string description() const override {
    int version = 0;
    if (ncclGetVersion(&version) != ncclSuccess) version = NCCL_VERSION_CODE;
    return fmt::format("NCCL {}.{}.{} over {} learner rank{}, a GPU each", version / 10000, version % 10000 / 100,
                       version % 100, size(), size() == 1 ? "" : "s");
  }
  int rank() const override { return helper_->rank(); }
  int size() const override { return helper_->size(); }
  bool on_device() const override { return true; }

  void all_reduce_sum(std::span<float> values) override {
    run("all_reduce_sum", values.size(), [&] {
      return ncclAllReduce(values.data(), values.data(), values.size(), ncclFloat, ncclSum, communicator_, stream_);
    });
  }
  void broadcast(std::span<float> values, int root) override {
    if (root < 0 || root >= size()) failure("{}: broadcast from learner {}: there are {}", place(), root, size());
    run("broadcast", values.size(), [&] {
      return ncclBroadcast(values.data(), values.data(), values.size(), ncclFloat, root, communicator_, stream_);
    });
  }
  void reduce_scatter_sum(std::span<const float> values, std::span<float> part) override {
    check_parts("reduce_scatter_sum", part.size(), values.size());
    run("reduce_scatter_sum", part.size(), [&] {
      return ncclReduceScatter(values.data(), part.data(), part.size(), ncclFloat, ncclSum, communicator_, stream_);
    });
  }
  void all_gather(std::span<const float> part, std::span<float> values) override {
    check_parts("all_gather", part.size(), values.size());
    run("all_gather", part.size(),
        [&] { return ncclAllGather(part.data(), values.data(), part.size(), ncclFloat, communicator_, stream_); });
  }
  // Scalars live on the host, and in rank order they repeat.
  double all_reduce_sum(double value) override { return helper_->all_reduce_sum(value); }
  double all_reduce_max(double value) override { return helper_->all_reduce_max(value); }

 private:
  template <class Call>
  void run(const char* operation, size_t count, Call&& call);
  void start();
  void close() noexcept;
  void abandon() noexcept;
  void check_cuda(cudaError_t status, const char* operation) const;
  void wait_until_enqueued(ncclResult_t status, const char* operation);
  void wait_for_stream(const char* operation);
  [[noreturn]] void give_up(const char* operation, const std::string& why);
  void check_parts(const char* operation, size_t part, size_t whole) const;
  std::string place() const { return fmt::format("{}, GPU {}", world_.describe_rank(world_.rank), gpu_); }

  World::Impl& world_;
  std::unique_ptr<MpiCollectives> helper_;
  int gpu_;
  double timeout_;  // seconds for one operation, once all ranks have come to it
  ncclComm_t communicator_ = nullptr;
  cudaStream_t stream_ = nullptr;
};

void NcclCollectives::check_cuda(cudaError_t status, const char* operation) const {
  if (status != cudaSuccess) failure("{}: {}: {}", place(), operation, cudaGetErrorString(status));
}

void NcclCollectives::check_parts(const char* operation, size_t part, size_t whole) const {
  if (part * static_cast<size_t>(size()) != whole) {
    failure("{}: {}: {} ranks with parts of {} values do not make {} values", place(), operation, size(), part, whole);
  }
}

void NcclCollectives::start() {
  ncclUniqueId id{};
  std::string error;
  if (rank() == 0) {
    const ncclResult_t status = ncclGetUniqueId(&id);
    if (status != ncclSuccess) error = fmt::format("{}: ncclGetUniqueId: {}", place(), ncclGetErrorString(status));
  }
  try {
    check_cuda(cudaSetDevice(gpu_), "cudaSetDevice");
    // A blocking stream: it waits for the default stream and the default stream for it.
    check_cuda(cudaStreamCreate(&stream_), "cudaStreamCreate");
  } catch (const Error& one) {
    error = one.what();
  }
  for (const std::string& one : helper_->gather_texts(error)) {
    if (!one.empty()) failure("{}", one);
  }
  helper_->broadcast_bytes(&id, sizeof id, 0);
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  error.clear();
  try {
    wait_until_enqueued(ncclCommInitRankConfig(&communicator_, size(), id, rank(), &config), "ncclCommInitRankConfig");
  } catch (const Error& one) {
    error = one.what();
  }
  for (const std::string& one : helper_->gather_texts(error)) {
    if (!one.empty()) failure("{}", one);
  }
}

void NcclCollectives::close() noexcept {
  if (communicator_ != nullptr) {
    // Finalize flushes; with a lost peer it would not end, so it gets the operations' time limit, then the axe.
    ncclResult_t status = ncclCommFinalize(communicator_);
    const Stopwatch watch;
    Backoff backoff(50);
    while (status == ncclInProgress && watch.seconds() < timeout_) {
      backoff.pause();
      if (ncclCommGetAsyncError(communicator_, &status) != ncclSuccess) status = ncclSystemError;
    }
    if (status == ncclSuccess) {
      ncclCommDestroy(communicator_);
      communicator_ = nullptr;
    }
  }
  abandon();
}

void NcclCollectives::abandon() noexcept {
  if (communicator_ != nullptr) ncclCommAbort(communicator_);
  communicator_ = nullptr;
  if (stream_ != nullptr) cudaStreamDestroy(stream_);
  stream_ = nullptr;
}

void NcclCollectives::give_up(const char* operation, const std::string& why) {
  const char* last = ncclGetLastError(communicator_);
  const std::string detail = last != nullptr && *last != '\0' ? fmt::format(" ({})", last) : "";
  if (communicator_ != nullptr) ncclCommAbort(communicator_);
  communicator_ = nullptr;
  failure("{}: NCCL {}: {}{}; the communicator was aborted", place(), operation, why, detail);
}

void NcclCollectives::wait_until_enqueued(ncclResult_t status, const char* operation) {
  const Stopwatch watch;
  Backoff backoff(200);
  while (status == ncclInProgress || (status == ncclSuccess && communicator_ == nullptr)) {
    if (watch.seconds() > timeout_) {
      give_up(operation, fmt::format("a peer did not answer within {:g} s", timeout_));
    }
    backoff.pause();
    if (communicator_ == nullptr) continue;
    const ncclResult_t asked = ncclCommGetAsyncError(communicator_, &status);
    if (asked != ncclSuccess) status = asked;
  }
  if (status != ncclSuccess) give_up(operation, ncclGetErrorString(status));
}

void NcclCollectives::wait_for_stream(const char* operation) {
  const Stopwatch watch;
  Backoff backoff(200);
  for (;;) {
    const cudaError_t query = cudaStreamQuery(stream_);
    if (query == cudaSuccess) break;
    if (query != cudaErrorNotReady) give_up(operation, cudaGetErrorString(query));
    ncclResult_t status = ncclSuccess;
    const ncclResult_t asked = ncclCommGetAsyncError(communicator_, &status);
    if (asked != ncclSuccess) status = asked;
    if (status != ncclSuccess && status != ncclInProgress) give_up(operation, ncclGetErrorString(status));
    if (watch.seconds() > timeout_) {
      give_up(operation, fmt::format("a peer did not answer within {:g} s", timeout_));
    }
    backoff.pause();
  }
}

template <class Call>
void NcclCollectives::run(const char* operation, size_t count, Call&& call) {
  if (count == 0) return;
  if (communicator_ == nullptr) failure("{}: NCCL {}: the communicator was aborted before", place(), operation);
  check_cuda(cudaSetDevice(gpu_), operation);
  // The caller's kernels may run on any stream.
  check_cuda(cudaDeviceSynchronize(), operation);
  // Ranks may come here minutes apart; from here on only the transport takes time.
  helper_->barrier();
  wait_until_enqueued(call(), operation);
  wait_for_stream(operation);
}

}  // namespace

std::unique_ptr<Collectives> make_nccl_collectives(World& world, std::unique_ptr<MpiCollectives> helper, int gpu) {
  return std::make_unique<NcclCollectives>(world, std::move(helper), gpu);
}

}  // namespace deepsearch

#endif
