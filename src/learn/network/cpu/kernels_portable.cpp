// Plain C++: 16 floats. On machines whose base instruction set has fused multiply-add (aarch64) the compiler vectorises
// it; on an x86 without FMA it is right but slow.
#include <cstdint>
#include <cstring>

#include "learn/network/cpu/kernel_tables.h"

namespace deepsearch::network {
namespace {

#include "engine/native/lanes_portable_impl.h"

constexpr int kTileRows = 4;
constexpr int kTileVectors = 1;

#include "learn/network/cpu/kernels_impl.h"

}  // namespace

const Kernels* portable_kernels() {
  static constexpr Kernels kTable = table_of("portable");
  return &kTable;
}

}  // namespace deepsearch::network
