#include "engine/native/roofline.h"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "core/timer.h"
#include "engine/native/kernels.h"
#include "engine/native/memory.h"
#include "engine/native/team.h"

namespace deepsearch::native {

double measured_peak_gflops(int64_t threads) {
  constexpr int64_t kSteps = 1'000'000;
  Team team(threads);
  std::atomic<float> sink{0};  // so that the loop is not optimised away
  double best = 0;
  for (int i = 0; i < 60; ++i) {
    const Stopwatch watch;
    team.run(
        [&](int64_t thread) { team.share(thread, threads, [&](int64_t) { sink = best_kernels().fma_loop(kSteps); }); });
    best = std::max(best, 2.0 * kLanes * kSteps * static_cast<double>(threads) / watch.seconds());
  }
  return best / 1e9;
}

double measured_bandwidth_gbs(int64_t threads) {
  constexpr int64_t kBytes = int64_t{256} << 20;
  constexpr int64_t kFloats = kBytes / static_cast<int64_t>(sizeof(float));
  const Pages pages(kBytes);
  std::memset(pages.data(), 0, static_cast<size_t>(kBytes));
  const auto* floats = reinterpret_cast<const float*>(pages.data());
  const int64_t share = kFloats / threads / 64 * 64;
  Team team(threads);
  std::atomic<float> sink{0};
  double best = 0;
  for (int i = 0; i < 8; ++i) {
    const Stopwatch watch;
    team.run([&](int64_t thread) {
      team.share(thread, threads, [&](int64_t part) { sink = best_kernels().read_loop(floats + part * share, share); });
    });
    best = std::max(best, static_cast<double>(share * threads * 4) / watch.seconds());
  }
  return best / 1e9;
}

}  // namespace deepsearch::native
