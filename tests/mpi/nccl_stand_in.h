// A stand-in for the NCCL and CUDA functions that comm/nccl_collectives.cpp calls: streams, events and collectives in
// host memory, over MPI, so that the same source runs on CPUs with several ranks. Compiled in front of that source
// (-include): the names below then mean the stand-in's functions, and the real libraries are left alone.
//
// Asynchronous as the real ones are: a collective call returns ncclInProgress and lies in its stream only after
// ncclCommGetAsyncError has been asked a few times (a call before that is an ncclInvalidUsage); a stream's work is done
// in order, a while later, whenever the stand-in is asked anything; a stream waits for events of others. One thread.
#pragma once

#include <functional>

#include <cuda_runtime_api.h>
#include <mpi.h>
#include <nccl.h>

namespace stand_in {

// The ranks that all communicators made later have; collective over them. Not freed.
void use(MPI_Comm ranks);

// Work on a stream (null: the default stream) that is done after the stand-in was asked `looks` times.
void launch(cudaStream_t stream, int looks, std::function<void()> work);

// From the n-th collective call on (counted from 0), this rank …
void never_answer_from(int call);            // … never does its part
void fail_from(int call, ncclResult_t how);  // … finds its communicator broken

int device_synchronisations();  // calls of cudaDeviceSynchronize so far
int communicators_aborted();

cudaError_t SetDevice(int device);
cudaError_t DeviceSynchronize();
const char* GetErrorString(cudaError_t status);
cudaError_t StreamCreateWithFlags(cudaStream_t* stream, unsigned flags);
cudaError_t StreamDestroy(cudaStream_t stream);
cudaError_t StreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags);
cudaError_t EventCreateWithFlags(cudaEvent_t* event, unsigned flags);
cudaError_t EventRecord(cudaEvent_t event, cudaStream_t stream);
cudaError_t EventQuery(cudaEvent_t event);
cudaError_t EventDestroy(cudaEvent_t event);

ncclResult_t GetVersion(int* version);
ncclResult_t GetUniqueId(ncclUniqueId* id);
const char* NcclErrorString(ncclResult_t status);
const char* GetLastError(ncclComm_t comm);
ncclResult_t CommInitRankConfig(ncclComm_t* comm, int ranks, ncclUniqueId id, int rank, ncclConfig_t* config);
ncclResult_t CommFinalize(ncclComm_t comm);
ncclResult_t CommDestroy(ncclComm_t comm);
ncclResult_t CommAbort(ncclComm_t comm);
ncclResult_t CommGetAsyncError(ncclComm_t comm, ncclResult_t* status);
ncclResult_t AllReduce(const void* from, void* to, size_t count, ncclDataType_t type, ncclRedOp_t op, ncclComm_t comm,
                       cudaStream_t stream);
ncclResult_t ReduceScatter(const void* from, void* to, size_t count, ncclDataType_t type, ncclRedOp_t op,
                           ncclComm_t comm, cudaStream_t stream);
ncclResult_t AllGather(const void* from, void* to, size_t count, ncclDataType_t type, ncclComm_t comm,
                       cudaStream_t stream);
ncclResult_t Broadcast(const void* from, void* to, size_t count, ncclDataType_t type, int root, ncclComm_t comm,
                       cudaStream_t stream);

}  // namespace stand_in

#define cudaSetDevice stand_in::SetDevice
#define cudaDeviceSynchronize stand_in::DeviceSynchronize
#define cudaGetErrorString stand_in::GetErrorString
#define cudaStreamCreateWithFlags stand_in::StreamCreateWithFlags
#define cudaStreamDestroy stand_in::StreamDestroy
#undef cudaStreamWaitEvent
#define cudaStreamWaitEvent stand_in::StreamWaitEvent
#define cudaEventCreateWithFlags stand_in::EventCreateWithFlags
#undef cudaEventRecord
#define cudaEventRecord stand_in::EventRecord
#define cudaEventQuery stand_in::EventQuery
#define cudaEventDestroy stand_in::EventDestroy
#define ncclGetVersion stand_in::GetVersion
#define ncclGetUniqueId stand_in::GetUniqueId
#define ncclGetErrorString stand_in::NcclErrorString
#define ncclGetLastError stand_in::GetLastError
#define ncclCommInitRankConfig stand_in::CommInitRankConfig
#define ncclCommFinalize stand_in::CommFinalize
#define ncclCommDestroy stand_in::CommDestroy
#define ncclCommAbort stand_in::CommAbort
#define ncclCommGetAsyncError stand_in::CommGetAsyncError
#define ncclAllReduce stand_in::AllReduce
#define ncclReduceScatter stand_in::ReduceScatter
#define ncclAllGather stand_in::AllGather
#define ncclBroadcast stand_in::Broadcast
