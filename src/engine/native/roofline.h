// What this machine can do at most, measured now: the two limits a decode step runs into.
#pragma once

#include <cstdint>

namespace deepsearch::native {

// Fused multiply-adds in registers on each of `threads` threads, in 1e9 operations a second (a multiply-add counts
// two). The best of short bursts, so that other work on the machine counts little. About 50 ms.
double measured_peak_gflops(int64_t threads);

// Reading memory far larger than the caches on each of `threads` threads, in 1e9 bytes a second, all together; the best
// of some passes. Touches 256 MB. About 0.2 s.
double measured_bandwidth_gbs(int64_t threads);

}  // namespace deepsearch::native
