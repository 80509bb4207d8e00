#ifdef DEEPSEARCH_HAS_CUDA

#include "comm/nccl_collectives.h"

#include <deque>
#include <functional>
#include <utility>
#include <vector>

#include <cuda_runtime_api.h>
#include <nccl.h>

#include "core/activity.h"
#include "core/error.h"
#include "core/timer.h"

namespace deepsearch {
namespace {

// A collective call on its way: queued here, then taken by NCCL, then running on the communication stream.
struct Operation {
  uint64_t transfer = 0;
  const char* name = "";
  std::function<ncclResult_t()> call;
  cudaEvent_t ready = nullptr;  // on the caller's stream: the buffers hold what they should
  cudaEvent_t done = nullptr;   // on the communication stream
  MPI_Request all_here = MPI_REQUEST_NULL;
  bool all_came = false;
  enum class State : uint8_t { kQueued, kTaken, kRunning } state = State::kQueued;
};

class NcclCollectives final : public Collectives {
 public:
  NcclCollectives(World& world, std::unique_ptr<MpiCollectives> helper, int gpu, bool on_device)
      : world_(world.impl()),
        helper_(std::move(helper)),
        gpu_(gpu),
        on_device_(on_device),
        timeout_(world.params().stuck_seconds) {
    try {
      start();
      helper_->while_waiting([this] { progress(); });
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
  bool on_device() const override { return on_device_; }

  // Scalars live on the host, and in rank order they repeat.
  double all_reduce_sum(double value) override { return helper_->all_reduce_sum(value); }
  double all_reduce_max(double value) override { return helper_->all_reduce_max(value); }

  Transfer start_reduce_scatter_sum(std::span<const float> values, std::span<float> part) override;
  Transfer start_all_reduce_sum(std::span<float> values) override;
  Transfer start_all_gather(std::span<const std::byte> part, std::span<std::byte> values) override;
  void progress() override;
  void use_stream(void* cuda_stream) override { callers_stream_ = static_cast<cudaStream_t>(cuda_stream); }

 private:
  bool finished(uint64_t transfer) const override;
  void finish(uint64_t transfer) override;
  Transfer queue(const char* name, size_t count, std::function<ncclResult_t()> call);
  void hand_over(Operation& operation);
  void mark_running(Operation& operation);
  void pop_front();
  ncclResult_t asynchronous_status();
  cudaEvent_t take_event(const char* operation);
  void start();
  void close() noexcept;
  void abandon() noexcept;
  void check_cuda(cudaError_t status, const char* operation) const;
  void wait_until_made(ncclResult_t status, const char* operation);
  [[noreturn]] void give_up(const char* operation, const std::string& why);
  void check_parts(const char* operation, size_t part, size_t whole) const;
  std::string place() const { return fmt::format("{}, GPU {}", world_.describe_rank(world_.rank), gpu_); }

  World::Impl& world_;
  std::unique_ptr<MpiCollectives> helper_;
  int gpu_;
  bool on_device_;
  double timeout_;  // seconds for one operation, once all ranks have come to it
  ncclComm_t communicator_ = nullptr;
  cudaStream_t stream_ = nullptr;
  cudaStream_t callers_stream_ = nullptr;  // the default stream
  std::deque<Operation> operations_;       // in the order of their start, which is that of their end
  std::vector<cudaEvent_t> spare_events_;
  uint64_t last_transfer_ = 0;
  Stopwatch front_since_;  // since when the first operation has only the transport to wait for
};

void NcclCollectives::check_cuda(cudaError_t status, const char* operation) const {
  if (status != cudaSuccess) failure("{}: {}: {}", place(), operation, cudaGetErrorString(status));
}

void NcclCollectives::check_parts(const char* operation, size_t part, size_t whole) const {
  if (part * static_cast<size_t>(size()) != whole) {
    failure("{}: {}: {} ranks with parts of {} do not make {}", place(), operation, size(), part, whole);
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
    // Beside the default stream, not in turn with it: events say what waits for what.
    check_cuda(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
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
    wait_until_made(ncclCommInitRankConfig(&communicator_, size(), id, rank(), &config), "ncclCommInitRankConfig");
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
  for (const Operation& operation : operations_) {
    for (const cudaEvent_t event : {operation.ready, operation.done}) {
      if (event != nullptr) cudaEventDestroy(event);
    }
  }
  operations_.clear();
  for (const cudaEvent_t event : spare_events_) cudaEventDestroy(event);
  spare_events_.clear();
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

void NcclCollectives::wait_until_made(ncclResult_t status, const char* operation) {
  const CurrentOperation waiting(operation);
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

cudaEvent_t NcclCollectives::take_event(const char* operation) {
  cudaEvent_t event = nullptr;
  if (spare_events_.empty()) {
    check_cuda(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), operation);
  } else {
    event = spare_events_.back();
    spare_events_.pop_back();
  }
  return event;
}

Transfer NcclCollectives::queue(const char* name, size_t count, std::function<ncclResult_t()> call) {
  if (count == 0) return {};
  if (communicator_ == nullptr) failure("{}: NCCL {}: the communicator was aborted before", place(), name);
  check_cuda(cudaSetDevice(gpu_), name);
  Operation operation;
  operation.transfer = ++last_transfer_;
  operation.name = name;
  operation.call = std::move(call);
  operation.ready = take_event(name);
  check_cuda(cudaEventRecord(operation.ready, callers_stream_), name);
  helper_->start_barrier(operation.all_here);
  operations_.push_back(std::move(operation));
  if (operations_.size() == 1) front_since_.restart();
  progress();
  return {*this, last_transfer_};
}

Transfer NcclCollectives::start_all_reduce_sum(std::span<float> values) {
  return queue("all_reduce_sum", values.size(), [this, values] {
    return ncclAllReduce(values.data(), values.data(), values.size(), ncclFloat, ncclSum, communicator_, stream_);
  });
}

Transfer NcclCollectives::start_reduce_scatter_sum(std::span<const float> values, std::span<float> part) {
  check_parts("reduce_scatter_sum", part.size(), values.size());
  return queue("reduce_scatter_sum", part.size(), [this, values, part] {
    return ncclReduceScatter(values.data(), part.data(), part.size(), ncclFloat, ncclSum, communicator_, stream_);
  });
}

Transfer NcclCollectives::start_all_gather(std::span<const std::byte> part, std::span<std::byte> values) {
  check_parts("all_gather", part.size(), values.size());
  return queue("all_gather", part.size(), [this, values, part] {
    return ncclAllGather(part.data(), values.data(), part.size(), ncclInt8, communicator_, stream_);
  });
}

ncclResult_t NcclCollectives::asynchronous_status() {
  ncclResult_t status = ncclSuccess;
  const ncclResult_t asked = ncclCommGetAsyncError(communicator_, &status);
  return asked != ncclSuccess ? asked : status;
}

// NCCL takes a call once the one before it was taken, which can need the peers the first time: it must not be waited
// for here, since they may come much later.
void NcclCollectives::hand_over(Operation& operation) {
  check_cuda(cudaStreamWaitEvent(stream_, operation.ready, 0), operation.name);
  const ncclResult_t status = operation.call();
  operation.state = Operation::State::kTaken;
  if (status == ncclSuccess) mark_running(operation);
  if (status != ncclSuccess && status != ncclInProgress) give_up(operation.name, ncclGetErrorString(status));
}

void NcclCollectives::mark_running(Operation& operation) {
  operation.done = take_event(operation.name);
  check_cuda(cudaEventRecord(operation.done, stream_), operation.name);
  operation.state = Operation::State::kRunning;
}

void NcclCollectives::pop_front() {
  spare_events_.push_back(operations_.front().ready);
  spare_events_.push_back(operations_.front().done);
  operations_.pop_front();
  front_since_.restart();
  report_progress();
}

void NcclCollectives::progress() {
  if (operations_.empty()) return;
  if (communicator_ == nullptr) {
    failure("{}: NCCL {}: the communicator was aborted before", place(), operations_.front().name);
  }
  check_cuda(cudaSetDevice(gpu_), operations_.front().name);
  for (Operation& operation : operations_) {
    if (operation.state == Operation::State::kRunning) continue;
    const ncclResult_t status = asynchronous_status();
    if (status == ncclInProgress) break;
    if (status != ncclSuccess) give_up(operation.name, ncclGetErrorString(status));
    operation.state == Operation::State::kQueued ? hand_over(operation) : mark_running(operation);
    if (operation.state != Operation::State::kRunning) break;
  }
  while (!operations_.empty()) {
    Operation& front = operations_.front();
    // Tested even when the operation is through: MPI wants its request completed.
    if (!front.all_came) {
      front.all_came = helper_->barrier_passed(front.all_here);
      if (!front.all_came) break;
      front_since_.restart();
    }
    if (front.state != Operation::State::kRunning) break;
    const cudaError_t query = cudaEventQuery(front.done);
    if (query == cudaErrorNotReady) break;
    if (query != cudaSuccess) give_up(front.name, cudaGetErrorString(query));
    pop_front();
  }
}

bool NcclCollectives::finished(uint64_t transfer) const {
  return operations_.empty() || operations_.front().transfer > transfer;
}

void NcclCollectives::finish(uint64_t transfer) {
  if (finished(transfer)) return;
  const CurrentOperation waiting(lasting(fmt::format("NCCL {}", operations_.front().name)));
  Backoff backoff(200);
  for (;;) {
    progress();
    if (finished(transfer)) return;
    const Operation& front = operations_.front();
    const ncclResult_t status = asynchronous_status();
    if (status != ncclSuccess && status != ncclInProgress) give_up(front.name, ncclGetErrorString(status));
    // Ranks may come here minutes apart; once all have, only the transport takes time.
    if (front.all_came && front_since_.seconds() > timeout_) {
      give_up(front.name, fmt::format("a peer did not answer within {:g} s", timeout_));
    }
    report_waiting();
    backoff.pause();
  }
}

}  // namespace

std::unique_ptr<Collectives> make_nccl_collectives(World& world, std::unique_ptr<MpiCollectives> helper, int gpu,
                                                   bool on_device) {
  return std::make_unique<NcclCollectives>(world, std::move(helper), gpu, on_device);
}

}  // namespace deepsearch

#endif
