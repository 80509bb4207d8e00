#include "learn/network/cpu/kernels.h"

#include "learn/network/cpu/kernel_tables.h"

namespace deepsearch::network {

int64_t attention_work(int64_t rows) {
  return (rows < kTileQueries ? kTileQueries : rows) * (3 * kRowStride + 2 * kScoreStride + 2);
}

std::vector<const Kernels*> runnable_kernels() {
  std::vector<const Kernels*> tables;
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")) {
    tables.push_back(avx512_kernels());
  }
  if (avx2) tables.push_back(avx2_kernels());
#endif
  tables.push_back(portable_kernels());
  return tables;
}

const Kernels& best_kernels() {
  static const Kernels& table = *runnable_kernels().front();
  return table;
}

}  // namespace deepsearch::network
