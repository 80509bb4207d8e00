// The tables of kernels, one per instruction set; kernels.cpp picks among them.
#pragma once

#include "engine/native/kernels.h"

namespace deepsearch::native {

#if defined(__x86_64__)
const Kernels* avx512_kernels();
const Kernels* avx2_kernels();
#endif
const Kernels* portable_kernels();

}  // namespace deepsearch::native
