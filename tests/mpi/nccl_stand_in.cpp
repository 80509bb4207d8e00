#include "mpi/nccl_stand_in.h"

#include <cstring>
#include <deque>
#include <memory>
#include <set>
#include <utility>
#include <vector>

namespace stand_in {
namespace {

constexpr int kLooksToTake = 3;  // ncclInProgress answers before a call lies in its stream
constexpr int kLooksToRun = 5;   // before a collective begins

// Work in a stream. run() is called until it says that it is done.
struct Item {
  std::function<bool()> run;
};

struct Stream {
  std::deque<Item> items;
};

struct Marker {
  bool reached = false;
};

struct Event {
  std::shared_ptr<Marker> marker;  // of the last record; null: never recorded
};

struct Communicator {
  int taking = kLooksToTake;  // looks until the call under way is taken
  Stream* stream = nullptr;   // where that goes
  Item item;
  ncclResult_t broken = ncclSuccess;
  bool finalized = false;
};

MPI_Comm ranks_of_world = MPI_COMM_NULL;
int silent_from = -1;
int broken_from = -1;
ncclResult_t broken_how = ncclSuccess;
int collective_calls = 0;
int synchronisations = 0;
int aborted = 0;

Stream& default_stream() {
  static Stream stream;
  return stream;
}
std::set<Stream*>& streams() {
  static std::set<Stream*> all = {&default_stream()};
  return all;
}
Stream& stream_of(cudaStream_t handle) {
  return handle == nullptr ? default_stream() : *reinterpret_cast<Stream*>(handle);
}
Event& event_of(cudaEvent_t handle) {
  return *reinterpret_cast<Event*>(handle);
}
Communicator& communicator_of(ncclComm_t handle) {
  return *reinterpret_cast<Communicator*>(handle);
}

void look() {
  for (Stream* stream : streams()) {
    while (!stream->items.empty() && stream->items.front().run()) stream->items.pop_front();
  }
}

// What a collective does once it runs: everybody's buffer to everybody, then what `finish` makes of them.
struct Exchange {
  const void* from = nullptr;
  size_t bytes = 0;
  std::function<void(const std::vector<char>& all, int ranks, int rank)> finish;
  int looks = kLooksToRun;
  bool silent = false;
  std::vector<char> all = {};
  MPI_Request request = MPI_REQUEST_NULL;

  bool run() {
    if (silent || looks-- > 0) return false;
    int ranks = 0;
    int rank = 0;
    MPI_Comm_size(ranks_of_world, &ranks);
    MPI_Comm_rank(ranks_of_world, &rank);
    if (all.empty()) {
      all.resize(bytes * static_cast<size_t>(ranks));
      MPI_Iallgather(from, static_cast<int>(bytes), MPI_BYTE, all.data(), static_cast<int>(bytes), MPI_BYTE,
                     ranks_of_world, &request);
    }
    int done = 0;
    MPI_Test(&request, &done, MPI_STATUS_IGNORE);
    if (done != 0) finish(all, ranks, rank);
    return done != 0;
  }
};

ncclResult_t call(Exchange exchange, ncclComm_t handle, cudaStream_t stream) {
  Communicator& comm = communicator_of(handle);
  if (comm.broken != ncclSuccess) return comm.broken;
  if (comm.taking > 0 || comm.finalized) return ncclInvalidUsage;
  const int number = collective_calls++;
  exchange.silent = silent_from >= 0 && number >= silent_from;
  const auto shared = std::make_shared<Exchange>(std::move(exchange));
  comm.taking = kLooksToTake;
  comm.stream = &stream_of(stream);
  comm.item = {[shared] { return shared->run(); }};
  if (broken_from >= 0 && number >= broken_from) comm.broken = broken_how;
  return ncclInProgress;
}

size_t bytes_of(ncclDataType_t type) {
  return type == ncclFloat ? sizeof(float) : 1;
}

// Sums, in rank order, of `count` floats from `first` on in every rank's buffer of `stride` floats.
void sum_to(void* to, const std::vector<char>& all, int ranks, size_t first, size_t count, size_t stride) {
  const auto* values = reinterpret_cast<const float*>(all.data());
  std::vector<float> sum(values + first, values + first + count);
  for (size_t r = 1; r < static_cast<size_t>(ranks); ++r) {
    for (size_t i = 0; i < count; ++i) sum[i] += values[r * stride + first + i];
  }
  std::memcpy(to, sum.data(), count * sizeof(float));
}

}  // namespace

void use(MPI_Comm ranks) {
  MPI_Comm_dup(ranks, &ranks_of_world);
}

void launch(cudaStream_t stream, int looks, std::function<void()> work) {
  stream_of(stream).items.push_back({[looks, work = std::move(work)]() mutable {
    if (looks-- > 0) return false;
    work();
    return true;
  }});
}

void never_answer_from(int call) {
  silent_from = call;
}
void fail_from(int call, ncclResult_t how) {
  broken_from = call;
  broken_how = how;
}
int device_synchronisations() {
  return synchronisations;
}
int communicators_aborted() {
  return aborted;
}

cudaError_t SetDevice(int) {
  return cudaSuccess;
}

cudaError_t DeviceSynchronize() {
  ++synchronisations;
  for (Stream* stream : streams()) {
    while (!stream->items.empty()) look();
  }
  return cudaSuccess;
}

const char* GetErrorString(cudaError_t status) {
  return status == cudaSuccess ? "no error" : "a CUDA error of the stand-in";
}

cudaError_t StreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  if (flags != cudaStreamNonBlocking) return cudaErrorInvalidValue;
  auto* made = new Stream;
  streams().insert(made);
  *stream = reinterpret_cast<cudaStream_t>(made);
  return cudaSuccess;
}

cudaError_t StreamDestroy(cudaStream_t stream) {
  streams().erase(&stream_of(stream));
  delete &stream_of(stream);
  return cudaSuccess;
}

cudaError_t StreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  const std::shared_ptr<Marker> marker = event_of(event).marker;
  if (marker) stream_of(stream).items.push_back({[marker] { return marker->reached; }});
  return cudaSuccess;
}

cudaError_t EventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = reinterpret_cast<cudaEvent_t>(new Event);
  return cudaSuccess;
}

cudaError_t EventRecord(cudaEvent_t event, cudaStream_t stream) {
  const auto marker = std::make_shared<Marker>();
  event_of(event).marker = marker;
  stream_of(stream).items.push_back({[marker] { return marker->reached = true; }});
  return cudaSuccess;
}

cudaError_t EventQuery(cudaEvent_t event) {
  look();
  const auto& marker = event_of(event).marker;
  return !marker || marker->reached ? cudaSuccess : cudaErrorNotReady;
}

cudaError_t EventDestroy(cudaEvent_t event) {
  delete &event_of(event);
  return cudaSuccess;
}

ncclResult_t GetVersion(int* version) {
  *version = NCCL_VERSION_CODE;
  return ncclSuccess;
}

ncclResult_t GetUniqueId(ncclUniqueId* id) {
  std::memset(id, 0x5a, sizeof *id);
  return ncclSuccess;
}

const char* NcclErrorString(ncclResult_t status) {
  return status == ncclRemoteError       ? "remote process exited or there was a network error"
         : status == ncclInvalidUsage    ? "invalid usage"
         : status == ncclInvalidArgument ? "invalid argument"
                                         : "an NCCL error of the stand-in";
}

const char* GetLastError(ncclComm_t) {
  return "said by the stand-in";
}

ncclResult_t CommInitRankConfig(ncclComm_t* comm, int ranks, ncclUniqueId id, int rank, ncclConfig_t* config) {
  ncclUniqueId expected;
  GetUniqueId(&expected);
  int size = 0;
  int own = 0;
  MPI_Comm_size(ranks_of_world, &size);
  MPI_Comm_rank(ranks_of_world, &own);
  if (config->blocking != 0 || size != ranks || own != rank || std::memcmp(&id, &expected, sizeof id) != 0) {
    return ncclInvalidArgument;
  }
  *comm = reinterpret_cast<ncclComm_t>(new Communicator);
  return ncclInProgress;
}

ncclResult_t CommFinalize(ncclComm_t comm) {
  communicator_of(comm).finalized = true;
  communicator_of(comm).taking = kLooksToTake;
  return ncclInProgress;
}

ncclResult_t CommDestroy(ncclComm_t comm) {
  if (!communicator_of(comm).finalized) return ncclInvalidUsage;
  delete &communicator_of(comm);
  return ncclSuccess;
}

ncclResult_t CommAbort(ncclComm_t comm) {
  ++aborted;
  for (Stream* stream : streams()) stream->items.clear();
  delete &communicator_of(comm);
  return ncclSuccess;
}

ncclResult_t CommGetAsyncError(ncclComm_t handle, ncclResult_t* status) {
  Communicator& comm = communicator_of(handle);
  look();
  if (comm.taking > 0 && --comm.taking == 0 && comm.stream != nullptr) {
    comm.stream->items.push_back(std::move(comm.item));
    comm.stream = nullptr;
  }
  *status = comm.broken != ncclSuccess ? comm.broken : comm.taking > 0 ? ncclInProgress : ncclSuccess;
  return ncclSuccess;
}

ncclResult_t AllReduce(const void* from, void* to, size_t count, ncclDataType_t type, ncclRedOp_t op, ncclComm_t comm,
                       cudaStream_t stream) {
  if (type != ncclFloat || op != ncclSum) return ncclInvalidArgument;
  return call(
      {.from = from,
       .bytes = count * sizeof(float),
       .finish = [=](const std::vector<char>& all, int ranks, int) { sum_to(to, all, ranks, 0, count, count); }},
      comm, stream);
}

ncclResult_t ReduceScatter(const void* from, void* to, size_t count, ncclDataType_t type, ncclRedOp_t op,
                           ncclComm_t comm, cudaStream_t stream) {
  if (type != ncclFloat || op != ncclSum) return ncclInvalidArgument;
  int size = 0;
  MPI_Comm_size(ranks_of_world, &size);
  const size_t whole = count * static_cast<size_t>(size);
  return call({.from = from,
               .bytes = whole * sizeof(float),
               .finish = [=](const std::vector<char>& all, int ranks,
                             int rank) { sum_to(to, all, ranks, static_cast<size_t>(rank) * count, count, whole); }},
              comm, stream);
}

ncclResult_t AllGather(const void* from, void* to, size_t count, ncclDataType_t type, ncclComm_t comm,
                       cudaStream_t stream) {
  return call({.from = from,
               .bytes = count * bytes_of(type),
               .finish = [=](const std::vector<char>& all, int, int) { std::memcpy(to, all.data(), all.size()); }},
              comm, stream);
}

ncclResult_t Broadcast(const void* from, void* to, size_t count, ncclDataType_t type, int root, ncclComm_t comm,
                       cudaStream_t stream) {
  const size_t bytes = count * bytes_of(type);
  return call({.from = from,
               .bytes = bytes,
               .finish = [=](const std::vector<char>& all, int,
                             int) { std::memcpy(to, all.data() + static_cast<size_t>(root) * bytes, bytes); }},
              comm, stream);
}

}  // namespace stand_in
