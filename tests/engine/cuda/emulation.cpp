#include "engine/cuda/emulation.h"

// A jump to another stack is no mistake here.
#undef _FORTIFY_SOURCE

#include <cmath>
#include <memory>
#include <setjmp.h>
#include <ucontext.h>
#include <vector>

#include "core/error.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
#endif

namespace deepsearch::emulation {
namespace {

constexpr size_t kStackBytes = size_t{128} << 10;

enum class State : uint8_t { kReady, kAtBlockBarrier, kAtWarpBarrier, kDone };

struct Fiber {
  ucontext_t context{};  // to begin with; from then on `place`, since swapcontext is a system call
  jmp_buf place{};
  bool begun = false;
  std::unique_ptr<char[]> stack;
  State state = State::kDone;
  int turn = 0;                // which half of the warp's slots the next exchange uses
  void* fake_stack = nullptr;  // of the address sanitizer
};

struct Warp {
  std::array<std::array<Slot, 32>, 2> slots{};
};

// The block that runs now. Fibers and their stacks are kept from block to block.
struct Block {
  jmp_buf main{};
  void* main_fake_stack = nullptr;
  const void* main_stack = nullptr;
  size_t main_stack_size = 0;
  std::vector<std::unique_ptr<Fiber>> fibers;
  std::vector<Warp> warps;
  const std::function<void()>* body = nullptr;
  Grid grid;
  int size = 0;
  int current = -1;
  int x = 0;
  int y = 0;
  bool reverse = false;
  std::string error;
};
Block block;

Fiber& fiber(int i) {
  return *block.fibers[static_cast<size_t>(i)];
}

void start_switch([[maybe_unused]] void** save, [[maybe_unused]] const void* stack, [[maybe_unused]] size_t size) {
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_start_switch_fiber(save, stack, size);
#endif
}
void finish_switch([[maybe_unused]] void* saved, [[maybe_unused]] const void** stack, [[maybe_unused]] size_t* size) {
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_finish_switch_fiber(saved, stack, size);
#endif
}

// The functions that jump are not to be inlined: locals around a setjmp may be clobbered.
[[gnu::noinline]] void yield(State state) {
  Fiber& me = fiber(block.current);
  me.state = state;
  start_switch(&me.fake_stack, block.main_stack, block.main_stack_size);
  if (_setjmp(me.place) == 0) _longjmp(block.main, 1);
  finish_switch(me.fake_stack, nullptr, nullptr);
}

void enter() {
  finish_switch(nullptr, &block.main_stack, &block.main_stack_size);
  try {
    (*block.body)();
  } catch (const std::exception& error) {
    block.error = error.what();
  }
  Fiber& me = fiber(block.current);
  me.state = State::kDone;
  start_switch(nullptr, block.main_stack, block.main_stack_size);
  _longjmp(block.main, 1);
}

[[gnu::noinline]] void go_to(Fiber& next) {
  if (next.begun) _longjmp(next.place, 1);
  next.begun = true;
  setcontext(&next.context);
}

[[gnu::noinline]] void resume(int i) {
  block.current = i;
  start_switch(&block.main_fake_stack, fiber(i).stack.get(), kStackBytes);
  if (_setjmp(block.main) == 0) go_to(fiber(i));
  finish_switch(block.main_fake_stack, nullptr, nullptr);
}

// Lets threads [first, last) go on when all of them wait at the same kind of barrier.
bool release(int first, int last, State waiting) {
  for (int i = first; i < last; ++i) {
    if (fiber(i).state != waiting) return false;
  }
  for (int i = first; i < last; ++i) fiber(i).state = State::kReady;
  return true;
}

// getcontext counts as a function that returns twice: likewise.
[[gnu::noinline]] void prepare(Fiber& f) {
  getcontext(&f.context);
  f.context.uc_stack.ss_sp = f.stack.get();
  f.context.uc_stack.ss_size = kStackBytes;
  f.context.uc_link = nullptr;
  makecontext(&f.context, enter, 0);
  f.state = State::kReady;
  f.turn = 0;
  f.begun = false;
}

void run_block() {
  for (int i = 0; i < block.size; ++i) prepare(fiber(i));
  for (;;) {
    bool progress = false;
    bool done = true;
    for (int n = 0; n < block.size; ++n) {
      const int i = block.reverse ? block.size - 1 - n : n;
      if (fiber(i).state == State::kReady) {
        resume(i);
        if (!block.error.empty()) failure("emulated kernel: {}", block.error);
        progress = true;
      }
      done = done && fiber(i).state == State::kDone;
    }
    if (done) return;
    for (int w = 0; w < block.size; w += 32) progress = release(w, w + 32, State::kAtWarpBarrier) || progress;
    progress = release(0, block.size, State::kAtBlockBarrier) || progress;
    if (!progress) failure("emulated kernel: some threads wait at a barrier that others never reach");
  }
}

}  // namespace

void run(Grid grid, int size, const std::function<void()>& thread) {
  if (size <= 0 || size % 32 != 0 || size > 1024) failure("emulation: a block of {} threads", size);
  while (static_cast<int>(block.fibers.size()) < size) {
    block.fibers.push_back(std::make_unique<Fiber>());
    block.fibers.back()->stack = std::make_unique<char[]>(kStackBytes);
  }
  block.warps.resize(static_cast<size_t>(size / 32));
  block.body = &thread;
  block.grid = grid;
  block.size = size;
  block.error.clear();
  for (block.y = 0; block.y < grid.y; ++block.y) {
    for (block.x = 0; block.x < grid.x; ++block.x) run_block();
  }
  block.current = -1;
}

void set_reverse_order(bool reverse) {
  block.reverse = reverse;
}

int thread_index() {
  return block.current;
}
int n_threads() {
  return block.size;
}
int block_index() {
  return block.x;
}
int block_index_y() {
  return block.y;
}
int n_blocks() {
  return block.grid.x;
}

void block_barrier() {
  yield(State::kAtBlockBarrier);
}

const Slot* exchange(const Slot& mine) {
  Fiber& me = fiber(block.current);
  Warp& warp = block.warps[static_cast<size_t>(block.current / 32)];
  // Two sets of slots in turn: nobody can be two exchanges ahead, so one barrier is enough.
  auto& slots = warp.slots[static_cast<size_t>(me.turn)];
  me.turn ^= 1;
  slots[static_cast<size_t>(block.current % 32)] = mine;
  yield(State::kAtWarpBarrier);
  return slots.data();
}

bool warp_any(bool value) {
  const Slot* all = exchange({value ? 1U : 0U});
  bool any = false;
  for (int i = 0; i < 32; ++i) any = any || all[i][0] != 0;
  return any;
}

const void* aligned(const void* address, size_t alignment) {
  if (reinterpret_cast<uintptr_t>(address) % alignment != 0) failure("emulated kernel: a misaligned vector access");
  return address;
}

namespace {

float widen_half(uint16_t bits) {
  const int exponent = bits >> 10 & 31;
  const int fraction = bits & 1023;
  float value = 0;
  if (exponent == 31) {
    value = fraction != 0 ? NAN : INFINITY;
  } else if (exponent == 0) {
    value = std::ldexp(static_cast<float>(fraction), -24);
  } else {
    value = std::ldexp(static_cast<float>(fraction + 1024), exponent - 25);
  }
  return (bits & 0x8000) != 0 ? -value : value;
}

}  // namespace

const std::vector<float> half_values = [] {
  std::vector<float> values;
  for (uint32_t i = 0; i < 0x10000; ++i) values.push_back(widen_half(static_cast<uint16_t>(i)));
  return values;
}();

uint16_t float_to_half(float value) {
  uint32_t bits = 0;
  std::memcpy(&bits, &value, sizeof bits);
  const uint32_t sign = bits >> 16U & 0x8000U;
  bits &= 0x7fffffffU;
  if (bits > 0x7f800000U) return 0x7fff;
  if (bits >= 0x477ff000U) return static_cast<uint16_t>(sign | 0x7c00U);  // 65520 rounds to infinity
  if (bits < 0x38800000U) {
    // Below 2^−14 the unit is 2^−24, that of floats around 0.5: the addition rounds.
    const float shifted = std::fabs(value) + 0.5F;
    std::memcpy(&bits, &shifted, sizeof bits);
    return static_cast<uint16_t>(sign | (bits - 0x3f000000U));
  }
  // The exponent's bias goes from 127 to 15; half a unit less the last bit rounds ties to even.
  return static_cast<uint16_t>(sign | ((bits - (112U << 23U) + 0xfffU + (bits >> 13U & 1U)) >> 13U));
}

uint16_t float_to_bfloat(float value) {
  uint32_t bits = 0;
  std::memcpy(&bits, &value, sizeof bits);
  if (std::isnan(value)) return 0x7fff;
  return static_cast<uint16_t>((bits + 0x7fffU + (bits >> 16U & 1U)) >> 16U);
}

}  // namespace deepsearch::emulation
