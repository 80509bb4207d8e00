// A GPU's threads on the CPU, for the kernels of src/engine/cuda: one block after the other, a fiber a thread, with
// barriers, shuffles and the tensor cores' m16n8k16 product, which is computed from the fragments as documented.
//
// What it checks besides the results: that every thread of a block (warp) reaches a barrier (shuffle), that vector
// loads are aligned, and, by running threads in another order, that nothing depends on it. One thread only.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <vector>

namespace deepsearch::emulation {

struct Grid {
  int x = 1;
  int y = 1;
};

// Runs `thread` for each thread of each block. `block` is a multiple of 32.
void run(Grid grid, int block, const std::function<void()>& thread);

// Threads of a block take turns in descending order from now on (or ascending again).
void set_reverse_order(bool reverse);

int thread_index();
int n_threads();
int block_index();
int block_index_y();
int n_blocks();

void block_barrier();
bool warp_any(bool value);

inline void add_atomically(uint32_t* to, uint32_t value) {
  *to += value;
}
inline void add_atomically(unsigned long long* to, unsigned long long value) {
  *to += value;
}

// 32 bytes a lane can leave for the others of its warp.
using Slot = std::array<uint32_t, 8>;
// Every lane leaves `mine`; once all have, returns the warp's slots, valid until the next call by anyone of the warp.
const Slot* exchange(const Slot& mine);

template <class V>
V shuffle(V value, int lane) {
  static_assert(sizeof(V) <= sizeof(Slot));
  Slot slot{};
  std::memcpy(slot.data(), &value, sizeof value);
  const Slot* all = exchange(slot);
  std::memcpy(&value, all[lane].data(), sizeof value);
  return value;
}
template <class V>
V shuffle_xor(V value, int mask) {
  return shuffle(value, (thread_index() % 32) ^ mask);
}

template <class Widen>
void multiply(float (&c)[4], const std::array<uint32_t, 6>& fragments, Widen widen) {
  Slot slot{};
  std::copy(fragments.begin(), fragments.end(), slot.begin());
  const Slot* all = exchange(slot);
  const int lane = thread_index() % 32;
  for (int i = 0; i < 4; ++i) {
    const int row = lane / 4 + (i >= 2 ? 8 : 0);
    const int column = lane % 4 * 2 + (i & 1);
    float sum = 0;
    for (int k = 0; k < 16; ++k) {
      const int t = k % 8 / 2;
      const size_t high_k = k >= 8 ? 1 : 0;
      const uint32_t a = all[row % 8 * 4 + t][(row >= 8 ? 1 : 0) + 2 * high_k];
      const uint32_t b = all[column * 4 + t][4 + high_k];
      const unsigned shift = k % 2 == 0 ? 0 : 16;
      sum += widen(static_cast<uint16_t>(a >> shift)) * widen(static_cast<uint16_t>(b >> shift));
    }
    c[i] += sum;
  }
}

// The address, after checking it; failure() otherwise.
const void* aligned(const void* address, size_t alignment);

extern const std::vector<float> half_values;  // of all bit patterns
inline float half_to_float(uint16_t bits) {
  return half_values[bits];
}
uint16_t float_to_half(float value);    // to nearest, ties to even
uint16_t float_to_bfloat(float value);  // likewise
}  // namespace deepsearch::emulation
