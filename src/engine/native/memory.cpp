#include "engine/native/memory.h"

#include <cerrno>
#include <cstring>
#include <sys/mman.h>

#include "core/error.h"

namespace deepsearch::native {

Pages::Pages(int64_t bytes) : bytes_(bytes) {
  if (bytes == 0) return;
  constexpr int64_t kHugePage = int64_t{2} << 20;
  void* memory = mmap(nullptr, static_cast<size_t>(bytes), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) {
    bytes_ = 0;
    bad_input("engine: {:.1f} GB of memory are not to be had ({}); a smaller model, batch or KV cache fits",
              static_cast<double>(bytes) / 1e9, std::strerror(errno));
  }
  if (bytes >= kHugePage) madvise(memory, static_cast<size_t>(bytes), MADV_HUGEPAGE);  // advice: may be refused
  data_ = static_cast<std::byte*>(memory);
}

Pages::~Pages() {
  if (data_ != nullptr) munmap(data_, static_cast<size_t>(bytes_));
}

}  // namespace deepsearch::native
